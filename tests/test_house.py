"""The house rules that a tool can hold: sizes, names, no effects at import, documents that match the code."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import house
import pytest

MAX_FILE, MAX_FUNCTION = 300, 50

WATCHED_IMPORT = """
import importlib, logging, os, sys, threading
import sklearn  # sets KMP_DUPLICATE_LIB_OK and its like by itself
before = dict(os.environ)
def watch(event, args):
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    # The interpreter itself may cache byte code; nothing else may be written, spawned or connected.
    if writes and not str(args[0]).endswith(".pyc") and ".pyc." not in str(args[0]):
        raise SystemExit(f"{name}: opened {args[0]} for writing at import")
    if event in {"socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.mkdir", "sqlite3.connect"}:
        raise SystemExit(f"{name}: {event} {args} at import")
sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
    ours = [h for h in logging.getLogger().handlers]
    if ours: raise SystemExit(f"{name}: logging set up at import")
    if dict(os.environ) != before: raise SystemExit(f"{name}: environment changed at import")
    if threading.active_count() > 1: raise SystemExit(f"{name}: started a thread at import")
"""


def module_name(path: Path) -> str:
    relative = path.relative_to(house.ROOT).with_suffix("")
    return ".".join(relative.parts).removesuffix(".__init__")


def run_python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd or house.ROOT,
    )


@pytest.mark.parametrize("path", list(house.modules()), ids=lambda p: str(p.relative_to(house.ROOT)))
def test_a_file_fits_in_300_lines_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE
    assert house.summary(path), "the module docstring is missing"
    assert text.isascii()


@pytest.mark.parametrize("path", list(house.modules()), ids=lambda p: str(p.relative_to(house.ROOT)))
def test_a_function_fits_in_50_lines(path: Path) -> None:
    for node in ast.walk(house.parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


def test_importing_a_module_does_nothing() -> None:
    light = [module_name(p) for p in house.modules() if p.name != "__main__.py" and not needs_torch(p)]
    result = run_python(WATCHED_IMPORT, *[name for name in light if ".migrations" not in name])
    assert result.returncode == 0, result.stderr


def needs_torch(path: Path) -> bool:
    return path.relative_to(house.ROOT).parts[0] == "training"


def test_the_gateway_process_loads_no_torch_no_litellm_no_engine() -> None:
    code = "import agent.app, agent.__main__, sys; print(sorted({m.split('.')[0] for m in sys.modules}))"
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    loaded = set(ast.literal_eval(result.stdout))
    assert "aiohttp" in loaded
    assert not loaded & {"torch", "transformers", "litellm", "vllm", "trl", "peft", "sklearn"}


def test_the_five_names_resolve_to_this_checkout_from_anywhere(tmp_path: Path) -> None:
    code = f"import {', '.join(house.PACKAGES)}\nfor m in ({', '.join(house.PACKAGES)}): print(m.__file__)"
    result = run_python(code, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [Path(line).parent for line in result.stdout.split()] == [house.ROOT / name for name in house.PACKAGES]


def test_documents_match_the_code() -> None:
    for path, renewed in house.documents().items():
        assert path.read_text(encoding="utf-8") == renewed, f"{path.name} is stale: run `make format`"


def test_the_readme_names_every_top_level_entry() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=house.ROOT, capture_output=True, text=True, check=True)
    entries = {line.split("/")[0] for line in listed.stdout.split("\n") if line}
    readme = (house.ROOT / "README.md").read_text(encoding="utf-8")
    missing = {name for name in entries - {"README.md"} if not name.startswith(".") and name not in readme}
    assert not missing


def test_every_command_of_the_entry_points_exists() -> None:
    project = tomllib.loads((house.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, target in project["entry-points"]["hone.commands"].items():
        module, attribute = target.split(":")
        tree = house.parse(house.ROOT / f"{module.replace('.', '/')}.py")
        names = {getattr(node, "name", None) for node in tree.body}
        names |= {t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if hasattr(t, "id")}
        assert attribute in names, f"hone {name} points at {target}, which does not exist"


def test_the_lock_names_no_host_and_no_folder() -> None:
    for lock in (house.ROOT / "deploy" / "lock").glob("*.txt"):
        assert not re.search(r"https?://|file:|/opt/|@ ", lock.read_text(encoding="utf-8")), lock.name


def test_only_the_settings_read_the_environment() -> None:
    for path in house.modules():
        if path.name != "config.py":
            assert not re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8")), path
