"""Who judges: the provider that the settings name, or what was learned from thumbs, or nobody, with the reason.

A learned judge knows only words from before a time, so that nothing it is to judge has taught it. Asks nobody.
"""

from collections.abc import Collection
from dataclasses import dataclass

from core.settings import Settings
from core.store import Store
from monitoring.shadow import likes, reward
from monitoring.shadow.judge import Judge
from monitoring.shadow.rubric import Complete, RubricJudge
from monitoring.terms import Measure, terms
from serving import providers

ALONE = "references and people decide alone"


@dataclass(frozen=True, slots=True)
class Appointed:
    """A judge, or why there is none."""

    judge: Judge | None
    says: str


class Judges:
    """Appoints judges by the settings."""

    def __init__(self, store: Store, settings: Settings, complete: Complete = providers.complete) -> None:
        self._store, self._rules, self._provider = store, settings.judge, settings.providers.judge
        self._complete = complete
        self._measure = terms(settings).measure

    @property
    def measure(self) -> Measure:
        """The feedback that a learned judge learns."""
        return self._measure

    def appoint(self, until: int, without: Collection[str] = ()) -> Appointed:
        """The judge who knows only words from before `until` (microseconds), and none on the answers `without`."""
        match self._rules.source:
            case "none":
                return Appointed(None, f"judge.source is none: {ALONE}")
            case "reward":
                return self._learned(until, without)
            case "provider" if not self._provider.model:
                return Appointed(None, f"judge.source is provider, and providers.judge names none: {ALONE}")
            case "auto" if not self._provider.model:
                return self._learned(until, without)
        judge = RubricJudge(self._provider, self._rules.rubric, self._complete)
        return Appointed(judge, f"{self._provider.model} judges")

    def _learned(self, until: int, without: Collection[str]) -> Appointed:
        labels = likes.labels(self._store, until, self._measure, without)
        judge = reward.fit(labels, self._rules.min_labels)
        if judge is None:
            up, needed = sum(label.liked for label in labels), self._rules.min_labels
            says = f"{up} words for answers and {len(labels) - up} against; a learned judge needs {needed} in all "
            return Appointed(None, f"{says}and {reward.LEAST_OF_EACH} of each: {ALONE}")
        return Appointed(judge, f"learned from {len(labels)} words on answers")
