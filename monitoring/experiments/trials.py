"""Looks at experiments: who met them, what became of these subjects, what that says, kept when it says something new.

Between two looks that are kept either a verdict has changed or the subjects grew noticeably, so that a year of looking
leaves hundreds of rows, not millions. The looks that a group-sequential test has taken are in each of its rows, and
come from there: another process goes on with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from core import versions
from core.clock import Clock
from core.experiments import Experiments
from core.recent import Recent
from core.store import Store
from core.types import Experiment, ExperimentKind, Json, JsonObject, Version
from monitoring import history
from monitoring.experiments.experiment import examine
from monitoring.experiments.exposures import Exposures, Scope
from monitoring.experiments.findings import Findings, Taken
from monitoring.experiments.outcomes import Outcomes
from monitoring.gates import contest
from monitoring.gates.evidence import plain
from monitoring.gates.ruling import Decision
from monitoring.policy import ExperimentPolicy, Rule
from monitoring.shadow import questions
from monitoring.shadow.questions import Skills
from monitoring.terms import Terms

GROWTH = 1.02
"""How many times the subjects of the last kept look make another one worth keeping."""
SINCE = 200
"""Experiments that may have run beside a hold-back."""


@dataclass(frozen=True, slots=True)
class Gist:
    """What two looks must differ in: a verdict, or noticeably in the number of subjects met and rated."""

    verdicts: Sequence[str]
    met: int
    rated: int

    @classmethod
    def of(cls, findings: Findings, decision: Decision) -> "Gist":
        harms = [guarded.harm for guarded in findings.guardrails]
        broken = [str(ratio.broken) for ratio in (findings.split, findings.answered, findings.rated)]
        broken += [str(findings.rating.alarm), f"{len(findings.primary.taken)} looks"]
        rulings = [reason.ruling for reason in decision.reasons]
        sides = findings.primary.comparison.champion, findings.primary.comparison.challenger
        met = findings.split.champion + findings.split.challenger
        return cls([findings.primary.effect, *harms, *broken, *rulings], met, sum(side.measured for side in sides))

    def is_news_after(self, last: "Gist") -> bool:
        """Whether it is worth a row."""
        grown = self.met >= max(last.met * GROWTH, last.met + 1) or self.rated >= max(
            last.rated * GROWTH, last.rated + 1
        )
        return self.verdicts != last.verdicts or grown


class Past:
    """What was answered well before each version was asked for; read once."""

    def __init__(self, store: Store, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._known: Recent[int, Skills] = Recent(4)

    def before(self, version: Version) -> Skills:
        """The skills from before the run of a version."""
        with self._store.read() as conn:
            until = history.asked_for(conn, versions.find(conn, version))
        found = self._known.get(until)
        if found is None:
            found = questions.skills(self._store, until, self._terms.measure)
            self._known.put(until, found)
        return found


class Trials:
    """Looks, and keeps looks."""

    def __init__(self, store: Store, terms: Terms, past: Past, clock: Clock) -> None:
        self._experiments = Experiments(store, clock)
        self._exposures = Exposures(store, clock)
        self._outcomes = Outcomes(store, terms.measure)
        self._terms, self._clock = terms, clock
        self._past = past
        self._noted: dict[str, Gist] = {}

    def look(self, experiment: Experiment, share: float) -> Findings:
        """What an experiment says now; `share` is the challenger's at the final split."""
        scope = Scope(experiment, self._beside(experiment))
        self._exposures.collect(scope)
        exposures = self._outcomes.read(scope, self._past.before(experiment.challenger))
        policy = self._policy(experiment)
        earlier = self._taken(experiment) if policy.rule is Rule.GROUP_SEQUENTIAL else ()
        return examine(exposures, share, policy, earlier, self._until(experiment, share))

    def _policy(self, experiment: Experiment) -> ExperimentPolicy:
        """A hold-back is watched for harm at all times, with no last look."""
        policy = self._terms.experiment
        return policy if experiment.kind is ExperimentKind.AB else replace(policy, rule=Rule.ANYTIME)

    def _taken(self, experiment: Experiment) -> Sequence[Taken]:
        kept = self._experiments.looks(experiment.id, limit=1)
        primary = kept[0].findings.get("primary") if kept else None
        return taken(primary) if isinstance(primary, Mapping) else ()

    def _until(self, experiment: Experiment, share: float) -> int | None:
        """Before when a subject must have been met to decide; None: at any time."""
        if experiment.kind is not ExperimentKind.AB or experiment.share < share:
            return None
        return contest.deciding_until(experiment.steps[-1].at, self._terms.gate, self._clock())

    def note(self, experiment: Experiment, findings: Findings, decision: Decision) -> None:
        """Keep a look if it says something new."""
        gist, last = Gist.of(findings, decision), self._noted.get(experiment.id)
        if last is not None and not gist.is_news_after(last):
            return
        self._noted[experiment.id] = gist
        kept = self._experiments.looks(experiment.id, limit=1)
        found: JsonObject = {**plain(findings), **plain(decision)}
        if not kept or kept[0].findings != found:
            self._experiments.note(experiment.id, found)

    def _beside(self, experiment: Experiment) -> Sequence[Experiment]:
        """The A/Bs in whose time a hold-back does not count."""
        if experiment.kind is ExperimentKind.AB:
            return ()
        return [other for other in self._experiments.page(limit=SINCE).items if other.kind is ExperimentKind.AB]


def taken(primary: JsonObject) -> Sequence[Taken]:
    """The looks of a test as a row has them."""
    found = primary.get("taken")
    rows = found if isinstance(found, Sequence) else ()
    return tuple(_look(row) for row in rows if isinstance(row, Mapping))


def _look(row: Mapping[str, Json]) -> Taken:
    said = {name: value for name, value in row.items() if isinstance(value, int | float)}
    counts, figures = ("information", "planned"), ("estimate", "error", "z", "boundary")
    return Taken(*(int(said[name]) for name in counts), *(float(said[name]) for name in figures))
