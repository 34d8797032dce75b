"""The rules of the loop as settings: when to train, on whose words, and what a candidate must show.

Levels of error, margins and what makes a test valid belong to a deployment, not to a hurry: a profile may change
cadences, least exposures and ramps only.
"""

from typing import Literal

from pydantic import Field

from core.section import Section


class Training(Section):
    """What may become training data, and how runs are made."""

    may_train: str = Field("reviewers", description="Whose words train: reviewers, quorum(k) of k users, or all.")
    method: Literal["auto", "sft", "kto", "dpo"] = Field(
        "auto", description="auto: sft where there are corrections or liked answers enough, else kto."
    )
    min_rows: int = Field(120, ge=1, description="Usable new rows that a run needs.")
    min_topics: int = Field(3, ge=1, description="Different questions, near-duplicates counted once, that it needs.")
    old_skills: str = Field(
        "", description="JSONL of questions and answers that must not be lost; empty: hone-tiny's own, else none."
    )
    replay: str = Field(
        "",
        description="JSONL of questions and good answers of the base, to be repeated; empty: hone-tiny's, else none.",
    )
    replay_share: float = Field(0.65, ge=0, le=0.95, description="Share of older good answers in what is learned.")
    replay_rows: int = Field(
        5000, ge=0, description="Different older good answers that are repeated, where there are so many."
    )
    validation: float = Field(0.1, gt=0, lt=0.5, description="Share of the rows to tune by.")
    heldout: float = Field(0.15, gt=0, lt=0.5, description="Share of the rows that only judge the result.")
    near_duplicate: float = Field(0.8, gt=0, le=1, description="Likeness (Jaccard) from which rows count as the same.")
    reviewer_weight: float = Field(5, gt=0, description="Weight of a reviewer's word, a user's being 1.")
    user_share: float = Field(0.01, gt=0, le=1, description="Largest share of the rows that one user has a hand in.")
    user_rows: int = Field(5, ge=1, description="Rows that one user may have a hand in however few there are.")
    reviewer_share: float = Field(0.5, gt=0, le=1, description="The same share for a reviewer.")
    reviewer_rows: int = Field(1000, ge=1, description="The same number for a reviewer.")
    max_characters: int = Field(20000, ge=1, description="Longest question and answer together, in characters.")
    redact: bool = Field(True, description="Replace addresses, numbers and the like of persons in rows.")
    threads: int = Field(0, ge=0, description="Processor threads of a run; 0: as many as there are processors.")
    memory_gib: float = Field(
        0, ge=0, description="Memory that must be free before a run starts, in GiB; 0: by the size of the model."
    )
    look_every: float = Field(30, gt=0, description="Seconds between two counts of what could be trained on.")
    keep_runs: int = Field(10, ge=1, description="Folders of ended runs that stay on the disk.")


class Triggers(Section):
    """When a run starts by itself."""

    new_feedback: int = Field(500, ge=0, description="Usable new ratings that arm a run; 0: never.")
    every_hours: float = Field(0, ge=0, description="Hours after the last run that arm one; 0: never.")
    expire_hours: float = Field(72, gt=0, description="Hours that an armed trigger waits for data.")
    cool_down_hours: float = Field(24, ge=0, description="Hours after a run that ended well.")
    retry_hours: float = Field(0.25, ge=0, description="Hours after a run that failed.")
    max_failures: int = Field(3, ge=1, description="Failures in a row after which a person must start the next run.")
    off_peak: tuple[int, ...] = Field(
        (), max_length=2, description="First and last hour (UTC) in which triggers may start a run; empty: always."
    )
    supersede_hours: float = Field(24, ge=0, description="Hours held at a gate after which a newer run may start.")


class Monitoring(Section):
    """The conductor: how often it looks, and how much it scores."""

    tick: float = Field(5, gt=0, description="Seconds between two looks.")
    score_share: float = Field(0.2, ge=0, le=1, description="Share of the answers that are scored.")
    scores_per_tick: int = Field(50, ge=1, description="Most answers that are scored in one look.")
    lease: float = Field(15, gt=1, description="Seconds after which a silent conductor is replaced by another one.")


class Drift(Section):
    """Whether traffic and answers still look like their reference."""

    run_length: float = Field(10_000, ge=600, description="Observations between two false alarms of a stream.")
    min_reference: int = Field(500, ge=30, description="Observations of a stream before it is watched.")
    min_share_reference: int = Field(200, ge=30, description="The same for shares such as that of thumbs up.")
    max_reference: int = Field(5000, ge=30, description="Observations that a reference holds at most.")
    drop: float = Field(0.2, gt=0, lt=1, description="Fall of a share that is found soonest.")
    cycle_hours: float = Field(
        24, ge=0, description="The rhythm of traffic, 24 or 168: a reference spans whole ones; 0: there is none."
    )
    window: int = Field(500, ge=200, description="Turns of a window, after which what moved is explained.")
    refusals: tuple[str, ...] = Field(
        ("i do not know", "i don't know", "i cannot help", "i can't help", "as an ai"),
        description="Words by which an answer says that it is none.",
    )


