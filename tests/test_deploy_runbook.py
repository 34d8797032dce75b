"""The runbook: what it tells an operator to type exists."""

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import house
import pytest
import yaml

RUNBOOK = (house.ROOT / "deploy/README.md").read_text(encoding="utf-8")
SERVICES = yaml.safe_load((house.ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))["services"]


def typed() -> list[list[str]]:
    """The commands of the runbook: indented lines that begin as one, and code in sentences."""
    lines = re.findall(r"^ {4}((?:sudo |HONE_\w+=\S+ )?(?:docker|hone|\./)\S* .*)$", RUNBOOK, re.MULTILINE)
    lines += [code for code in re.findall(r"`([^`\n]+)`", RUNBOOK) if code.startswith(("docker ", "hone "))]
    return [shlex.split(line) for line in lines]


def hone_commands() -> set[tuple[str, ...]]:
    """What is given to `hone`, be it typed as such or behind the service that it runs in."""
    found = []
    for words in typed():
        places = [0] * (words[0] == "hone")
        places += [n + 1 for n, (one, other) in enumerate(pairwise(words)) if one in SERVICES and other == "hone"]
        found += [words[place + 1 : place + 3] for place in places]
    return {tuple(word for word in words if re.fullmatch(r"[a-z]+", word)) for words in found}


@pytest.mark.parametrize("words", sorted(hone_commands()), ids=" ".join)
def test_a_command_of_hone_in_the_runbook_exists(words: tuple[str, ...]) -> None:
    hone = Path(sys.executable).with_name("hone")
    result = subprocess.run([hone, *words, "--help"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_the_runbook_shows_how_to_make_keys_and_to_check_the_audit() -> None:
    assert hone_commands() >= {("keys", "create"), ("keys", "revoke"), ("audit", "verify")}


def test_the_runbook_names_services_that_exist() -> None:
    aimed = [words for words in typed() if words[1:2] == ["compose"] and {"exec", "run", "logs", "restart"} & {*words}]
    assert len(aimed) > 10
    for words in aimed:
        assert SERVICES.keys() & {*words}, words
