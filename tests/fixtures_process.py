"""A gateway as a process of its own, and all that it needs: a data folder, a settings file, a fake engine."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fixtures_gateway import CHAMPION, eventually, model

from core import config, migrate
from core.keys import LOCAL, Keys
from core.ledger import Ledger
from core.registry import Registry
from core.secret import Secret
from core.spool import Spool
from core.store import Store
from core.types import Role
from core.writer import Writer
from serving.fake import FakeEngine, listening


@dataclass
class Place:
    """A data folder, a settings file and a fake engine: all that a gateway process needs."""

    environ: dict[str, str]
    engine: FakeEngine
    settings: config.Settings
    keys: Mapping[Role, str]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.gateway.port}"

    @property
    def headers(self) -> dict[str, str]:
        return self.authorization(Role.USER)

    def authorization(self, role: Role) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[role]}"}

    def start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen([sys.executable, "-P", "-m", "agent"], env=self.environ, stderr=log)

    def refused(self) -> str:
        """What a gateway says that cannot start."""
        process = self.start()
        assert process.wait(20) == os.EX_CONFIG
        return self.log.read_text()

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.settings.gateway.port)) == 0

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(place: Place) -> Iterator["subprocess.Popen[bytes]"]:
    process = place.start()
    try:
        assert eventually(place.ready, 20)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def place_in(folder: Path, settings: str = "", drain: float = 5) -> Iterator[Place]:
    """A place to start gateways in; `settings` is TOML on top of the engine's address."""
    with listening(engine := FakeEngine()) as engine_url, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        reserved.close()
        file = folder / "hone.toml"
        file.write_text(f'[engine]\nurl = "{engine_url}"\n[gateway]\ndrain = {drain}\n{settings}')
        inherited = {k: v for k, v in config.environment(config.Settings()).items() if not k.startswith("HONE_")}
        environ = {**inherited, "HONE_CONFIG": str(file), "HONE_DATA": str(folder / "data"), "HONE_PORT": str(port)}
        settings = config.load(environ)
        secret = Secret.load(settings.data)
        migrate.upgrade(settings.database_url)
        store = Store.open(settings.database_url)
        Registry(store).install(model(CHAMPION), "system:setup")
        engine.loaded[CHAMPION] = ""
        keys = {role: Keys(store, secret).create(f"test {role}", role, LOCAL)[1] for role in Role}
        store.close()
        yield Place(environ, engine, settings, keys, folder / "gateway.log")


@contextmanager
def ledger(place: Place) -> Iterator[Ledger]:
    """The ledger, for reading."""
    store = Store.open(place.settings.database_url)
    writer = Writer(store, Spool.open(place.settings.data / "reader", 2**20), place.settings.ledger)
    yield Ledger(store, writer, Secret.load(place.settings.data))
    writer.close()
    store.close()
