"""The command line as a whole: quick to answer, plain in pipes, and clear about what went wrong."""

import json
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from fixtures_command import HONE, environment, hone
from fixtures_hone import free_port
from fixtures_service import KEY, FakeService, serving

from agent.cli.main import exit_status, summary
from core import migrate
from core.errors import BadRequest, ConfigError, Conflict, Forbidden, HoneError, Unauthenticated, Unavailable
from core.keys import LOCAL, Keys
from core.secret import Secret
from core.store import Store
from core.types import Role

COMMANDS = metadata.distribution("hone").entry_points.select(group="hone.commands")
START = "Start it with `hone up`."
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with an empty ledger."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    migrate.upgrade(f"sqlite:///{folder / 'ledger.db'}")
    return folder


@pytest.fixture
def keys(data: Path) -> Iterator[Keys]:
    store = Store.open(f"sqlite:///{data / 'ledger.db'}")
    yield Keys(store, Secret.load(data))
    store.close()


def test_help_answers_within_300_ms() -> None:
    def seconds() -> float:
        # Of the processor: it waits for nothing, and the machine may be busy with something else.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([HONE, "--help"], env=environment(), capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


def test_listing_the_commands_imports_none_of_them() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "agent.cli.main", "--help"]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    imported = {line.rsplit("|", 1)[-1].strip() for line in result.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"pydantic", "sqlalchemy", "openai", "aiohttp", "rich", "fastapi", "alembic", "asyncio"}
    assert not {name for name in imported if name.startswith("agent.cli_")}


def test_every_command_is_listed_with_a_sentence_that_fits() -> None:
    listed = hone("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command.name} +[A-Z].*\.$", listed, re.M), command.name
        assert len(summary(command)) <= 60


@pytest.mark.parametrize("command", sorted(COMMANDS), ids=lambda command: str(command.name))
def test_every_command_explains_itself(command: metadata.EntryPoint) -> None:
    result = hone(command.name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert summary(command) in result.stdout


def test_a_misspelt_command_is_a_usage_error_that_names_the_nearest() -> None:
    result = hone("intractions")
    assert result.returncode == 2
    assert "Did you mean 'interactions'" in result.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HoneError("x"), 1),
        (Unavailable("x"), 1),
        (ConfigError("x"), 1),
        (BadRequest("x"), 2),
        (Conflict("x"), 3),
        (Forbidden("x"), 4),
        (Unauthenticated("x"), 4),
    ],
)
def test_an_error_ends_with_the_status_that_it_stands_for(error: HoneError, status: int) -> None:
    assert exit_status(error) == status


def test_where_nobody_listens_the_message_says_what_to_do() -> None:
    result = hone("status", HONE_URL=NOBODY, HONE_KEY=KEY)
    assert result.returncode == 1
    assert result.stderr == (
        f"hone: Hone does not answer at {NOBODY} (connection refused); "
        "start it with `hone up`, or set HONE_URL to where it runs.\n"
    )


def test_without_a_key_the_message_says_how_to_make_one() -> None:
    result = hone("interactions", "list", HONE_URL=NOBODY)
    assert result.returncode == 4
    assert "hone keys create --role reviewer" in result.stderr


def test_another_program_at_the_address_is_told_apart_from_hone(tmp_path: Path) -> None:
    with serving(FakeService()) as url:
        result = hone("status", HONE_URL=f"{url}/elsewhere", HONE_KEY=KEY)
    assert (result.returncode, result.stdout) == (1, "")
    assert "404" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_key_that_is_not_known_is_denied() -> None:
    with serving(FakeService()) as url:
        result = hone("status", HONE_URL=url, HONE_KEY="hone_ops_wrong")
    assert (result.returncode, result.stderr) == (4, "hone: This key is not one of ours.\n")


