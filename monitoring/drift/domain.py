"""Whether two collections of turns can be told apart by their words: a classifier two-sample test.

After D. Lopez-Paz and M. Oquab, Revisiting classifier two-sample tests (ICLR 2017). The classifier learns on one half
of the subjects and is tried on turns of the other half with texts that it has not seen, so neither a talkative subject
nor a text that is sent again and again is recognised. Where there are too few subjects, texts take their place. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from core.text import normalise
from monitoring.drift.prompts import Turn

FEWEST_SUBJECTS = 40
"""Of either collection; below it the split is by texts."""
FEWEST_TRIED = 15
"""Voices of either collection that are needed in the half that is tried, else nothing is said."""
PERMUTATIONS = 999
COUNTED = 20
"""Of them, as extreme as what was seen: fewer are not counted, and the normal tail is used."""

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Groups = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Domain:
    """How well they can be told apart: 0.5 is not at all. `places` has the score of every turn of the second one."""

    auc: float
    p: float
    voices: int
    places: Floats


@dataclass(frozen=True, slots=True)
class Halves:
    """Which turns are learned from and which are tried, and the voice that each turn belongs to."""

    learned: Labels
    tried: Labels
    voices: Groups


def compare(before: Sequence[Turn], now: Sequence[Turn], rng: np.random.Generator) -> Domain | None:
    """How well the turns of now can be told from those before; None when there are too few voices to say."""
    if not before or not now:
        return None
    turns = [*before, *now]
    is_new = np.arange(len(turns)) >= len(before)
    halves = split(turns, is_new, rng)
    if not _suffice(halves, is_new):
        return None
    scores = _scores([turn.text for turn in turns], is_new, halves.learned)
    tried = halves.tried
    auc, p = permuted(scores[tried], is_new[tried], halves.voices[tried], rng)
    return Domain(auc, p, len(np.unique(halves.voices[tried])), scores[is_new])


def split(turns: Sequence[Turn], is_new: Labels, rng: np.random.Generator) -> Halves:
    """Two halves that share neither a subject nor a text, by chance and whichever collection a turn is from.

    Texts that both halves know are left out of the trial; where that would be most of it, texts are halved as well.
    """
    subjects, texts = _numbered([turn.subject for turn in turns]), _numbered([normalise(turn.text) for turn in turns])
    known = _half(texts, rng)
    if min(len(np.unique(subjects[is_new])), len(np.unique(subjects[~is_new]))) < FEWEST_SUBJECTS:
        return Halves(known, ~known, texts)
    learned = _half(subjects, rng)
    tried = ~learned & ~np.isin(texts, texts[learned])
    if tried.sum() < (~learned).sum() / 2:
        learned, tried = learned & known, ~learned & ~known
    return Halves(learned, tried, subjects)


def permuted(
    scores: Floats, is_new: Labels, voices: Groups, rng: np.random.Generator, draws: int = PERMUTATIONS
) -> tuple[float, float]:
    """The area under the curve of these scores, each voice counting once in either collection, and its p-value.

    A p-value by permutation: what is learned knows nothing of the turns that are tried, so while the law of a voice
    does not depend on the collection, its parts in both may change places, and voices that are in one only may be
    exchanged with one another. Nothing has to be learned anew for that. Where fewer than COUNTED of the `draws` are as
    extreme as what was seen, the normal tail with their mean and deviation takes over: it is a sum over many voices.
    """
    blocks, block = np.unique(np.column_stack([voices, is_new]), axis=0, return_inverse=True)
    ranks, new = _ranks(scores, block.ravel()), blocks[:, 1].astype(bool)
    seen = float(_areas(ranks, new[None])[0])
    drawn = _areas(ranks, _relabelled(blocks[:, 0], new, rng, draws))
    reached = int((drawn >= seen - 1e-12).sum())
    counted, spread = (reached + 1) / (draws + 1), float(drawn.std())
    if reached >= COUNTED or spread == 0:
        return seen, counted
    return seen, min(counted, float(ndtr((drawn.mean() - seen) / spread)))


def _numbered(names: Sequence[str]) -> Groups:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def _half(groups: Groups, rng: np.random.Generator) -> Labels:
    """Every group is in or out as a whole, half of them in."""
    count = int(groups.max()) + 1
    inside = np.arange(count) < (count + 1) // 2
    chosen: Labels = rng.permutation(inside)[groups]
    return chosen


def _suffice(halves: Halves, is_new: Labels) -> bool:
    learned = min((halves.learned & is_new).sum(), (halves.learned & ~is_new).sum())
    tried = min(len(np.unique(halves.voices[halves.tried & side])) for side in (is_new, ~is_new))
    return bool(learned >= 2 * FEWEST_TRIED and tried >= FEWEST_TRIED)


def _scores(texts: Sequence[str], is_new: Labels, learned: Labels) -> Floats:
    """How much each turn looks like the second collection, by what was learned from some."""
    vectoriser = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2, max_features=20_000
    )
    # How often words are used over all turns says nothing of the collection that a turn is from.
    counts = vectoriser.fit_transform(texts)
    model = LogisticRegression(solver="liblinear", class_weight="balanced", max_iter=1000)
    model.fit(counts[learned], is_new[learned])
    scores: Floats = model.decision_function(counts)
    return scores


def _ranks(scores: Floats, block: Groups) -> Floats:
    """Of each block, how many blocks a turn of it is ahead of on average: itself by half, others by part."""
    weights = 1 / np.bincount(block)[block]
    place = np.unique(scores, return_inverse=True)[1].ravel()
    held = np.bincount(place, weights)
    behind: Floats = np.cumsum(held) - held / 2
    return np.asarray(np.bincount(block, weights * behind[place]), dtype=np.float64)


def _areas(ranks: Floats, new: Labels) -> Floats:
    """The area under the curve for each row of labels of the blocks: of two blocks, one is as often ahead of the other
    as it is not behind it, so that among the new ones all these shares are known."""
    count = new.sum(axis=1)
    areas: Floats = ((new * ranks).sum(axis=1) - count * count / 2) / (count * (new.shape[1] - count))
    return areas


def _relabelled(voices: Groups, new: Labels, rng: np.random.Generator, draws: int) -> Labels:
    """Labels of the blocks, `draws` times: exchanged within a voice of two, or among the voices of one."""
    # The blocks of a voice follow one another.
    first = np.flatnonzero(voices[:-1] == voices[1:])
    alone = np.setdiff1d(np.arange(len(voices)), np.concatenate([first, first + 1]))
    labels = np.tile(new, (draws, 1))
    swapped = rng.random((draws, len(first))) < 0.5
    labels[:, first] ^= swapped
    labels[:, first + 1] ^= swapped
    labels[:, alone] = rng.permuted(labels[:, alone], axis=1)
    return labels
