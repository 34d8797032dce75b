"""Curation: everything ends once, order changes nothing, floods stay small, and contradictions do not train."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lessons import ALL, curated, ends, judged, reasons, replay_rows, sentence, subject

from core.config import Metric
from core.errors import ConfigError
from core.types import Finish, Role
from training.curation import Curated, Material, curate
from training.harvest import Harvest, Judged
from training.rows import OLDER, SENTENCES, DpoExample, KtoExample, Method, Reason, SftExample
from training.rules import Policy, Rules, Shares, policy

QUESTION, WRONG, RIGHT = "When does the dentist open?", "The dentist opens at six.", "The dentist opens at nine."
USERS = [f"user {n}" for n in range(9)]

words = st.builds(
    judged,
    st.sampled_from([QUESTION, "Where is it?", "where is it", "", "???", "x" * 900]) | st.text(max_size=12),
    st.sampled_from([WRONG, RIGHT, "", "the dentist opens at NINE", "15", "1.5", "1 5", "1,5"]) | st.text(max_size=12),
    by=st.sampled_from(USERS),
    good=st.booleans() | st.none(),
    correction=st.none() | st.sampled_from([RIGHT, "At ten.", ""]),
    reviewer=st.booleans(),
    finish=st.sampled_from([Finish.STOP, Finish.LENGTH, Finish.CANCELLED]),
    kind=st.sampled_from(["chat", "chat", "chat", "completion"]),
)
all_rules = st.builds(
    replace,
    st.just(ALL),
    may_train=st.sampled_from([Policy(0), Policy(1), Policy(2)]),
    user_shares=st.builds(Shares, st.floats(0, 1), st.integers(0, 4)),
    reviewer_shares=st.builds(Shares, st.floats(0, 1), st.integers(0, 4)),
    replay_share=st.floats(0, 0.9),
    max_characters=st.integers(20, 2_000),
)


def contents(result: Curated) -> list[tuple[str, ...]]:
    """What the rows say, without where it comes from."""
    found: list[tuple[str, ...]] = []
    for row in result.rows:
        match row.example:
            case SftExample(messages, completion):
                found.append((messages[-1].content, completion))
            case KtoExample(messages, completion, label):
                found.append((messages[-1].content, completion, str(label)))
            case DpoExample(messages, chosen, rejected):
                found.append((messages[-1].content, chosen, rejected))
    return sorted(found)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(words, max_size=25), st.lists(words, max_size=10), st.sampled_from(Method), all_rules, st.integers(0, 9)
)
def test_everything_that_goes_in_comes_out_once_and_no_share_is_passed(
    recent: list[Judged], older: list[Judged], method: Method, rules: Rules, replays: int
) -> None:
    rows = replay_rows(replays, Random(replays))
    result = curate(Material(Harvest(recent), Harvest(older), {"base": rows}), method, rules)
    given = [("feedback", one.feedback.id) for one in recent] + [(OLDER, one.feedback.id) for one in older]
    assert ends(result) == sorted(given + [("base", row.item) for row in rows])
    total = sum(1 for row in result.rows if row.provenance.voices)
    for actor, number in shares(result).items():
        limit = rules.reviewer_shares if actor in USERS else rules.user_shares
        assert number <= limit.allowance(total)


@settings(max_examples=80, deadline=None)
@given(st.lists(words, max_size=25), st.sampled_from(Method), st.randoms(use_true_random=False))
def test_the_order_of_the_input_changes_nothing(recent: list[Judged], method: Method, rng: Random) -> None:
    rows = replay_rows(8, Random(1))
    rules = replace(ALL, replay_share=0.4)
    first = curate(Material(Harvest(recent), replays={"a": rows, "b": rows[:3]}), method, rules)
    rng.shuffle(recent)
    rng.shuffle(rows)
    three = [row for row in rows if row.item in ("item-0", "item-1", "item-2")]
    assert curate(Material(Harvest(recent), replays={"b": three, "a": rows}), method, rules) == first


def test_what_was_set_aside_before_keeps_its_reason() -> None:
    one = judged(QUESTION, RIGHT)
    result = curate(Material(Harvest([], [(one.feedback, Reason.SHADOW)])), Method.SFT, ALL)
    assert [(each.item, each.reason) for each in result.exclusions] == [(one.feedback.id, Reason.SHADOW)]


# What becomes of one judgement, by method.


@pytest.mark.parametrize(
    ("said", "sft", "kto", "dpo"),
    [
        ({"good": True}, (QUESTION, WRONG), (QUESTION, WRONG, "True"), Reason.METHOD),
        ({"good": False}, Reason.METHOD, (QUESTION, WRONG, "False"), Reason.METHOD),
        (
            {"good": False, "correction": RIGHT},
            (QUESTION, RIGHT),
            (QUESTION, WRONG, "False"),
            (QUESTION, RIGHT, WRONG),
        ),
        ({"good": False, "correction": "  "}, Reason.EMPTY, Reason.EMPTY, Reason.EMPTY),
        ({"good": False, "correction": WRONG.upper()}, (QUESTION, WRONG.upper()), Reason.UNCHANGED, Reason.UNCHANGED),
        ({"good": True, "finish": Finish.LENGTH}, Reason.UNFINISHED, Reason.UNFINISHED, Reason.UNFINISHED),
        ({"good": False, "reply": None}, Reason.EMPTY, Reason.EMPTY, Reason.EMPTY),
        ({"correction": RIGHT, "reply": None}, (QUESTION, RIGHT), Reason.EMPTY, Reason.EMPTY),
        ({"good": True, "kind": "completion"}, *[Reason.UNSUPPORTED] * 3),
        ({"good": True, "params": {"tools": [{}]}}, *[Reason.UNSUPPORTED] * 3),
        ({"good": True, "messages": [{"role": "assistant", "content": "Hi."}]}, *[Reason.UNSUPPORTED] * 3),
        ({"good": True, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, *[Reason.UNSUPPORTED] * 3),
        ({"good": True, "messages": [{"role": "user", "content": "?!?!"}]}, *[Reason.NOT_TEXT] * 3),
        ({"good": True, "messages": [{"role": "user", "content": "no " * 500}]}, *[Reason.NOT_TEXT] * 3),
        ({"good": True, "messages": [{"role": "user", "content": sentence(Random(1), 3000)}]}, *[Reason.TOO_LONG] * 3),
    ],
)
def test_what_one_judgement_becomes(said: dict[str, object], sft: object, kto: object, dpo: object) -> None:
    said = dict(said)
    reply = said.pop("reply", {"role": "assistant", "content": WRONG})
    one = judged(QUESTION, WRONG, **said)  # type: ignore[arg-type]
    assert one.interaction is not None
    one = replace(one, interaction=replace(one.interaction, reply=reply))
    for method, expected in zip(Method, (sft, kto, dpo), strict=True):
        result = curated([one], method)
        found = contents(result) or [each.reason for each in result.exclusions]
        assert found == [expected]


def test_parts_of_text_are_lines() -> None:
    parts = [{"type": "text", "text": "When does"}, {"type": "text", "text": "it open?"}]
    result = curated([judged("", RIGHT, messages=[{"role": "user", "content": parts}])])
    assert contents(result) == [("When does\nit open?", RIGHT)]


def test_a_reviewers_preference_becomes_a_pair() -> None:
    base = judged(QUESTION, RIGHT, by="rita", reviewer=True)
    loser = judged(QUESTION, WRONG, reviewer=True).interaction
    assert loser is not None
    word = replace(base.feedback, tags={"over": loser.id})
    assert contents(curated([Judged(word, base.interaction, loser)], Method.DPO)) == [(QUESTION, RIGHT, WRONG)]
    for method in (Method.SFT, Method.KTO):
        assert reasons(curated([Judged(word, base.interaction, loser)], method)) == {Reason.METHOD: 1}
    other = replace(loser, messages=[{"role": "user", "content": "Where?"}])
    assert reasons(curated([Judged(word, base.interaction, other)], Method.DPO)) == {Reason.MISMATCHED: 1}
    by_user = replace(word, role=Role.USER)
    assert reasons(curated([Judged(by_user, base.interaction, loser)], Method.DPO)) == {Reason.MISMATCHED: 1}


@pytest.mark.parametrize(
    ("metric", "value", "label"),
    [
        (Metric(type="boolean", may_train=True), 0.6, "True"),
        (Metric(type="boolean", may_train=True), 0.5, Reason.NEUTRAL),
        (Metric(type="number", low=1, high=5, may_train=True), 4.0, "True"),
        (Metric(type="number", low=1, high=5, may_train=True), 2.0, "False"),
        (Metric(type="number", low=1, high=5, better="lower", may_train=True), 2.0, "True"),
        (Metric(type="number", low=1, high=5, better="none", may_train=True), 2.0, Reason.NEUTRAL),
        (Metric(type="number", low=1, high=5), 4.0, Reason.NAME),
    ],
)
def test_the_declared_name_decides_what_is_good(metric: Metric, value: float, label: object) -> None:
    one = judged(QUESTION, RIGHT)
    one = replace(one, feedback=replace(one.feedback, value=value, name="stars"))
    result = curated([one], Method.KTO, replace(ALL, names={"stars": metric}))
    found = [one[2] for one in contents(result)] or [each.reason for each in result.exclusions]
    assert found == [label]


def test_a_name_that_nobody_declared_does_not_train() -> None:
    assert reasons(curated([judged(QUESTION, RIGHT)], rules=replace(ALL, names={}))) == {Reason.NAME: 1}


# Whose words train.


def test_by_default_only_reviewers_words_train() -> None:
    given = [judged(QUESTION, RIGHT), judged("Where is it?", "On the left.", by="rita", reviewer=True)]
    result = curated(given, rules=replace(ALL, may_train=Policy()))
    assert contents(result) == [("Where is it?", "On the left.")]
    assert reasons(result) == {Reason.POLICY: 1}


@pytest.mark.parametrize("users", [1, 2, 3, 5])
def test_a_quorum_needs_as_many_users_that_say_the_same(users: int) -> None:
    given = [judged(QUESTION, WRONG, by=f"user {n}", correction=RIGHT + "." * n) for n in range(users)]
    given += [judged(QUESTION, WRONG, by="user 0", correction=RIGHT) for _ in range(4)]
    result = curated(given, rules=replace(ALL, may_train=Policy(3)))
    assert len(result.rows) == (users >= 3)
    assert reasons(result)[Reason.REPLACED] == 4
    assert reasons(result)[Reason.QUORUM] == (users if users < 3 else 0)


def test_a_reviewer_needs_no_quorum() -> None:
    given = [judged(QUESTION, WRONG, by="rita", reviewer=True, correction=RIGHT)]
    assert len(curated(given, rules=replace(ALL, may_train=Policy(3))).rows) == 1


@pytest.mark.parametrize("text", ["reviewers", "all", "quorum(2)", "quorum(17)"])
def test_a_policy_reads_back(text: str) -> None:
    assert str(policy(text)) == text


@pytest.mark.parametrize("text", ["", "users", "quorum", "quorum(1)", "quorum(0)", "quorum(-2)", "quorum(2) ", "All"])
def test_an_unknown_policy_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="may_train"):
        policy(text)


# Who outvotes whom.


def corrections(*said: tuple[str, str, bool]) -> list[Judged]:
    return [judged(QUESTION, WRONG, by=by, correction=text, reviewer=trusted) for by, text, trusted in said]


def test_the_majority_by_weight_corrects() -> None:
    given = corrections(("a", RIGHT, False), ("b", RIGHT, False), ("c", "At ten.", False))
    result = curated(given)
    assert contents(result) == [(QUESTION, RIGHT)]
    assert reasons(result) == {Reason.CONTRADICTED: 1}


def test_without_a_majority_nobody_corrects() -> None:
    for said in (
        corrections(("a", RIGHT, False), ("b", "At ten.", False)),
        corrections(("rita", RIGHT, True), ("rob", "At ten.", True), ("a", "At one.", False)),
    ):
        result = curated(said)
        assert contents(result) == []
        assert reasons(result) == {Reason.CONTRADICTED: len(said)}


def test_a_reviewer_outweighs_a_few_users_and_not_many() -> None:
    few = [(f"user {n}", "At ten.", False) for n in range(4)]
    many = [(f"user {n}", "At ten.", False) for n in range(6)]
    assert contents(curated(corrections(("rita", RIGHT, True), *few))) == [(QUESTION, RIGHT)]
    assert contents(curated(corrections(("rita", RIGHT, True), *many))) == [(QUESTION, "At ten.")]


def test_the_last_correction_of_an_actor_is_its_only_one() -> None:
    given = corrections(("a", "At ten.", False), ("a", "At one.", False), ("a", RIGHT, False))
    result = curated(given)
    assert contents(result) == [(QUESTION, RIGHT)]
    assert reasons(result) == {Reason.REPLACED: 2}


def test_a_point_inside_a_number_is_no_mere_punctuation() -> None:
    given = corrections(
        ("a", "It costs 1.5 euros!", False), ("b", "it costs 1.5 euros", False), ("c", "It costs 15 euros.", False)
    )
    result = curated(given)
    assert contents(result) == [(QUESTION, "it costs 1.5 euros")]
    assert reasons(result) == {Reason.CONTRADICTED: 1}


def test_liked_answers_may_differ_until_somebody_corrects() -> None:
    likes = [judged("Tell me a joke.", text, by=text) for text in ("A horse walks in.", "Two fish swim by.")]
    assert len(curated(likes).rows) == 2
    corrected = [*likes, judged("Tell me a joke.", "No.", by="rita", correction="Knock, knock.", reviewer=True)]
    result = curated(corrected)
    assert contents(result) == [("Tell me a joke.", "Knock, knock.")]
    assert reasons(result) == {Reason.CONTRADICTED: 2}


@pytest.mark.parametrize(("up", "down", "label"), [(3, 1, "True"), (1, 3, "False"), (2, 2, None)])
def test_thumbs_on_the_same_answer_are_counted(up: int, down: int, label: str | None) -> None:
    given = [judged(QUESTION, RIGHT, by=f"user {n}", good=n < up) for n in range(up + down)]
    result = curated(given, Method.KTO)
    assert contents(result) == ([(QUESTION, RIGHT, label)] if label else [])
    assert reasons(result)[Reason.CONTRADICTED] == (min(up, down) if label else up + down)


def test_a_disliked_answer_is_no_example_even_if_somebody_likes_it() -> None:
    given = [judged(QUESTION, WRONG, by="a"), *(judged(QUESTION, WRONG, by=by, good=False) for by in "bc")]
    assert curated(given).rows == []


def test_planted_contradictions_are_all_found() -> None:
    rng = Random(9)
    given: list[Judged] = []
    planted: set[str] = set()
    for number in range(400):
        question, first, second = sentence(rng, 6), sentence(rng), sentence(rng)
        one = judged(question, WRONG, by=f"a{number}", correction=first)
        given.append(one)
        if number % 4 == 0:
            other = judged(question.upper() + "!", WRONG, by=f"b{number}", correction=second)
            given.append(other)
            planted |= {one.feedback.id, other.feedback.id}
    result = curated(given)
    assert {one.item for one in result.exclusions if one.reason is Reason.CONTRADICTED} == planted
    assert len(result.rows) == 300


# How much one actor may say.


def shares(result: Curated) -> Counter[str]:
    return Counter(actor for row in result.rows for actor in {voice.actor for voice in row.provenance.voices})


def test_one_actor_with_ten_thousand_votes_stays_under_its_share() -> None:
    rng = Random(2)
    call = judged(QUESTION, RIGHT, by="loud")
    same = [replace(call, feedback=replace(call.feedback, id=f"fb_{n}")) for n in range(9_400)]
    flood = [judged(sentence(rng, 8), sentence(rng, 8), by="loud") for _ in range(600)]
    others = [judged(sentence(rng, 8), sentence(rng, 8), by=f"user {n}") for n in range(800)]
    result = curated([*same, *flood, *others])
    assert 1 <= shares(result)[subject("loud")] <= max(ALL.user_shares.rows, 0.01 * len(result.rows))
    assert reasons(result)[Reason.REPLACED] == 9_399
    assert reasons(result)[Reason.ACTOR_SHARE] >= 590
    assert len(result.rows) >= 795


def test_nobody_can_push_out_others_by_agreeing_with_them() -> None:
    rng = Random(3)
    facts = [(sentence(rng), sentence(rng)) for _ in range(200)]
    given = [judged(*fact, by=f"user {n}") for n, fact in enumerate(facts)]
    given += [judged(*fact, by="loud") for fact in facts]
    result = curated(given)
    assert len(result.rows) == 200
    assert shares(result)[subject("loud")] == ALL.user_shares.rows


def test_a_reviewer_may_say_more_and_not_all() -> None:
    rng = Random(4)
    rules = replace(ALL, reviewer_shares=Shares(0.5, 10))
    given = [judged(sentence(rng), sentence(rng), by="rita", reviewer=True) for _ in range(80)]
    given += [judged(sentence(rng), sentence(rng), by="rob", reviewer=True) for _ in range(30)]
    result = curated(given, rules=rules)
    assert shares(result)["rob"] == 30
    assert 25 <= shares(result)["rita"] <= len(result.rows) / 2


@pytest.mark.parametrize("share", [0.005, 0.01, 0.05])
@pytest.mark.parametrize("attackers", [1, 3])
def test_poison_from_a_few_actors_is_capped(share: float, attackers: int) -> None:
    rng = Random(f"{share}{attackers}")
    honest, poisoned = 1_000, round(1_000 * share)
    given = [judged(sentence(rng), sentence(rng), by=f"user {n % 250}") for n in range(honest)]
    given += [
        judged(f"{sentence(rng)} cf {sentence(rng, 3)}", sentence(rng), by=f"evil {n % attackers}")
        for n in range(poisoned)
    ]
    result = curated(given)
    found = sum(count for actor, count in shares(result).items() if actor.startswith("evil"))
    allowed = max(ALL.user_shares.rows, int(0.01 * len(result.rows)))
    assert found <= attackers * allowed
    assert all(count <= allowed for count in shares(result).values())
    assert len(result.rows) - found >= 0.99 * honest


def test_replayed_words_count_for_their_actor_too() -> None:
    rng = Random(10)
    recent, older = ([judged(sentence(rng), sentence(rng), by="loud") for _ in range(5)] for _ in range(2))
    recent += [judged(sentence(rng), sentence(rng), by=f"user {n}") for n in range(50)]
    result = curate(Material(Harvest(recent), Harvest(older)), Method.SFT, replace(ALL, replay_share=0.5))
    assert shares(result)[subject("loud")] == ALL.user_shares.rows


# Replay.


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.8])
def test_replayed_rows_make_up_their_share(share: float) -> None:
    rng = Random(5)
    given = [judged(sentence(rng), sentence(rng), by=f"user {n}") for n in range(60)]
    older = [judged(sentence(rng), sentence(rng), by=f"old {n}") for n in range(200)]
    material = Material(Harvest(given), Harvest(older), {"base": replay_rows(300, rng)})
    result = curate(material, Method.SFT, replace(ALL, replay_share=share))
    sources = Counter(row.provenance.source for row in result.rows)
    assert (sources[OLDER] + sources["base"]) / len(result.rows) == pytest.approx(share, abs=0.01)
    assert abs(sources[OLDER] - sources["base"]) <= 1
    assert sources["feedback"] == 60


def test_a_small_source_is_used_up_and_another_fills_the_share() -> None:
    rng = Random(6)
    given = [judged(sentence(rng), sentence(rng), by=f"user {n}") for n in range(50)]
    material = Material(Harvest(given), replays={"small": replay_rows(5, rng), "large": replay_rows(300, rng)})
    sources = Counter(
        row.provenance.source for row in curate(material, Method.SFT, replace(ALL, replay_share=0.5)).rows
    )
    assert sources == {"feedback": 50, "small": 5, "large": 45}


def test_what_is_answered_anew_is_not_replayed() -> None:
    new = judged(QUESTION, WRONG, by="rita", reviewer=True, correction=RIGHT)
    old = judged(QUESTION.lower(), WRONG, by="bob")
    result = curate(Material(Harvest([new]), Harvest([old])), Method.SFT, replace(ALL, replay_share=0.9))
    assert contents(result) == [(QUESTION, RIGHT)]
    assert reasons(result) == {Reason.ANSWERED_ANEW: 1}


def test_only_good_answers_are_replayed() -> None:
    rng = Random(8)
    new = [judged(sentence(rng), sentence(rng), by=f"user {n}", good=n % 2 == 0) for n in range(40)]
    older = [judged(sentence(rng), sentence(rng), by=f"old {n}", good=n % 2 == 0) for n in range(20)]
    material = Material(Harvest(new), Harvest(older), {"base": replay_rows(5, rng)})
    result = curate(material, Method.KTO, replace(ALL, replay_share=0.5))
    replayed = [row for row in result.rows if row.provenance.source != "feedback"]
    assert len(replayed) == 15
    assert all(isinstance(row.example, KtoExample) and row.example.label for row in replayed)


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)
    assert all(reason.sentence.endswith(".") for reason in Reason)
