"""A gateway on a port of its own, over a real ledger in a folder and a fake engine on another port."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from openai import OpenAI

from agent.__main__ import Server
from agent.app import create_app
from agent.parts import Parts, compose
from core import config, migrate
from core.keys import LOCAL
from core.ledger import InteractionFilter
from core.lifecycle import Stage
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.types import Interaction, Model, Role, Version
from serving.fake import FakeEngine, Knobs, listening

CHAMPION = Version("hone-tiny-v0-0123456789ab")
CHALLENGER = Version("hone-tiny-v1-ba9876543210")
HELLO = [{"role": "user", "content": "Hello, who are you?"}]


@dataclass
class Gateway:
    """A running gateway and its surroundings; `keys` maps a role to a plaintext key."""

    url: str
    engine: FakeEngine
    parts: Parts
    server: Server
    thread: threading.Thread
    keys: Mapping[Role, str]

    def http(self, role: Role | None = Role.USER, **options: Any) -> httpx.Client:
        """A plain client with the key of a role."""
        headers = {"authorization": f"Bearer {self.keys[role]}"} if role else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False, **options)

    def ready(self) -> bool:
        """What /readyz says."""
        return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200

    def stop(self) -> None:
        """End as SIGTERM does; returns when the last row is handed in."""
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def openai(self, role: Role = Role.USER, **options: Any) -> OpenAI:
        """The official client with the key of a role."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.keys[role], max_retries=0, timeout=20, **options)

    def row(self, response_id: str) -> Interaction:
        """The ledger's row of an answer; waits a little for the rows that no client waited for."""
        bare = response_id.removeprefix("chatcmpl-").removeprefix("cmpl-")
        found = eventually(lambda: self.parts.ledger.interaction(bare))
        assert found is not None, f"no row for {response_id}"
        return found

    def rows(self) -> list[Interaction]:
        """All rows, oldest first."""
        items: list[Interaction] = []
        cursor: str | None = None
        while True:
            page = self.parts.ledger.interactions(InteractionFilter(), cursor, 1000)
            items += page.items
            if (cursor := page.next) is None:
                return items[::-1]


def eventually(look: Any, seconds: float = 5.0) -> Any:
    """The first true result of `look`, or its last one when time is up."""
    end = time.monotonic() + seconds
    while not (result := look()) and time.monotonic() < end:
        time.sleep(0.01)
    return result


def model(version: Version, digest: str = "0" * 64) -> Model:
    """A version of a base that no engine needs to know."""
    return Model(version, 0, Stage.CANDIDATE, 0, "hone-tiny", "b" * 64, digest, digest)


@contextmanager
def gateway(
    folder: Path, *, engine: FakeEngine | None = None, settings: Mapping[str, Any] | None = None, ready: bool = True
) -> Iterator[Gateway]:
    """A gateway that answers until the block ends. `settings` are sections on top of the defaults."""
    engine = engine or FakeEngine()
    with listening(engine) as engine_url:
        chosen = {"data": str(folder / "data"), **(settings or {})}
        chosen["engine"] = {"url": engine_url, **chosen.get("engine", {})}
        with over(config.parse(chosen), engine) as running:
            if ready:
                assert eventually(running.ready, 10)
            yield running


@contextmanager
def over(settings: config.Settings, engine: FakeEngine) -> Iterator[Gateway]:
    """A gateway over the ledger in `settings.data`, which is made if it is not there."""
    secret = Secret.load(settings.data)
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    plan = Registry(store).install(model(CHAMPION), "system:setup")
    engine.loaded.setdefault(plan.champion, "")
    parts = compose(settings, store, secret, lambda: None)
    keys = {role: parts.keys.create(f"test {role}", role, LOCAL)[1] for role in Role}
    listener = socket.create_server(("127.0.0.1", 0))
    options = uvicorn.Config(
        create_app(parts),
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = Server(options, parts.gate)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    assert eventually(lambda: server.started or not thread.is_alive(), 10)
    try:
        yield (running := Gateway(f"http://127.0.0.1:{listener.getsockname()[1]}", engine, parts, server, thread, keys))
        running.stop()
    finally:
        server.should_exit = True
        store.close()


def slow(tokens: int = 8, first_token: float = 0.0, per_token: float = 0.0, **knobs: Any) -> dict[str, Knobs]:
    """Knobs for all versions."""
    return {"": Knobs(tokens=tokens, first_token=first_token, per_token=per_token, **knobs)}