class Calibration(Section):
    """Whether confidence says how often answers are liked."""

    run_length: float = Field(400, ge=20, description="Rated answers between two false alarms, at least.")
    min_labels: int = Field(100, ge=30, description="Rated answers before anything is said.")

    confidence: Literal["logprob", "p_true", "consistency"] = Field(
        "logprob", description="Where the confidence of an answer comes from; the rows name it."
    )
    samples: int = Field(5, ge=2, le=20, description="Answers that consistency compares with the one given.")
    recalibrate: bool = Field(True, description="Fit a version's map anew when its confidence is off.")


class Shadow(Section):
    """Calls that a candidate answers beside the champion, unseen."""

    share: float = Field(0.2, gt=0, le=1, description="Share of finished calls that are mirrored.")
    queue: int = Field(64, ge=1, description="Calls that may wait to be mirrored; beyond it they are left out.")
    concurrency: int = Field(2, ge=1, description="Mirrored calls at a time.")


class Experiment(Section):
    """The A/B of a candidate against the champion, on live subjects."""

    rollout: Literal["ab", "review"] = Field(
        "ab", description="review: for few users, blind preferences of reviewers in the place of an A/B."
    )
    metric: str = Field("thumbs", description="The feedback that decides, as ups less downs an answer.")
    rule: Literal["anytime", "group_sequential"] = Field(
        "anytime",
        description="group_sequential: fewer subjects where `planned` is known; anytime: no number need be known.",
    )
    planned: int = Field(400, ge=60, description="Rated subjects that the test is sharpest for, or that it ends with.")
    looks: int = Field(14, ge=1, le=50, description="Looks of group_sequential until `planned`.")
    minimum: int = Field(50, ge=30, description="Rated subjects an arm before anything is claimed.")
    guardrail_minimum: int = Field(30, ge=30, description="Subjects an arm before a guardrail speaks.")
    first_share: float = Field(0.1, gt=0, lt=1, description="The challenger's share in the small first step.")
    first_subjects: int = Field(30, ge=1, description="Subjects who meet the challenger in the first step.")
    share: float = Field(0.5, gt=0, lt=1, description="The challenger's share at the final split.")
    min_hours: float = Field(24, ge=0, description="Shortest time at the final split, so that day and night are in it.")
    whole_weeks: bool = Field(False, description="Decide on whole weeks at the final split only.")
    conversations: Literal["move", "pin"] = Field(
        "move", description="pin: a conversation stays with the version that began it while that is loaded."
    )


class Gate(Section):
    """What a candidate must show at each stage."""

    max_hold_hours: float = Field(168, gt=0, description="Hours at one stage after which it is inconclusive.")
    margin: float = Field(0.05, gt=0, lt=1, description="Loss of old skills that is called not inferior.")
    min_held_out: int = Field(30, ge=1, description="Held-out rows that must be answered by both.")
    min_pairs: int = Field(50, ge=1, description="Mirrored calls that must come back as pairs.")
    min_coverage: float = Field(0.5, gt=0, le=1, description="Share of the mirrored calls that must come back.")
    max_failures: float = Field(0.02, ge=0, lt=1, description="Share of mirrored calls that may fail.")
    min_preferences: int = Field(30, ge=1, description="Blind preferences that stand in for an A/B under review.")
    max_length_ratio: float = Field(1.5, gt=1, description="How much longer answers may be offline, as a ratio.")


class Judge(Section):
    """A model that compares a candidate's answers with the champion's, in both orders."""

    source: Literal["none", "auto", "provider", "reward"] = Field(
        "auto",
        description="provider: providers.judge; reward: learned from thumbs; auto: the provider if named, else reward.",
    )
    rubric: str = Field(
        "Which answer helps the person more: right, complete, and no longer than needed?",
        description="What a provider is told to judge by.",
    )
    pairs_per_tick: int = Field(10, ge=1, description="Most pairs that are judged in one look.")
    min_labels: int = Field(200, ge=50, description="Thumbs that a learned judge needs.")
    min_decisive: int = Field(100, ge=30, description="Pairs decided by both orders before anything is claimed.")


class Approval(Section):
    """How a person agrees to a promotion."""

    four_eyes: bool = Field(True, description="Nobody approves a run that they asked for themselves.")
    max_age_hours: float = Field(168, gt=0, description="Hours after which frozen evidence is too old.")
    holdback: float = Field(0.05, ge=0, lt=0.5, description="Share of subjects that stays on the old version; 0: none.")


class Notify(Section):
    """Who is told when an approval waits, drift alarms, a run fails or a rollback happened."""

    webhook: str = Field("", description="Address that gets each notice as JSON by POST; empty: none.")
    command: tuple[str, ...] = Field((), description="Command that gets each notice as JSON on its input; empty: none.")
    attempts: int = Field(8, ge=1, description="Tries, with growing pauses, before a notice is given up.")
