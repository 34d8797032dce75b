"""What moved in a window: no move is claimed without one, a planted one is named, nobody's own words are shown."""

from collections.abc import Callable, Sequence
from math import sqrt

import numpy as np
import pytest
from numpy.random import Generator
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from core.types import Subject
from monitoring.drift import domain, effects, explanation, themes
from monitoring.drift.explanation import ALPHA, explain, spent, to_json
from monitoring.drift.prompts import Turn

OPENINGS = ("how", "can", "i", "my", "the", "please", "tell", "me")
LUNCH = ("lunch", "menu", "soup", "price", "dish")
PARCEL = ("parcel", "delivery", "late", "courier", "track")
LOGIN = ("login", "password", "reset", "account", "mail")


def asked(
    rng: Generator, count: int, topics: Sequence[Sequence[str]], subjects: int, prefix: str = "s", copies: int = 1
) -> list[Turn]:
    """Questions of subjects by chance, each on one of the topics, each asked `copies` times."""
    turns = []
    for number in range(count):
        topic = topics[int(rng.integers(len(topics)))]
        words = [*rng.choice(OPENINGS, 3), *rng.choice(topic, 3), f"x{rng.integers(1000)}"]
        who = Subject(f"{prefix}{rng.integers(subjects)}")
        turns += [Turn(f"{prefix}{count}-{number}-{copy}", who, " ".join(words)) for copy in range(copies)]
    return turns


def band(level: float, replicates: int) -> float:
    return level + 3 * sqrt(level * (1 - level) / replicates)


