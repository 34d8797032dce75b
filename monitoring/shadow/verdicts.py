"""What a judge said of the pairs of a shadow, read from its scores, with what people said of the same pairs.

The job in judging.py writes these scores and says in `states`, as judge/VERSION, who judges: {"source", "says"}. Only
the words of that source count. Decides nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from sqlalchemy import Connection, select

from core import states
from core.clock import SECOND
from core.schema import scores
from monitoring.experiments.exposures import id_from
from monitoring.history import Window
from monitoring.policy import GatePolicy
from monitoring.shadow.comparisons import Mirrored
from monitoring.shadow.controls import SCORES, tried
from monitoring.shadow.judge import Ballot, Findings, Judged, examine
from monitoring.shadow.pairs import Pair
from monitoring.shadow.predictions import Combined, combine

VERDICT, FIRST, AGAIN = "judge_pair", "judge_first", "judge_again"
"""Scores of a mirrored answer: the verdict on its pair (-1, 0, 1), the share of orders that named the first, and for
some pairs the verdict when asked once more."""
STATE = "judge/"
NOBODY = "no judge has been asked yet: references and people decide alone"


@dataclass(frozen=True, slots=True)
class Said:
    """All that is kept of one judge about one candidate: scores by answer, and verdicts on decoys by their kind."""

    source: str | None
    says: str
    verdicts: Mapping[str, float]
    first: Mapping[str, float]
    again: Mapping[str, float]
    decoys: Mapping[str, Sequence[float]]


def read(conn: Connection, window: Window) -> Said:
    """What the present judge has said of a version in shadow."""
    state = states.read(conn, STATE + window.version)
    body = state.body if state else {}
    source, says = body.get("source"), str(body.get("says", NOBODY))
    if not isinstance(source, str):
        return Said(None, says, {}, {}, {}, {})
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    columns = scores.c.name, scores.c.interaction, scores.c.value
    # A score's id begins with that of its answer, so that older shadows are not read again.
    recent = scores.c.name.in_([VERDICT, FIRST, AGAIN]), scores.c.id >= id_from(window.since - SECOND)
    for wanted in (recent, (scores.c.name.in_(list(SCORES.values())),)):
        query = select(*columns).where(*wanted, scores.c.version == window.version, scores.c.source == source)
        for name, interaction, value in conn.execute(query):
            found[name][interaction] = value
    decoys = {kind: list(found[name].values()) for kind, name in SCORES.items()}
    return Said(source, says, found[VERDICT], found[FIRST], found[AGAIN], decoys)


def findings(
    said: Said, pairs: Sequence[Mirrored], preferences: Sequence[tuple[Mirrored, float]], policy: GatePolicy
) -> Findings:
    """What follows; `preferences` are people's words on pairs, -1..1."""
    if said.source is None:
        return Findings(None, False, said.says)
    judged = list(_judged(said, pairs))
    same = [Pair(pair.subject, 0.0, True) for pair in pairs if pair.texts.same]
    controls = [tried(kind, verdicts, policy) for kind, verdicts in said.decoys.items()]
    return examine(said.source, judged, same, controls, policy, _combined(said, pairs, preferences, policy.alpha))


def _judged(said: Said, pairs: Sequence[Mirrored]) -> Iterator[Judged]:
    for pair in pairs:
        verdict, first = said.verdicts.get(pair.id), said.first.get(pair.id)
        if verdict is not None and first is not None and not pair.texts.same:
            again = said.again.get(pair.id)
            steady = None if again is None else again == verdict
            yield Judged(pair.subject, Ballot(round(verdict), first), pair.texts.longer, steady)


def _combined(
    said: Said, pairs: Sequence[Mirrored], preferences: Sequence[tuple[Mirrored, float]], alpha: float
) -> Combined | None:
    """Over the subjects of judged pairs: those of whose pairs people said something, and the others."""
    words: defaultdict[str, list[float]] = defaultdict(list)
    for pair, word in preferences:
        if pair.id in said.verdicts:
            words[pair.id].append(word)
    labelled: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    others: defaultdict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        if pair.id in words:
            labelled[pair.subject].append((fmean(words[pair.id]), said.verdicts[pair.id]))
        elif pair.id in said.verdicts and not pair.texts.same:
            others[pair.subject].append(said.verdicts[pair.id])
    both = [[fmean(side) for side in zip(*of_one, strict=True)] for of_one in labelled.values()]
    rest = [fmean(values) for subject, values in others.items() if subject not in labelled]
    return combine([word for word, _ in both], [verdict for _, verdict in both], rest, alpha)