@pytest.mark.parametrize(
    ("environ", "status", "words"),
    [
        ({"HONE_URL": "localhost:8000", "HONE_KEY": KEY}, 2, "must begin with http://"),
        ({"HONE_URL": "http://127.0.0.1:port", "HONE_KEY": KEY}, 1, "nonnumeric port"),
        ({"HONE_URL": NOBODY, "HONE_KEY": "hone_\u00fcser"}, 4, "copy it again"),
    ],
)
def test_an_address_or_key_that_cannot_be_one_is_told(environ: dict[str, str], status: int, words: str) -> None:
    result = hone("status", **environ)
    assert (result.returncode, result.stdout) == (status, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    config = tmp_path / "hone.toml"
    config.write_text("[gateway]\nprot = 1\n")
    result = hone("up", HONE_CONFIG=str(config), HONE_DATA=str(tmp_path / "data"))
    assert result.returncode == 1
    assert "gateway.prot" in result.stderr
    assert "gateway.port" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_list_is_read_over_all_its_pages_up_to_the_limit() -> None:
    rows: list[dict[str, Any]] = [{"id": f"m{n}"} for n in range(5)]
    with serving(FakeService(pages={"/api/models": rows})) as url:
        four, all_ = (
            json.loads(hone("models", "list", "--json", "--limit", limit, HONE_URL=url, HONE_KEY=KEY).stdout)
            for limit in ("4", "50")
        )
    assert four == {"data": rows[:4], "next": None}
    assert all_ == {"data": rows, "next": None}


def test_keys_are_made_listed_and_revoked_on_the_data_folder(data: Path, keys: Keys) -> None:
    made = hone("keys", "create", "--role", "reviewer", "--name", "anna", HONE_DATA=str(data))
    assert made.returncode == 0
    key = made.stdout.strip()
    holder = keys.authenticate(key)
    assert holder is not None
    assert (holder.name, holder.role) == ("anna", Role.REVIEWER)

    listed = hone("keys", "list", HONE_DATA=str(data))
    assert holder.id in listed.stdout
    assert key not in listed.stdout
    assert json.loads(hone("keys", "list", "--json", HONE_DATA=str(data)).stdout)["data"][0]["id"] == holder.id

    assert hone("keys", "revoke", holder.id, HONE_DATA=str(data)).returncode == 0
    assert keys.authenticate(key) is None


def test_a_role_that_does_not_exist_is_a_usage_error(data: Path) -> None:
    result = hone("keys", "create", "--role", "king", "--name", "anna", HONE_DATA=str(data))
    assert result.returncode == 2
    assert "reviewer" in result.stderr


def test_an_unknown_key_cannot_be_revoked(data: Path) -> None:
    result = hone("keys", "revoke", "nobody", HONE_DATA=str(data))
    assert (result.returncode, result.stderr) == (1, "hone: There is no key 'nobody'; `hone keys list` shows them.\n")


def test_looking_for_data_that_is_not_there_makes_none(tmp_path: Path) -> None:
    for command in (("keys", "list"), ("audit", "verify"), ("status",), ("stop",), ("logs",)):
        result = hone(*command, HONE_DATA=str(tmp_path / "none"))
        assert "Traceback" not in result.stderr
        assert not (tmp_path / "none").exists(), command


def test_pipes_get_plain_text(data: Path, keys: Keys) -> None:
    keys.create("anna", Role.USER, "local")
    result = hone("keys", "list", HONE_DATA=str(data), FORCE_COLOR="", NO_COLOR="1")
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout + result.stderr
    assert result.stdout.splitlines()[0].split() == ["ID", "NAME", "ROLE", "CREATED", "BY", "REVOKED"]


def test_an_unbroken_audit_chain_is_said_so_with_its_head(data: Path, keys: Keys) -> None:
    keys.create("anna", Role.USER, "local")
    result = hone("audit", "verify", HONE_DATA=str(data))
    assert result.returncode == 0
    head = result.stdout.split()[-1]
    assert hone("audit", "verify", "--head", head, HONE_DATA=str(data)).returncode == 0
    cut = hone("audit", "verify", "--head", "f" * 64, "--json", HONE_DATA=str(data))
    assert cut.returncode == 1
    assert json.loads(cut.stdout)["ok"] is False


def test_a_broken_audit_chain_ends_with_1_and_the_place(data: Path, keys: Keys) -> None:
    keys.create("anna", Role.USER, "local")
    keys.create("bert", Role.USER, "local")
    store = Store.open(f"sqlite:///{data / 'ledger.db'}")
    with store.write() as conn:
        conn.exec_driver_sql("UPDATE audit SET actor = 'somebody' WHERE seq = 1")
    store.close()
    result = hone("audit", "verify", HONE_DATA=str(data))
    assert result.returncode == 1
    assert "broken at row 1" in result.stderr


def test_upgrade_makes_a_ledger(tmp_path: Path) -> None:
    result = hone("db", "upgrade", HONE_DATA=str(tmp_path / "new"))
    assert result.returncode == 0
    assert f"revision {migrate.head()}" in result.stderr
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_logs_show_json_lines_as_people_read_them(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    line = {"time": "T", "level": "info", "process": "gateway", "logger": "x", "message": "started", "port": 1}
    (logs / "gateway.log").write_text(f"first\n{json.dumps(line)}\n")
    assert hone("logs", "gateway", HONE_DATA=str(tmp_path)).stdout == "first\nT INFO    started port=1\n"
    assert hone("logs", "-n", "1", HONE_DATA=str(tmp_path)).stdout == "gateway | T INFO    started port=1\n"
    assert json.loads(hone("logs", "-n", "1", "--json", HONE_DATA=str(tmp_path)).stdout) == line
    assert hone("logs", "other", HONE_DATA=str(tmp_path)).returncode == 2


def test_a_backup_restored_elsewhere_knows_the_same_keys(data: Path, keys: Keys, tmp_path: Path) -> None:
    _, key = keys.create("anna", Role.USER, "local")
    archive, elsewhere = tmp_path / "hone.tar", tmp_path / "elsewhere"
    assert hone("db", "backup", str(archive), HONE_DATA=str(data)).returncode == 0
    assert archive.stat().st_mode & 0o777 == 0o600
    assert hone("db", "restore", str(archive), HONE_DATA=str(elsewhere)).returncode == 0
    store = Store.open(f"sqlite:///{elsewhere / 'ledger.db'}")
    assert Keys(store, Secret.load(elsewhere)).authenticate(key) is not None
    store.close()
    again = hone("db", "restore", str(archive), HONE_DATA=str(elsewhere))
    assert (again.returncode, "is not empty" in again.stderr) == (1, True)


def findings(**environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = hone("doctor", "--json", **environ)
    return result.returncode, {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def test_the_doctor_finds_nothing_wrong_with_a_machine_where_hone_may_start(tmp_path: Path) -> None:
    status, found = findings(HONE_DATA=str(tmp_path / "none"), HONE_PORT=str(free_port()))
    assert {name: check["found"] for name, check in found.items() if check["grade"] == "fail"} == {}
    assert status == 0
    assert found["answers"] == {"name": "answers", "grade": "warn", "found": "Hone does not run here", "advice": START}
    assert not (tmp_path / "none").exists()


def test_the_doctor_names_what_is_wrong_and_what_to_do(data: Path) -> None:
    data.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, found = findings(HONE_DATA=str(data), HONE_PORT=str(port), HONE_MODEL="/nowhere/model")
    wrong = {name: f"{check['found']} {check['advice']}" for name, check in found.items() if check["grade"] == "fail"}
    assert status == 1
    assert set(wrong) == {"data folder", "ports", "model"}
    assert f"chmod 700 {data}" in wrong["data folder"]
    assert f"Port {port}" in wrong["ports"]
    assert "/nowhere/model does not exist" in wrong["model"]


def test_the_doctor_finds_a_damaged_ledger(data: Path) -> None:
    ledger = data / "ledger.db"
    content = bytearray(ledger.read_bytes())
    # The last page is an index or a table's leaf; its first bytes say which.
    content[-4096:-4000] = bytes(96)
    ledger.write_bytes(content)
    status, found = findings(HONE_DATA=str(data), HONE_PORT=str(free_port()))
    assert (status, found["database"]["grade"]) == (1, "fail")


def test_status_reads_like_prose_for_people() -> None:
    worker = {"kind": "engine", "host": "h", "pid": 7, "revision": 1, "started_at": 0, "loaded": ["tiny-0"]}
    service = FakeService(status={"champion": "tiny-0", "run": None, "queues": {"queued": 3}, "workers": [worker]})
    with serving(service) as url:
        lines = hone("status", HONE_URL=url, HONE_KEY=KEY).stdout.splitlines()
    assert lines[:4] == ["tiny-0 is the champion.", "No candidate is on its way.", "", "queues.queued  3"]
    assert lines[-1].split()[:4] == ["engine", "h", "7", "1"]


def test_a_lost_secret_is_not_made_anew_beside_a_ledger_that_needs_it(data: Path, keys: Keys) -> None:
    keys.create("shop", Role.USER, LOCAL)
    (data / "secret").unlink()
    started = hone("up", HONE_DATA=str(data))
    assert started.returncode == 1
    assert "is gone" in started.stderr and "Restore it from a backup" in started.stderr
    assert not (data / "secret").exists()
    found = json.loads(hone("doctor", "--json", HONE_DATA=str(data)).stdout)
    assert [check["grade"] for check in found["checks"] if check["name"] == "secret"] == ["fail"]
