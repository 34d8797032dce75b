"""What the documents say about the code, made from the code. Mend them with `make format`.

Writes the annotated tree into README.md, the state diagram into ARCHITECTURE.md (between marks), and config.toml.
"""

import ast
import gc
import re
from collections.abc import Iterator
from pathlib import Path

from core import config, lifecycle

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "serving", "agent", "monitoring", "training")


def modules() -> Iterator[Path]:
    """Every product source file."""
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def parse(path: Path) -> ast.Module:
    """A source file as a tree; without the collector, whose work in between confuses CPython 3.11 (gh-106905)."""
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()


def summary(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(parse(path)) or ""
    first = re.split(r"(?<=[.;])\s", text.strip().replace("\n", " "), maxsplit=1)[0]
    return first.rstrip(".:;")


def tree() -> str:
    """The five packages, one line a module."""
    return "\n".join(line for package in PACKAGES for line in _branch(ROOT / package, 0))


def _branch(folder: Path, depth: int) -> Iterator[str]:
    yield _line(f"{'  ' * depth}{folder.name}/", summary(folder / "__init__.py"))
    for path in sorted(folder.iterdir()):
        if path.is_dir() and (path / "__init__.py").exists():
            yield from _branch(path, depth + 1)
        elif path.suffix == ".py" and path.name != "__init__.py":
            yield _line(f"{'  ' * (depth + 1)}{path.name}", summary(path))


def _line(name: str, sentence: str) -> str:
    return f"{name:<26}{sentence}".rstrip()


def documents() -> dict[Path, str]:
    """Each document with its generated parts renewed."""
    parts = {ROOT / "README.md": ("tree", tree()), ROOT / "ARCHITECTURE.md": ("stages", lifecycle.diagram())}
    renewed = {path: _renew(path.read_text(encoding="utf-8"), *part) for path, part in parts.items()}
    return renewed | {ROOT / "config.toml": config.render()}


def _renew(text: str, mark: str, body: str) -> str:
    pattern = rf"(<!-- {mark} -->\n```\w*\n).*?(```\n<!-- /{mark} -->)"
    renewed, count = re.subn(pattern, lambda m: f"{m[1]}{body}\n{m[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"The document lacks one block between <!-- {mark} --> and <!-- /{mark} -->.")
    return renewed


if __name__ == "__main__":
    for document, renewed in documents().items():
        document.write_text(renewed, encoding="utf-8")
