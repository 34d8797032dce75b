"""Looks at experiments: who met them, what became of these subjects, what that says, kept when it says something new.

Between two looks that are kept either a verdict has changed or the subjects grew noticeably, so that a year of looking
leaves hundreds of rows, not millions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core import versions
from core.clock import Clock
from core.experiments import Experiments
from core.recent import Recent
from core.store import Store
from core.types import Experiment, ExperimentKind, JsonObject, Version
from monitoring import history, questions
from monitoring.evidence import plain
from monitoring.experiment import Findings, examine
from monitoring.exposures import Exposures, Scope
from monitoring.gate import Decision
from monitoring.outcomes import Outcomes
from monitoring.questions import Skills
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
        broken = [str(ratio.broken) for ratio in (findings.split, findings.rated)]
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
        self._terms = terms
        self._past = past
        self._noted: dict[str, Gist] = {}

    def look(self, experiment: Experiment, share: float) -> Findings:
        """What an experiment says now; `share` is the challenger's at the final split."""
        scope = Scope(experiment, self._beside(experiment))
        self._exposures.collect(scope)
        exposures = self._outcomes.read(scope, self._past.before(experiment.challenger))
        return examine(exposures, share, self._terms.experiment)

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
