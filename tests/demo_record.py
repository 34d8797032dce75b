"""The record of a demo that went well, made up, to draw timelines and reports from."""

from math import exp

from agent.demo.profile import profile
from agent.demo.record import (
    Act,
    Batch,
    Compared,
    Control,
    Look,
    Loss,
    Measured,
    Moment,
    Record,
    Scene,
    Share,
    Sign,
)

ENDS = {
    Act.START: (19, "ready with hone-tiny-v0 as champion"),
    Act.BEFORE: (33, "ordinary 99.6%, shifted 0.0% right"),
    Act.ORDINARY: (56, "449 customers, 99.1% content"),
    Act.SHIFT: (79, "answers got worse, starting a run"),
    Act.TRAINING: (171, "300 steps in 88 s"),
    Act.GATE: (196, "advance to shadow: held-out rows: better by +0.383 (+0.301 to +0.465) over 121 pairs"),
    Act.SHADOW: (229, "advance to ab"),
    Act.AB: (287, "advance to awaiting approval: thumbs: better by +0.331 (+0.174 to +0.489)"),
    Act.APPROVAL: (290, "agreed to; every gateway worker answers with the new version after 0.62 s"),
    Act.AFTER: (304, "ordinary 99.1%, shifted 96.6% right"),
    Act.RETURN: (308, "rolled back in 0.58 s, rolled forward in 0.55 s"),
    Act.STOP: (314, "stopped"),
}
MOMENTS = (
    Moment(61.0, Sign.DRIFT, "thumbs: lower for about 9 observations"),
    Moment(78.0, Sign.RUN, "by the trigger worse: thumbs lower for about 9 observations"),
    Moment(171.0, Sign.CANDIDATE, "hone-tiny-7f31c2a9"),
    Moment(196.0, Sign.SHADOW, "every check offline says advance"),
    Moment(229.0, Sign.AB, "as good on old skills as the champion"),
    Moment(287.0, Sign.EVIDENCE, "9 controls say advance"),
    Moment(289.4, Sign.PROMOTED, "by demo operator"),
    Moment(305.1, Sign.BACK, "to show that it takes a moment"),
    Moment(306.9, Sign.AGAIN, "a second rollback swaps back"),
)
COMPARED = (
    Compared("held-out rows, offline", 117, 0.427, 0.341, 0.518),
    Compared("shadow, by corrections", 132, 0.326, 0.216, 0.471),
    Compared("shadow, old skills", 87, 0.0, -0.049, 0.049),
    Compared("A/B test, by thumbs", 346, 0.331, 0.174, 0.489),
)
CONTROLS = (
    Control("candidate", "held-out rows", "advance", "better by +0.383 (+0.301 to +0.465) over 121 pairs"),
    Control("candidate", "old skills", "advance", "a loss beyond 0.05 is ruled out: +0.003 (-0.009 to +0.016)"),
    Control("shadow", "shadow coverage", "advance", "212 pairs, 97% of the mirrored calls"),
    Control("ab", "thumbs", "advance", "better by +0.331 (+0.174 to +0.489)"),
    Control("ab", "guardrail latency", "hold", "harm beyond +0.25 is not seen, though not ruled out: +0.02"),
)


def record(promoted: bool = True) -> Record:
    """What a whole demo leaves; with `promoted` false one whose candidate was held until time was up."""
    made = Record("/tmp/demo/data", "examples/helpdesk.jsonl", profile(449, 331), "http://127.0.0.1:23456")
    start = 0.0
    for act, (end, says) in ENDS.items():
        made.scenes.append(Scene(act, start, float(end), says))
        start = float(end)
    made.moments += MOMENTS
    made.batches += [Batch(33 + second, 16, _right(33 + second)) for second in range(275)]
    made.losses += [Loss(step, 2.6 * exp(-step / 45) + 0.02) for step in range(5, 301, 5)]
    made.ab += [_look(239.0 + 2 * n, 70 + 12 * n) for n in range(24)]
    made.compared += COMPARED
    made.controls += CONTROLS
    made.measured += [
        Measured("ordinary", Share(231, 230), Share(231, 229)),
        Measured("shifted", Share(149, 0), Share(149, 144)),
    ]
    made.champion = made.candidate = "hone-tiny-7f31c2a9"
    made.requester = "system:worse"
    made.evidence_digest = "5a" * 32
    made.promoted, made.promotion_seconds, made.rollback_seconds = promoted, 0.62, 0.58
    made.seconds = 314.0
    if not promoted:
        made.ending = "the A/B test went on for 300 s: about 40 more subjects decide it"
        made.promotion_seconds = made.rollback_seconds = None
    return made


def _right(second: int) -> int:
    return 16 if second < 56 else 1 if second < 79 else 11 if second < 229 else 13 if second < 290 else 16


def _look(at: float, subjects: int) -> Look:
    reach = 3.2 / subjects**0.5
    return Look(at, subjects, 0.33, 0.33 - reach, 0.33 + reach)
