"""Policies from settings: the defaults are those that the policies explain, and contradictions are refused."""

import pytest

from core import config
from core.clock import HOUR
from core.errors import ConfigError
from monitoring.policy import (
    CalibrationPolicy,
    DriftPolicy,
    ExperimentPolicy,
    GatePolicy,
    Policies,
    Rollout,
    TriggerPolicy,
    policies,
)


def test_the_settings_default_to_what_the_policies_explain() -> None:
    expected = Policies(DriftPolicy(), CalibrationPolicy(), TriggerPolicy(), ExperimentPolicy(), GatePolicy())
    assert policies(config.parse({})) == expected


def test_hours_become_microseconds_and_names_their_values() -> None:
    chosen = policies(
        config.parse(
            {
                "triggers": {"off_peak": [22, 6], "retry_hours": 0.5, "every_hours": 24},
                "experiment": {"rollout": "review", "first_subjects": 7, "min_hours": 0.01},
                "training": {"min_rows": 9},
            }
        )
    )
    assert chosen.trigger.off_peak == (22, 6)
    assert (chosen.trigger.retry_after, chosen.trigger.every) == (HOUR // 2, 24 * HOUR)
    assert (chosen.gate.rollout, chosen.gate.ramp_subjects, chosen.trigger.min_rows) == (Rollout.REVIEW, 7, 9)
    assert chosen.gate.min_time == 36_000_000


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"triggers": {"off_peak": [22, 24]}}, "between 0 and 23"),
        ({"triggers": {"off_peak": [22]}}, "a first and a last hour"),
        ({"drift": {"min_reference": 6000}}, "no stream would ever be watched"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        policies(config.parse(settings))


def test_no_setting_changes_the_level_of_a_test() -> None:
    names = {name.rpartition(".")[2] for name, _ in config.describe()}
    assert not names & {"alpha", "ratio_alpha", "concentration"}
