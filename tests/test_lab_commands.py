"""`hone lab`: each command's figures are plausible, the same for the same seed, and what it cannot do it says."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from fixtures_command import hone
from typer.testing import CliRunner, Result

from core.errors import BadRequest, ConfigError
from core.types import Json
from monitoring.lab import aa
from monitoring.lab.cli import app
from monitoring.lab.progress import silent
from monitoring.lab.traffic import Population, World
from monitoring.policy import ExperimentPolicy, Rule

QUICK = {
    "aa": ("--replicates", "200", "--users", "1500"),
    "power": ("--replicates", "100", "--users", "1500", "--effect", "0.1", "--effect", "0.2"),
    "drift": ("--replicates", "100", "--turns", "500", "--effect", "1"),
    "calibration": ("--replicates", "200", "--turns", "1000"),
    "bias": ("--replicates", "60", "--turns", "3000"),
    "judge": ("--replicates", "60", "--pairs", "300"),
}
"""Each command so that it takes about a second."""
SMALL = {name: (*options, "--replicates", "20") for name, options in QUICK.items()}
SHORT = "[drift]\nmax_reference = 600\ncycle_hours = 0\n"
"""Settings under which a reference is soon complete."""

Figures = Mapping[tuple[str, str], Mapping[str, Json]]
Lab = Callable[..., Result]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A command of the lab, under the settings given as TOML."""

    def run(*arguments: str, settings: str = "") -> Result:
        file = tmp_path / "settings.toml"
        file.write_text(settings)
        return CliRunner().invoke(app, list(arguments), env={"HONE_CONFIG": str(file)})

    return run


def figures(result: Result) -> Figures:
    assert result.exit_code == 0, result.output
    return {(figure["group"], figure["name"]): figure for figure in json.loads(result.stdout)["figures"]}


def found(result: Result, group: str) -> dict[str, float]:
    """The values of a group, by name; of the first group whose name begins like this."""
    every = figures(result)
    whole = next(name for name, _ in every if name.startswith(group))
    return {name: value["value"] for (of, name), value in every.items() if of == whole}  # type: ignore[misc]


def test_equal_arms_are_called_different_as_rarely_as_stated_and_shortcuts_are_wrong_often(lab: Lab) -> None:
    result = lab("aa", *QUICK["aa"], "--json")
    for rule in Rule:
        ours = found(result, aa.claimed(rule))
        assert set(ours) == set(World)
        assert max(ours.values()) <= 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5
    theirs = found(result, "rules of thumb")
    assert min(theirs.values()) > 0.2
    assert found(result, "equal split")[aa.CHI_SQUARED] > 0.3


def test_a_laxer_level_is_seen_by_the_lab_because_it_runs_the_real_rules() -> None:
    strict, lax = (
        aa.outcomes(Population(), ExperimentPolicy(alpha=alpha), 100, 800, 0, silent) for alpha in (0.05, 0.5)
    )
    for rule in Rule:
        few, many = (np.concatenate(each[rule, World.PLAIN]) != 0 for each in (strict, lax))
        assert many.mean() > few.mean() + 0.1


def test_power_grows_with_the_effect_and_the_plan_shrinks(lab: Lab) -> None:
    result = lab("power", *QUICK["power"], "--json")
    for rule in Rule:
        seen = list(found(result, f"{rule}: called better").values())
        assert seen == sorted(seen)
        assert seen[-1] >= 0.8
    needed = list(found(result, "rated subjects to plan for").values())
    assert needed == sorted(needed, reverse=True)
    # Four times the subjects for half the effect.
    assert needed[0] / needed[-1] == pytest.approx(4, rel=0.02)


def test_the_plan_for_the_settings_is_what_it_says(lab: Lab) -> None:
    options = ("power", "--replicates", "200", "--effect", "0.05", "--json")
    result = lab(*options, settings='[experiment]\nrule = "group_sequential"\nplanned = 300')
    visible = found(result, "what your plan is made for")["group_sequential: rise of the share liked"]
    power = found(result, "group_sequential: called better")
    at_plan = next(value for name, value in power.items() if name.startswith(f"{visible * 100:+.1f}"))
    assert at_plan == pytest.approx(0.8, abs=0.1)
    cost = found(result, "rated subjects for that")
    assert cost["group_sequential: at most"] <= 1.06
    assert cost["group_sequential: on average"] <= 0.82 + 0.06
    assert cost["anytime: at most"] <= 1.7


def test_a_quiet_stream_alarms_as_rarely_as_the_settings_say(lab: Lab) -> None:
    often = lab("drift", "--replicates", "200", "--turns", "2000", "--json", settings=f"{SHORT}run_length = 1000")
    quiet = figures(often)["quiet: turns between two alarms of a stream", "numbers, reference known exactly"]
    assert quiet["value"] == pytest.approx(1000, rel=0.25)
    assert quiet["at_least"] == 1000
    assert quiet["verdict"] in {"kept", "compatible"}
    assert found(often, "quiet: turns between two alarms of all")["10 streams, at least"] == 100


def test_larger_changes_are_found_sooner(lab: Lab) -> None:
    result = lab("drift", "--replicates", "100", "--turns", "500", "--json", settings=SHORT)
    delay = found(result, "changed")
    assert delay["1 sd"] < 25 < delay["0.5 sd"] < 75 < delay["0.25 sd"] < 300
    usual, known = (found(result, f"quiet: a window has a PSI above {threshold}") for threshold in ("0.1", "the 95 %"))
    assert usual["of 100 turns, and as many before"] == pytest.approx(0.84, abs=0.12)
    assert max(known.values()) < 0.15


