"""docs/statistics.md: its commands run and draw the pictures that it shows, and its settings exist."""

import re
import shlex
from pathlib import Path
from xml.etree import ElementTree

import house
import pytest
from typer.testing import CliRunner

from core import config
from monitoring.lab.cli import app

DOCUMENT = house.ROOT / "docs" / "statistics.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"^ +hone lab (.+)$", TEXT, re.M)))
PARTS = [part for part in re.split(r"^## ", TEXT, flags=re.M)[1:] if "**Source:**" in part]
QUICK = {"drift": ["--turns", "500"], "calibration": ["--turns", "200"]}
SMALLEST_SVG, LARGEST_SVG = 5_000, 60_000


def titles(svg: Path) -> list[str]:
    """The headings of a plot: its words in bold, which is 700."""
    words = ElementTree.parse(svg).getroot().iter("{http://www.w3.org/2000/svg}text")
    return ["".join(word.itertext()).strip() for word in words if "700" in word.get("style", "")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_document_runs_and_draws_what_the_document_shows(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    shown = next((word for word in words if word.endswith(".svg")), None)
    drawn = tmp_path / "plot.svg"
    words = [str(drawn) if word == shown else word for word in words]
    quick = ["--replicates", "20", *QUICK.get(words[0], [])]
    settings = tmp_path / "settings.toml"
    settings.write_text("[drift]\nmax_reference = 600\ncycle_hours = 0")
    result = CliRunner().invoke(app, [*words, *quick], env={"HONE_CONFIG": str(settings)})
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) > 10
    if shown:
        assert titles(drawn) == titles(house.ROOT / shown) != []


def test_every_picture_is_small_and_made_by_a_command_that_is_named() -> None:
    shown = set(re.findall(r"\]\((statistics/[a-z]+\.svg)\)", TEXT))
    assert shown == {f"statistics/{path.name}" for path in (house.ROOT / "docs" / "statistics").iterdir()}
    assert {f"docs/{name}" for name in shown} == set(re.findall(r"--plot (\S+)", "\n".join(COMMANDS)))
    for name in shown:
        assert SMALLEST_SVG < (house.ROOT / "docs" / name).stat().st_size < LARGEST_SVG, name


def test_every_setting_that_the_document_names_exists() -> None:
    known = {name for name, _ in config.describe()}
    sections = {name.partition(".")[0] for name in known}
    named = {word for word in re.findall(r"`([a-z_]+\.[a-z_]+)`", TEXT) if word.partition(".")[0] in sections}
    assert len(named) > 30
    assert named <= known


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.partition("\n")[0])
def test_every_method_says_what_it_states_costs_and_when_it_misleads(part: str) -> None:
    assert len(PARTS) == 8
    for word in ("Costs", "Misleads when", "Changed by", "Source"):
        assert f"- **{word}:**" in part
    assert "**Stated:**" in part or "**Measured:**" in part