def test_copies_within_a_window_are_not_recognised() -> None:
    """Each text four times within its window: a plain split knows every one of them, ours none."""
    rng, vocabulary = np.random.default_rng(1), [f"{a}{b}{c}" for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
    areas, plain = [], []
    for _ in range(10):
        before, now = (asked(rng, 150, [vocabulary], 100, prefix, 4) for prefix in "ab")
        found = domain.compare(before, now, rng)
        assert found is not None
        areas.append(found.auc)
        plain.append(plain_area([*before, *now], np.arange(1200) >= 600, rng))
    assert 0.45 <= np.mean(areas) <= 0.55
    assert np.mean(plain) > 0.97


def plain_area(turns: Sequence[Turn], is_new: domain.Labels, rng: Generator) -> float:
    """As it is usually done: four fifths of the turns are learned from, whosever they are, the others are tried."""
    learned = rng.permutation(len(turns)) % 5 > 0
    counts = TfidfVectorizer().fit_transform([turn.text for turn in turns])
    model = LogisticRegression(C=1000, solver="liblinear").fit(counts[learned], is_new[learned])
    return float(roc_auc_score(is_new[~learned], model.decision_function(counts[~learned])))


def test_copies_under_other_names_are_not_recognised_either() -> None:
    rng, areas = np.random.default_rng(2), []
    for _ in range(12):
        before, now = (asked(rng, 150, [OPENINGS], 100, prefix, 4) for prefix in "ab")
        before, now = ([Turn(t.id, Subject(t.subject + t.id[-1]), t.text) for t in side] for side in (before, now))
        found = domain.compare(before, now, rng)
        assert found is not None
        areas.append(found.auc)
    assert 0.45 <= np.mean(areas) <= 0.55


def test_no_half_knows_a_subject_or_a_text_of_the_other() -> None:
    rng = np.random.default_rng(3)
    for topics in ([LUNCH], [("a", "b"), ("c", "d")]):
        turns = [*asked(rng, 300, topics, 80), *asked(rng, 300, topics, 80, "w")]
        halves = domain.split(turns, np.arange(600) >= 300, rng)
        learned, tried = (
            [t for t, taken in zip(turns, h, strict=True) if taken] for h in (halves.learned, halves.tried)
        )
        assert learned and tried
        assert not {t.subject for t in learned} & {t.subject for t in tried}
        assert not {t.text for t in learned} & {t.text for t in tried}


def churning(rng: Generator) -> tuple[domain.Floats, domain.Labels, domain.Groups]:
    """Scores of sticky subjects, of whom some are in both collections and some in one."""
    voices = np.concatenate([rng.integers(0, 40, 120), rng.integers(25, 60, 80)])
    return rng.normal(0, 2, 60)[voices] + rng.normal(size=200), np.arange(200) >= 120, voices


def independent(rng: Generator) -> tuple[domain.Floats, domain.Labels, domain.Groups]:
    return rng.normal(size=90), np.arange(90) >= 50, np.arange(90)


@pytest.mark.parametrize("drawn", [churning, independent])
def test_the_p_value_keeps_its_level_for_sticky_and_for_independent_subjects(
    drawn: Callable[[Generator], tuple[domain.Floats, domain.Labels, domain.Groups]],
) -> None:
    replicates, rng = 1000, np.random.default_rng(4)
    p = np.array([domain.permuted(*drawn(rng), rng, 199)[1] for _ in range(replicates)])
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= band(level, replicates)
    assert (p <= 0.5).mean() >= 0.4, "it is not merely large"


def test_each_voice_counts_once_in_either_collection() -> None:
    """Two voices of now, one talkative: the area is the mean over voices, not over turns."""
    scores = np.array([0.0, 2.0, 1.0, 1.0, 1.0, 3.0])
    is_new, voices = np.array([False, False, True, True, True, True]), np.array([0, 1, 2, 2, 2, 3])
    seen, _ = domain.permuted(scores, is_new, voices, np.random.default_rng(1))
    assert seen == pytest.approx((0.5 + 1.0) / 2)
    ties, p = domain.permuted(np.zeros(6), is_new, voices, np.random.default_rng(1))
    assert (ties, p) == (0.5, 1.0)


def test_a_shift_in_the_tail_is_found_however_small_the_level() -> None:
    rng = np.random.default_rng(5)
    scores, labels, voices = independent(rng)
    seen, p = domain.permuted(scores + 3 * labels, labels, voices, rng)
    assert seen > 0.95
    assert p < spent(500)


def test_all_windows_together_spend_alpha() -> None:
    parts = [spent(number) for number in range(1, 100_000)]
    assert sum(parts) == pytest.approx(ALPHA, abs=1e-6)
    assert spent(1) > spent(2) > spent(50)


def test_without_drift_no_window_is_called_different_more_often_than_its_part_of_alpha() -> None:
    """20 versions of 5 windows that share their reference: single windows keep 5 %, all of a version together too."""
    rng, versions, windows = np.random.default_rng(6), 20, 5
    p = np.ones((versions, windows))
    for version in range(versions):
        before = asked(rng, 160, [LUNCH, PARCEL], 60)
        for number in range(windows):
            found = domain.compare(before, asked(rng, 120, [LUNCH, PARCEL], 60, "w"), rng)
            assert found is not None
            p[version, number] = found.p
    assert (p <= ALPHA).mean() <= band(ALPHA, versions * windows)
    ever = (p <= [spent(number + 1) for number in range(windows)]).any(axis=1)
    assert ever.mean() <= band(ALPHA, versions)


def test_a_planted_topic_is_found_and_named_by_its_terms() -> None:
    rng = np.random.default_rng(7)
    before = asked(rng, 600, [LUNCH, PARCEL], 150)
    now = asked(rng, 300, [LUNCH, PARCEL, PARCEL, LOGIN], 150, "w")
    found = explain(before, now, 3)
    assert found.moved
    assert {term.words[0] for term in found.terms[:5]} == set(LOGIN)
    assert all(term.now > term.before == 0.0 for term in found.terms[:5])
    assert set(found.topics[0].words) <= set(LOGIN)
    texts = {turn.id: turn.text for turn in now}
    assert len(found.examples) == 5
    assert all(set(texts[example].split()) & set(LOGIN) for example in found.examples)
    assert "more of" in found.says() and "AUC" in found.says()


def test_the_same_turns_are_explained_in_the_same_way() -> None:
    before, now = (asked(np.random.default_rng(8), 200, [LUNCH, PARCEL], 90, prefix) for prefix in "ab")
    assert to_json(explain(before, now, 2), (), 5) == to_json(explain(before, now, 2), (), 5)


def test_without_a_move_nothing_is_named() -> None:
    rng = np.random.default_rng(9)
    found = explain(asked(rng, 400, [LUNCH, PARCEL], 90), asked(rng, 300, [LUNCH, PARCEL], 90, "w"), 1)
    assert not found.moved
    assert (list(found.terms), list(found.topics), list(found.examples)) == ([], [], [])


def test_words_of_fewer_than_three_subjects_are_never_shown() -> None:
    rng = np.random.default_rng(10)
    before = asked(rng, 300, [LUNCH], 90)
    secret = [Turn(f"t{n}", Subject(f"talkative{n % 2}"), "my diagnosis is hypochondria") for n in range(100)]
    told = str(to_json(explain(before, [*asked(rng, 100, [LUNCH], 90, "w"), *secret], 1), (), 5))
    assert "hypochondria" not in told and "diagnosis" not in told
    shared = [Turn(f"t{n}", Subject(f"talker{n % 30}"), "my diagnosis is hypochondria") for n in range(100)]
    told = str(to_json(explain(before, [*asked(rng, 100, [LUNCH], 90, "w"), *shared], 1), (), 5))
    assert "hypochondria" in told


def test_a_talkative_subject_is_one_voice() -> None:
    rng = np.random.default_rng(11)
    before, now = asked(rng, 300, [LUNCH], 90), asked(rng, 200, [LUNCH], 90, "w")
    few = [Turn(f"f{n}", Subject(f"fan{n}"), "zebra") for n in range(2)]
    loud = [Turn(f"l{n}", Subject("loud"), "zebra") for n in range(300)]
    assert [term for term in explain(before, [*now, *few, *loud], 1).terms if term.words == ("zebra",)] == []


def test_terms_of_scripts_without_spaces_are_pairs_of_characters() -> None:
    assert themes.terms("\u6211\u4e0d\u77e5") == {"\u6211\u4e0d", "\u4e0d\u77e5"}
    assert themes.terms("Caf\u00e9, CAF\u00c9! a") == {"caf\u00e9"}
    assert themes.terms("\u0928\u092e\u0938\u094d\u0924\u0947") == {"\u0928\u092e\u0938\u094d\u0924\u0947"}


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_little_to_compare_is_said(count: int) -> None:
    rng = np.random.default_rng(12)
    found = explain(asked(rng, 300, [LUNCH], 90), asked(rng, count, [LUNCH], 90, "w"), 1)
    assert (found.domain, found.moved) == (None, False)
    assert found.says().startswith("too few")


def test_one_subject_alone_is_compared_by_its_texts() -> None:
    rng = np.random.default_rng(13)
    before = asked(rng, 300, [LUNCH], 1)
    calm, moved = (explain(before, asked(rng, 200, topics, 1), 1) for topics in ([LUNCH], [LUNCH, LOGIN]))
    assert not calm.moved and moved.moved


@pytest.mark.parametrize("text", ["same", "\u6211\u4e0d\u77e5\u9053", "!?"])
def test_equal_prompts_do_not_move(text: str) -> None:
    before, now = ([Turn(f"{side}{n}", Subject(f"{side}{n}"), text) for n in range(200)] for side in "ab")
    found = explain(before, now, 1)
    assert not found.moved and not found.terms


@pytest.mark.parametrize(("n", "m"), [(100, 100), (1000, 200), (1000, 1000)])
def test_the_bound_of_the_stability_index_knows_the_size_of_the_window(n: int, m: int) -> None:
    """The published 95 % point is exceeded in 5 % of null windows; the usual 0.1 in most of the small ones."""
    replicates, rng = 1000, np.random.default_rng(14)
    found = np.array([effects.stability(np.sort(rng.normal(size=n)), rng.normal(size=m)) for _ in range(replicates)])
    assert (found[:, 0] > found[:, 1]).mean() <= band(0.05, replicates)
    assert found[:, 0].mean() == pytest.approx(9 * (1 / n + 1 / m), rel=0.1)
    if n == m == 100:
        assert (found[:, 0] > 0.1).mean() > 0.7


def test_the_largest_difference_is_that_of_the_textbook() -> None:
    rng = np.random.default_rng(15)
    before, now = np.sort(rng.normal(size=800)), rng.normal(0.1, 1, 300)
    expected = stats.ks_2samp(before, now, method="asymp")
    assert effects.largest_difference(before, now) == pytest.approx((expected.statistic, expected.pvalue), rel=0.1)


@pytest.mark.parametrize("values", [np.zeros(100), np.repeat([0.0, 1.0], 50)])
def test_ties_break_nothing(values: effects.Floats) -> None:
    same, other = (list(effects.effects({"s": values}, {"s": values + shift})) for shift in (0, 1))
    assert (same[0].psi, same[0].ks) == (0.0, 0.0)
    assert other[0].psi > other[0].psi_95 and other[0].ks_p < 0.001


def test_few_values_have_no_effect_size() -> None:
    few, many = np.zeros(effects.FEWEST - 1), np.zeros(effects.FEWEST)
    assert list(effects.effects({"s": few}, {"s": many})) == list(effects.effects({"s": many}, {"s": few})) == []
    assert list(effects.effects({}, {"s": many})) == []


def test_the_report_has_what_was_promised() -> None:
    rng = np.random.default_rng(16)
    found = explain(asked(rng, 300, [LUNCH], 90), asked(rng, 200, [LUNCH, LOGIN], 90, "w"), 1)
    sizes = list(effects.effects({"length": np.linspace(0, 1, 99)}, {"length": np.linspace(0, 1, 50)}))
    report = to_json(found, sizes, 7)
    assert {"says", "closed_at", "turns", "auc", "p", "alpha", "moved", "terms", "topics", "examples"} <= set(report)
    assert set(report["terms"][0]) == {"term", "share_before", "share_now", "subjects"}  # type: ignore[index,arg-type]
    assert set(report["topics"][0]) == {"words", "before", "now"}  # type: ignore[index,arg-type]
    assert {"stream", "psi", "psi_95", "ks", "ks_p"} <= set(report["effects"][0])  # type: ignore[index,arg-type]
    assert explanation.ALPHA == 0.05
