"""Error rates of the paired comparison, simulated: R replicates, the band three Monte Carlo errors above the rate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from simulated_arms import band

from core.clock import HOUR
from core.decoys import APPEAL, COMMON, NOT_KNOWING, UNKNOWING, decoys
from core.types import Subject
from monitoring.experiments.sequential import betting_interval
from monitoring.gates import gate
from monitoring.gates.gate import Offline, Shadow
from monitoring.gates.ruling import Decision, Ruling
from monitoring.policy import GatePolicy
from monitoring.shadow import comparisons
from monitoring.shadow.comparisons import Mirrored, Texts, Word
from monitoring.shadow.controls import Decoy, tried
from monitoring.shadow.judge import Ballot, Judged, examine, length_controlled
from monitoring.shadow.pairs import Pair, Paired, compare
from monitoring.shadow.predictions import combine
from monitoring.shadow.questions import Skills, text_digest

POLICY = GatePolicy()
NOW = 1000 * HOUR
STEADY = [tried(kind, [-1.0] * 60, POLICY) for kind in (COMMON, UNKNOWING, APPEAL)]
WIN, LOSS, TIE = Ballot(1, 0.5), Ballot(-1, 0.5), Ballot(0, 0.5)

Verdicts = NDArray[np.float64]


def excludes_zero(verdicts: Verdicts) -> NDArray[np.bool_]:
    """By replicate, whether the confidence sequence of -1, 0 and 1 lies on one side; equal counts are computed once."""
    counts = [((row == 1).sum(), (row == -1).sum(), row.size) for row in verdicts]
    known = {}
    for better, worse, n in set(counts):
        found = betting_interval([1.0] * better + [-1.0] * worse + [0.0] * (n - better - worse), POLICY.alpha)
        known[better, worse, n] = found.low > 0 or found.high < 0
    return np.array([known[each] for each in counts])


def test_a_judge_that_leans_on_places_rejects_in_one_order_and_not_in_both() -> None:
    """R = 2000 sets of 400 equally good pairs; of 40 % the judge names the answer shown first, whatever it is."""
    rng, replicates = np.random.default_rng(1), 2000
    fair = rng.choice([-1.0, 1.0], (replicates, 400))
    leaning = rng.random((replicates, 400)) < 0.4
    one_order = np.where(leaning, -1.0, fair)  # the champion was shown first
    both_orders = np.where(leaning, 0.0, fair)
    assert excludes_zero(one_order).mean() > 0.99
    assert excludes_zero(both_orders).mean() <= band(0.05, replicates)
    decisive, won = (both_orders != 0).sum(axis=1), (both_orders == 1).sum(axis=1)
    signs = 2 * np.minimum(stats.binom.cdf(won, decisive, 0.5), stats.binom.sf(won - 1, decisive, 0.5))
    assert (signs < 0.05).mean() <= band(0.05, replicates)


def test_such_a_judge_is_not_heard_at_all() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        ballots = [
            Ballot(0, 1.0) if leans else WIN if wins else LOSS for leans, wins in zip(*draws(rng, 400), strict=True)
        ]
        found = examine("test", [Judged(f"s{n}", each, 0) for n, each in enumerate(ballots)], [], STEADY, POLICY)
        assert not found.usable and found.reason.startswith("not usable: ")


def draws(rng: np.random.Generator, n: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return rng.random(n) < 0.4, rng.random(n) < 0.5


@pytest.mark.parametrize("ties", [0.0, 0.6])
def test_looking_after_every_subject_rejects_an_equal_candidate_as_rarely_as_stated(ties: float) -> None:
    """R = 200, a look at every 40th of 600 subjects: the confidence sequence may exclude no difference in 5 %."""
    rng, replicates = np.random.default_rng(3), 200
    verdicts = np.where(rng.random((replicates, 600)) < ties, 0.0, rng.choice([-1.0, 1.0], (replicates, 600)))
    rejected = np.zeros(replicates, bool)
    for n in range(40, 601, 40):
        rejected |= excludes_zero(verdicts[:, :n])
    assert rejected.mean() <= band(0.05, replicates)


def shadowed(judged: Sequence[Judged]) -> Decision:
    """The gate of a shadow that has nothing against it but a judge."""
    kept = compare([Pair(str(k), 0.0) for k in range(300)], POLICY.alpha)
    stopped = [Decoy("null model", old_skills=compare([Pair(str(k), -1.0) for k in range(300)], POLICY.alpha))]
    found = examine("test", judged, [], STEADY, POLICY)
    return gate.shadow(Shadow(400, 0, 0, 0, kept, decoys=stopped, judge=found), NOW, POLICY, NOW)


def pairs(rng: np.random.Generator, n: int, better: float, length: float = 1.0, taste: float = 0.0) -> list[Judged]:
    """Pairs whose candidate is ahead with log-odds `better` between equal lengths, is `length` times as long at the
    median, and gains `taste` where it is e times as long."""
    longer = rng.normal(np.log(length), 0.4, n)
    won = rng.random(n) < 1 / (1 + np.exp(-better - taste * longer))
    return [
        Judged(f"s{k}", WIN if wins else LOSS, float(x)) for k, (wins, x) in enumerate(zip(won, longer, strict=True))
    ]


def rejecting(decisions: Sequence[Decision]) -> float:
    return float(np.mean([decision.ruling is Ruling.REJECT for decision in decisions]))


def test_a_usable_judge_stops_a_worse_candidate_and_lets_a_better_or_equal_one_pass() -> None:
    """R = 100 of 300 pairs: 35 % wins are nearly always rejected, 50 % in 2.5 %, 65 % never and seen to be better."""
    rng, replicates = np.random.default_rng(4), 100
    worse, equal, better = ([pairs(rng, 300, odds) for _ in range(replicates)] for odds in (-0.62, 0.0, 0.62))
    assert rejecting([shadowed(each) for each in worse]) > 0.9
    assert rejecting([shadowed(each) for each in equal]) <= band(0.025, replicates)
    assert rejecting([shadowed(each) for each in better]) == 0
    found = [examine("test", each, [], STEADY, POLICY) for each in better]
    assert np.mean([each.usable and each.paired is not None and each.paired.interval.low > 0 for each in found]) > 0.9


def test_a_judge_that_loves_length_is_corrected() -> None:
    """R = 100 of 300 equally good pairs whose candidate is 1.7 times as long or as short, and a judge who minds."""
    rng, replicates = np.random.default_rng(5), 100
    longer = [pairs(rng, 300, 0.0, 1.7, 2.0) for _ in range(replicates)]
    raw = [compare([Pair(each.unit, float(each.ballot.verdict)) for each in drawn], POLICY.alpha) for drawn in longer]
    assert np.mean([found.interval.low > 0 for found in raw]) > 0.95
    rates = [found for drawn in longer if (found := length_controlled(drawn, POLICY.alpha))]
    covered = [found.interval.low <= 0.5 <= found.interval.high for found in rates]
    assert np.mean(covered) >= 1 - band(0.05, replicates)
    assert abs(np.mean([found.value for found in rates]) - 0.5) < 0.05
    shorter = [pairs(rng, 300, 0.0, 1 / 1.7, 2.0) for _ in range(replicates)]
    assert rejecting([shadowed(each) for each in shorter]) <= band(0.05, replicates)


def test_length_does_not_excuse_a_candidate_that_is_worse() -> None:
    rng, replicates = np.random.default_rng(6), 100
    shorter = [pairs(rng, 300, -1.0, 0.8, 1.0) for _ in range(replicates)]
    assert rejecting([shadowed(each) for each in shorter]) > 0.9


@pytest.mark.parametrize(("agreement", "lean"), [(0.95, 0.0), (0.8, 0.0), (0.5, 0.0), (0.8, 0.5), (0.05, 0.0)])
def test_few_words_and_many_verdicts_cover_the_truth_and_are_never_wider(agreement: float, lean: float) -> None:
    """R = 2000: 40 labelled and 400 other pairs. The judge agrees with people so often, and says "better" regardless
    of the answer for the share `lean`."""
    rng, replicates, share = np.random.default_rng(7), 2000, 0.6
    truth = 2 * share - 1
    covered, widths = [], []
    for _ in range(replicates):
        y = np.where(rng.random(440) < share, 1.0, -1.0)
        guess = np.where(rng.random(440) < agreement, y, -y)
        guess = np.where(rng.random(440) < lean, 1.0, guess)
        found = combine(y[:40], guess[:40], guess[40:], POLICY.alpha)
        assert found is not None
        covered.append(found.both.interval.low <= truth <= found.both.interval.high)
        both, people = (each.interval.high - each.interval.low for each in (found.both, found.people))
        widths.append(both / people)
    assert 1 - np.mean(covered) <= band(0.06, replicates)  # the limit is that of many labels; 40 cost one point
    assert np.mean(widths) <= 1.005 and np.max(widths) <= 1.05
    if agreement == 0.95:
        assert np.mean(widths) < 0.65


def answers(rng: np.random.Generator, right: Sequence[str], accuracy: float) -> list[str]:
    """What a champion says that knows so much, and not that it does not know."""
    said = [text if rng.random() < accuracy else f"Perhaps {rng.integers(1000)}." for text in right]
    return [NOT_KNOWING if rng.random() < 0.1 else text for text in said]


def references(rng: np.random.Generator, n: int, empty: float = 0.0) -> list[str]:
    """Right answers, some more frequent than others; for the share `empty` that nothing is known."""
    weights = 1 / np.arange(1, 31)
    drawn = rng.choice(30, n, p=weights / weights.sum())
    return [NOT_KNOWING if rng.random() < empty else f"Answer {k}." for k in drawn]


def scored(right: Sequence[str], champion: Sequence[str], told: Sequence[str]) -> Paired:
    found = [float(t == r) - float(c == r) for r, c, t in zip(right, champion, told, strict=True)]
    same = [c == t for c, t in zip(champion, told, strict=True)]
    return compare([Pair(str(k), d, s) for k, (d, s) in enumerate(zip(found, same, strict=True))], 0.05, once=True)


def screened(rng: np.random.Generator, empty: float = 0.0) -> Mapping[str, tuple[Decision, Decision]]:
    """Each decoy as the candidate of a run, with the controls and without."""
    n, accuracy = int(rng.integers(30, 300)), rng.uniform(0.05, 0.95)
    held, old = references(rng, n, empty), references(rng, n, empty)
    said = [answers(rng, held, accuracy), answers(rng, old, accuracy)]
    both = [decoys(each) for each in said]
    tried_ = [
        Decoy(kind, scored(held, said[0], both[0][kind]), scored(old, said[1], both[1][kind])) for kind in both[0]
    ]
    return {
        each.name: tuple(  # type: ignore[misc]
            gate.candidate(Offline(each.held_out, each.old_skills, (), with_), NOW, POLICY, NOW)
            for with_ in (tried_, [Decoy("blind", compare([], 0.05), None)])
        )
        for each in tried_
    }


def test_no_decoy_passes_the_gate_of_candidates() -> None:
    """R = 100 sets of 30 to 300 rows, the champion right on 5 to 95 %: three decoys each, and none ever gets in."""
    rng = np.random.default_rng(8)
    for _ in range(100):
        for name, (decision, _) in screened(rng).items():
            assert decision.ruling is not Ruling.ADVANCE, name


def test_where_a_decoy_would_get_in_the_gate_holds_for_everybody() -> None:
    """R = 100 sets whose references say mostly that nothing is known: without the control a constant answer gets in."""
    rng, loose, tight = np.random.default_rng(9), [], []
    for _ in range(100):
        for decision, without in screened(rng, empty=0.97).values():
            loose.append(without.ruling is Ruling.ADVANCE)
            tight.append(decision)
    assert np.mean(loose) > 0.1
    assert all(decision.ruling is not Ruling.ADVANCE for decision in tight)
    assert any("cannot tell an answer from a constant one" in decision.says for decision in tight)


def mirror(rng: np.random.Generator, told: str | None, empty: float = 0.0) -> Shadow:
    """A shadow whose candidate says one thing, or (None) all that is right; people like right answers."""
    n, accuracy = int(rng.integers(60, 300)), rng.uniform(0.3, 0.95)
    right = references(rng, n, empty)
    champion = answers(rng, right, accuracy)
    candidate = list(right) if told is None else list(decoys(champion)[told])
    both, words = [], {}
    for k, (r, c, t) in enumerate(zip(right, champion, candidate, strict=True)):
        texts = Texts(f"q{k}", text_digest(c), text_digest(t), c == t)
        both.append(Mirrored(f"t{k}", f"c{k}", Subject(f"s{k}"), texts))
        if rng.random() < 0.5:
            words[f"c{k}"] = Word([float(c == r)], set() if c == r else {text_digest(r)})
    skills = Skills({f"q{k}": frozenset({text_digest(r)}) for k, r in enumerate(right) if rng.random() < 0.6})

    def made(found: object) -> Paired:
        return compare(found, POLICY.alpha)  # type: ignore[arg-type]

    return Shadow(
        n,
        0,
        0,
        sum(pair.texts.same for pair in both),
        made(comparisons.old_skills(both, words, skills)),
        references=made(comparisons.references(both, words)),
        decoys=comparisons.decoys(both, words, skills, made),
    )


@pytest.mark.parametrize("told", [COMMON, UNKNOWING, APPEAL])
def test_no_decoy_passes_the_shadow(told: str) -> None:
    """R = 40 shadows of 60 to 300 calls."""
    rng = np.random.default_rng(10)
    for _ in range(40):
        assert gate.shadow(mirror(rng, told), NOW, POLICY, NOW).ruling is not Ruling.ADVANCE


def test_a_candidate_that_is_right_passes_the_shadow_unless_one_answer_is_right_everywhere() -> None:
    rng = np.random.default_rng(11)
    ordinary = [gate.shadow(mirror(rng, None), NOW, POLICY, NOW) for _ in range(50)]
    assert np.mean([decision.ruling is Ruling.ADVANCE for decision in ordinary]) > 0.9
    alike = mirror(rng, None, empty=1.0)
    decision = gate.shadow(replace(alike, same=0), NOW, POLICY, NOW)
    assert decision.ruling is Ruling.HOLD
    assert "null model (not knowing): it would pass too" in decision.says
