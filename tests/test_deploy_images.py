"""The Dockerfiles: what goes in exists, what runs is ours and not root, and the health checks tell well from ill."""

import ast
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import house
import pytest

DEPLOY = house.ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))
LOCKS = {"gateway": "gateway", "engine-cpu": "cpu", "engine-gpu": "gpu"}

dockerfiles = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile: name and the rest, continued lines joined, comments left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def the(path: Path, name: str) -> list[str]:
    return [rest for instruction, rest in instructions(path) if instruction == name]


def health_check(path: Path) -> list[str]:
    [check] = the(path, "HEALTHCHECK")
    command: list[str] = json.loads(check.partition("CMD ")[2])
    return command


@dockerfiles
def test_an_image_runs_as_an_ordinary_user_from_a_named_version(path: Path) -> None:
    assert the(path, "USER") == ["10001:10001"]
    assert instructions(path)[-1][0] == "CMD"
    assert not the(path, "ADD")
    bases = dict(argument.split("=") for argument in the(path, "ARG"))
    for base in (image.split()[0] for image in the(path, "FROM")):
        named = re.sub(r"\$\{(\w+)\}", lambda match: bases[match[1]], base)
        assert re.fullmatch(r"\S+:\d[\w.-]+", named), named


@dockerfiles
def test_an_image_is_made_of_what_the_repository_holds(path: Path) -> None:
    copied = [source for rest in the(path, "COPY") if "--from" not in rest for source in rest.split()[:-1]]
    assert {name.rstrip("/") for name in copied} >= {"pyproject.toml", *house.PACKAGES}
    mentioned = re.findall(r"deploy/lock/\w+\.txt", path.read_text(encoding="utf-8"))
    assert mentioned
    for name in [*copied, *mentioned]:
        assert (house.ROOT / name).exists(), name


@dockerfiles
def test_an_image_is_built_with_the_locked_uv(path: Path) -> None:
    pinned = re.findall(r"uv==[\d.]+", path.read_text(encoding="utf-8"))
    assert len(pinned) == 1
    assert pinned[0] in (DEPLOY / "lock/cpu.txt").read_text(encoding="utf-8").split()


def test_only_the_engines_images_hold_an_engine() -> None:
    locked = {path.stem: re.findall(r"sync (\S+)", path.read_text(encoding="utf-8")) for path in DOCKERFILES}
    assert locked == {name: [f"deploy/lock/{lock}.txt"] for name, lock in LOCKS.items()}
    gateway = (DEPLOY / "lock/gateway.txt").read_text(encoding="utf-8")
    assert not re.search(r"^(torch|vllm|transformers|nvidia)", gateway, re.MULTILINE)


@dockerfiles
def test_an_image_starts_a_process_of_ours(path: Path) -> None:
    command = json.loads(the(path, "CMD")[0])
    assert command[:2] == ["python", "-m"]
    assert (house.ROOT / command[2] / "__main__.py").exists()


@contextmanager
def answering(status: int) -> Iterator[tuple[str, list[str]]]:
    """A server on a free port that gives every GET this status; yields its address and the paths asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize("status", [200, 503])
@dockerfiles
def test_the_health_check_of_an_image_tells_well_from_ill(path: Path, status: int, tmp_path: Path) -> None:
    command = health_check(path)
    assert command[0] == "python"
    settings = tmp_path / "config.toml"
    with answering(status) as (url, asked):
        settings.write_text(f'[gateway]\nport = {urlsplit(url).port}\n[engine]\nurl = "{url}"\n', encoding="utf-8")
        environ = {"HONE_CONFIG": str(settings)}
        result = subprocess.run([sys.executable, *command[1:]], env=environ, cwd=house.ROOT, timeout=60)
    assert asked == ["/healthz" if path.stem == "gateway" else "/health"]
    assert (result.returncode == 0) == (status == 200)


@dockerfiles
def test_a_health_check_imports_nothing_but_the_settings(path: Path) -> None:
    code = ast.parse(health_check(path)[2])
    imports = [node.module for node in ast.walk(code) if isinstance(node, ast.ImportFrom)]
    assert imports == ["urllib.request", "core.config"]
