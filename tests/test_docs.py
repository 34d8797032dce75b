"""The documents for users tell the truth: their commands exist, their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import house
import pytest

DOCUMENTS = [*sorted(house.ROOT.glob("*.md")), *sorted(house.ROOT.glob("docs/*.md")), house.ROOT / "deploy/README.md"]

GROUPS = {
    "keys",
    "models",
    "interactions",
    "audit",
    "db",
    "runs",
    "experiments",
    "checks",
    "promote",
    "subjects",
    "reports",
    "lab",
}


def hone_commands() -> set[tuple[str, ...]]:
    """Each distinct `hone NAME [SUBNAME]` that a document shows at the start of a line."""
    found: set[tuple[str, ...]] = set()
    for document in DOCUMENTS:
        for line in re.findall(r"^\s*(?:\w+=\S+ )?hone ([a-z][^#\n]*)", document.read_text(encoding="utf-8"), re.M):
            words = line.split()
            lower = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
            found.add(tuple(lower[: 2 if words[0] in GROUPS else 1]))
    return found


@pytest.mark.parametrize("words", sorted(hone_commands()), ids=" ".join)
def test_a_command_in_the_documents_exists(words: tuple[str, ...]) -> None:
    hone = Path(sys.executable).with_name("hone")
    result = subprocess.run([hone, *words, "--help"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(house.ROOT)))
def test_a_link_in_the_documents_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


def test_make_targets_in_the_documents_exist() -> None:
    makefile = (house.ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.M))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:^\s+|`)make ([a-z]+)", document.read_text(encoding="utf-8"), re.M))
        assert named <= targets, document.name