def test_a_calibrated_model_is_left_alone_and_one_ten_points_off_is_found(lab: Lab) -> None:
    result = lab("calibration", *QUICK["calibration"], "--json")
    assert found(result, "calibrated: an alarm")["within 1,000 rated answers"] <= 0.05
    delay = found(result, "off: rated answers")
    assert delay["10 points too high from the start"] <= 300
    assert delay["10 points too high after 500"] <= 1.5 * 250
    usual = found(result, "error of a calibrated model")
    assert usual["plug-in, 100 rated"] == pytest.approx(0.103, abs=0.01)
    assert abs(usual["debiased and squared, 100 rated"]) < 0.005


def test_only_the_bounds_hold_where_the_displeased_rate_more(lab: Lab) -> None:
    result = lab("bias", *QUICK["bias"], "--json")
    right = found(result, "the interval contains")
    world = "disliked answers more"
    assert right[f"{world}: ups / (ups + downs)"] == 0
    assert right[f"{world}: bounds"] == 1
    easy = found(result, "who rates: easy")
    assert easy["ups / (ups + downs)"] > 0.75
    assert easy["weighed (IPW)"] == pytest.approx(0.66, abs=0.03)


def test_a_judge_that_leans_decides_nothing(lab: Lab) -> None:
    result = lab("judge", *QUICK["judge"], "--json")
    assert found(result, "one order")["leans in 40% of the pairs"] > 0.95
    assert max(found(result, "both orders").values()) <= 0.05
    assert found(result, "the judge is found usable")["leans in 40% of the pairs"] == 0
    assert found(result, "a candidate that wins")["leans in 0% of the pairs"] > 0.9


@pytest.mark.parametrize("command", sorted(SMALL))
def test_the_same_seed_gives_the_same_figures_and_another_one_others(lab: Lab, command: str) -> None:
    once, again, other = (figures(lab(command, *SMALL[command], "--seed", seed, "--json")) for seed in ("7", "7", "8"))
    assert once == again
    assert once != other


@pytest.mark.parametrize("command", sorted(SMALL))
def test_json_has_all_figures_with_their_settings_and_the_plot_is_a_picture(
    lab: Lab, command: str, tmp_path: Path
) -> None:
    svg = tmp_path / "plot.svg"
    document = json.loads(lab(command, *SMALL[command], "--json", "--plot", str(svg), settings=SHORT).stdout)
    assert document["command"] == command
    assert document["options"]["replicates"] == 20
    assert document["settings"] and document["says"] and document["question"]
    for figure in document["figures"]:
        assert set(figure) == {
            *("group", "name", "value", "unit", "interval", "replicates", "at_most", "at_least", "verdict"),
            *("rule_of_thumb", "note"),
        }
        if figure["interval"] and figure["value"] is not None and figure["interval"]["high"] is not None:
            assert figure["interval"]["low"] <= figure["value"] <= figure["interval"]["high"]
    root = ElementTree.parse(svg).getroot()
    assert root.tag.endswith("svg")
    assert sum(1 for _ in root.iter()) > 50
    assert svg.stat().st_size < 150_000


def test_a_plot_is_the_same_for_the_same_seed_and_may_be_one_part_as_png(lab: Lab, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    for file in files:
        assert lab("judge", *SMALL["judge"], "--plot", str(file)).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes()
    part = tmp_path / "part.png"
    assert lab("calibration", *SMALL["calibration"], "--plot", str(part), "--panel", "2").exit_code == 0
    assert part.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("power", "--effect", "-0.1"), "'--effect'"),
        (("aa", "--replicates", "5"), "'--replicates'"),
        (("aa", "--rating-rate", "1.5"), "'--rating-rate'"),
        (("drift", "--turns", "many"), "'--turns'"),
        (("bias", "--users", "10"), "--users"),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_names_it(lab: Lab, arguments: tuple[str, ...], part: str) -> None:
    result = lab(*arguments)
    assert result.exit_code == 2
    assert part in result.output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("aa", "--plot", "nowhere/plot.svg"), "does not exist; create it first"),
        (("aa", "--plot", "plot.gif"), "--plot writes .svg or .png"),
        (("power", "--effect", "0.4"), "more than every answer liked; take a smaller one"),
        (("judge", *SMALL["judge"], "--plot", "x.svg", "--panel", "3"), "the plot of judge has 1 parts"),
    ],
)
def test_what_cannot_be_is_said_with_its_cause(lab: Lab, arguments: tuple[str, ...], part: str) -> None:
    error = lab(*arguments).exception
    assert isinstance(error, BadRequest)
    assert part in error.message


@pytest.mark.parametrize("command", ["aa", "power", "bias"])
def test_nothing_can_be_said_of_ratings_that_are_not_asked_for(lab: Lab, command: str) -> None:
    error = lab(command, *SMALL[command], settings="[feedback]\nask = 0").exception
    assert isinstance(error, BadRequest)
    assert "feedback.ask is 0" in error.message


def test_an_unknown_rule_in_the_settings_is_named(lab: Lab) -> None:
    error = lab("aa", settings='[experiment]\nrule = "bayes"').exception
    assert isinstance(error, ConfigError)
    assert "experiment.rule" in error.message


def test_the_command_line_ends_with_the_statuses_of_usage_and_failure(tmp_path: Path) -> None:
    usage = hone("lab", "aa", "--plot", str(tmp_path / "nowhere" / "a.svg"))
    assert usage.returncode == 2
    assert usage.stderr.startswith("hone: The folder ")
    failed = hone("lab", "aa", HONE_CONFIG=str(tmp_path / "none.toml"))
    assert failed.returncode == 1
    assert "does not exist" in failed.stderr


def test_naming_the_lab_loads_no_mathematics() -> None:
    code = "import monitoring.lab.cli, sys; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "typer" in loaded
    assert not any(name in loaded for name in ("numpy", "scipy", "matplotlib", "sqlalchemy", "sklearn"))
