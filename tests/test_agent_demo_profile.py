"""The profile of a demo: it hurries, and leaves every level of error, every margin and every test as they are."""

from pathlib import Path

import pytest

from agent.demo import profile
from agent.demo.profile import MAY_CHANGE, Change
from core import config
from core.errors import ConfigError

SCENARIO = profile.profile(449, 331)
ALL = dict(config.describe())
WORDS_OF_TESTS = (
    "alpha",
    "margin",
    "run_length",
    "drop",
    "max_failures",
    "coverage",
    "ratio",
    "heldout",
    "quorum",
    "four",
)


def loaded(tmp_path: Path, text: str) -> config.Settings:
    file = tmp_path / "demo.toml"
    file.write_text(text)
    return config.load({"HONE_CONFIG": str(file)})


def test_the_file_changes_exactly_what_the_profile_says(tmp_path: Path) -> None:
    settings = loaded(tmp_path, profile.render(SCENARIO))
    told = {change.name: (change.default, change.value) for change in SCENARIO if change.value != change.default}
    assert profile.changed(settings) == told
    assert len(told) >= 10


@pytest.mark.parametrize("name", sorted(set(ALL) - MAY_CHANGE))
def test_any_other_setting_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"may not change {name}"):
        profile.render([*SCENARIO, Change(name, 0, "in a hurry")])


def test_nothing_that_a_profile_may_change_decides_what_is_true() -> None:
    assert set(ALL) >= MAY_CHANGE
    assert not [name for name in MAY_CHANGE if any(word in name for word in WORDS_OF_TESTS)]
    assert not {name for name in MAY_CHANGE if name.startswith(("gate.", "approval.", "calibration."))}


@pytest.mark.parametrize("name", ["experiment.minimum", "experiment.planned"])
def test_an_exposure_below_what_the_tests_need_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="below 30"):
        profile.check([Change(name, 29, "in a hurry")])


def test_the_file_says_beside_each_change_what_it_was_and_why() -> None:
    text = profile.render(SCENARIO)
    for change in SCENARIO:
        line = next(line for line in text.splitlines() if line.startswith(f"{change.name.rpartition('.')[2]} = "))
        assert f"instead of {change.default}" in line.replace('"', "").replace("True", "true")
        assert line.endswith(change.why)
    assert "No alpha, no margin and no test is changed" in text


@pytest.mark.parametrize(("ordinary", "shifted"), [(1, 1), (40, 20), (449, 331), (20_000, 9_000)])
def test_a_run_waits_for_most_of_the_shift_and_never_for_more_than_there_is(ordinary: int, shifted: int) -> None:
    values = {change.name: change.value for change in profile.profile(ordinary, shifted)}
    rows = float(values["training.min_rows"])
    assert rows < ordinary + shifted
    if shifted > 20:
        # Too few of the shift beside all ordinary rows do not start a run.
        assert rows > ordinary + 0.2 * shifted - 0.05 * ordinary
    assert 30 <= float(values["drift.min_reference"]) <= 100


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no setting drift\.speed"):
        profile.default("drift.speed")
