"""The compose file: its parts refer to each other, and the engine meets nobody but the gateway."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import house
import pytest
import yaml
from sqlalchemy.engine import make_url

from core import config

DEPLOY = house.ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
GPU = yaml.safe_load((DEPLOY / "compose.gpu.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = ("gateway", "migrate", "engine", "fetch", "monitoring", "training")


def settings(name: str) -> config.Settings:
    return config.load({"HONE_CONFIG": str(DEPLOY / f"{name}.toml")})


@pytest.mark.parametrize("kind", ["networks", "volumes", "secrets", "configs"])
def test_the_compose_file_uses_what_it_declares_and_nothing_else(kind: str) -> None:
    used: set[str] = set()
    for service in SERVICES.values():
        entries = service.get(kind, [])
        names = [entry["source"] if isinstance(entry, dict) else entry.split(":")[0] for entry in entries]
        used |= {name for name in names if not name.startswith(".")}
    assert used == set(COMPOSE[kind])


def test_every_file_that_the_compose_files_name_exists() -> None:
    mounts = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith(".")]
    files += [entry["file"] for entry in COMPOSE["configs"].values()]
    builds = [service["build"] for service in [*SERVICES.values(), *GPU["services"].values()] if "build" in service]
    files += [f"{build['context']}/{build['dockerfile']}" for build in builds]
    assert len(files) > 10
    for name in files:
        assert (DEPLOY / name).exists(), name
    assert set(GPU["services"]) <= set(SERVICES)


def test_an_image_is_named_by_version_and_ours_by_this_one() -> None:
    version = tomllib.loads((house.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    for name, service in [*SERVICES.items(), *GPU["services"].items()]:
        expected = rf"hone-[\w-]+:\$\{{HONE_VERSION:-{version}\}}" if name in OURS else r"[\w/]+:v?\d[\w.-]+"
        assert re.fullmatch(expected, service["image"]), service["image"]


def test_the_engine_meets_those_who_call_it_and_nobody_else() -> None:
    callers = {"engine", "gateway", "monitoring"}
    assert {name for name, service in SERVICES.items() if "engine" in service["networks"]} == callers
    engine = SERVICES["engine"]
    assert all(COMPOSE["networks"][name]["internal"] for name in engine["networks"])
    assert "ports" not in engine
    # vLLM listens where only that network's name leads, and the gateway asks there.
    names = {alias for network in engine["networks"].values() for alias in network.get("aliases", [])}
    listens, asks = settings("engine"), settings("gateway")
    assert {listens.engine.host} == names == set(engine["networks"]["engine"]["aliases"])
    assert asks.engine.url == listens.engine_url == f"http://{listens.engine.host}:{listens.engine.port}"


def test_the_settings_of_the_containers_lead_to_each_other() -> None:
    gateway = settings("gateway")
    assert gateway.gateway.host == "0.0.0.0"
    assert [port.rpartition(":")[2] for port in SERVICES["gateway"]["ports"]] == [str(gateway.gateway.port)]
    assert gateway.ledger.url == settings("engine").ledger.url
    database, server = make_url(gateway.ledger.url), SERVICES["postgres"]["environment"]
    assert database.host == "postgres"
    assert (database.username, database.database) == (server["POSTGRES_USER"], server["POSTGRES_DB"])
    for name in ("gateway", "engine", "migrate", "monitoring", "training"):
        service = SERVICES[name]
        assert "ledger" in service["networks"]
        assert service["environment"]["PGPASSFILE"] == "/run/secrets/pgpass"
        assert service["configs"][0]["target"] == service["environment"]["HONE_CONFIG"]


def test_the_runbook_says_who_meets_whom() -> None:
    runbook = (DEPLOY / "README.md").read_text(encoding="utf-8")
    told = {
        name: set(who.split(", ")) for name, who in re.findall(r"^    (\w+) +((?:\w+, )+\w+)(?:  |$)", runbook, re.M)
    }
    meets = {name: {who for who, service in SERVICES.items() if name in service["networks"]} for name in told}
    assert told == meets
    assert told.keys() == COMPOSE["networks"].keys()


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_containers_of_hone_have_no_privileges() -> None:
    for name in OURS:
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
        assert not SERVICES[name].keys() & {"privileged", "user", "network_mode", "pid", "cap_add"}


def test_a_container_that_others_wait_for_can_become_what_they_wait_for() -> None:
    for service in SERVICES.values():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "test" in SERVICES[other]["healthcheck"]
            if wait["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no"
    assert SERVICES["migrate"]["command"] == ["hone", "db", "upgrade"]


def test_the_secrets_script_makes_what_the_containers_mount(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    first = subprocess.run([tmp_path / "secrets.sh"], capture_output=True, text=True)
    if "chown" in first.stderr:
        pytest.skip("only root may give a file to the images' user")
    folder = tmp_path / "secrets"
    assert {f"secrets/{path.name}" for path in folder.iterdir()} == {s["file"] for s in COMPOSE["secrets"].values()}
    assert folder.stat().st_mode & 0o777 == 0o700
    # libpq ignores a password file that is wider.
    passwords = folder / "pgpass"
    assert (passwords.stat().st_mode & 0o777, passwords.stat().st_uid) == (0o600, 10001)
    password = (folder / "postgres_password").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    assert passwords.read_text() == f"postgres:5432:hone:hone:{password}\n"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    again = subprocess.run([tmp_path / "secrets.sh"], capture_output=True, text=True)
    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_yaml_is_tidy() -> None:
    command = [sys.executable, "-m", "yamllint", "--strict", "deploy"]
    result = subprocess.run(command, cwd=house.ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout
