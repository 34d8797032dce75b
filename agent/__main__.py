"""The gateway: OpenAI's chat API, feedback, and the operations API, over the ledger and the engine.

Command: `python -m agent [--port PORT]`. With `gateway.workers` above 1, start that many: they share the port and
nothing else. SIGTERM and SIGINT let open answers finish. Exit status 78: a person must change something first.
"""

import argparse
import math
import os
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType

import uvicorn

from agent.app import create_app
from agent.gate import Gate
from agent.parts import check_schema, compose
from core import config, log
from core.config import Gateway, Settings
from core.errors import HoneError, SetupError
from core.secret import Secret
from core.store import Store

KEEP_ALIVE = 65
BACKLOG = 2048


class Server(uvicorn.Server):
    """uvicorn's server, which closes the gate when it is told to stop."""

    def __init__(self, settings: uvicorn.Config, gate: Gate) -> None:
        super().__init__(settings)
        self._gate = gate

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gate.close()
        super().handle_exit(sig, frame)


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m agent", description="Hone's gateway.")
    parser.add_argument("--port", type=int, help="port to listen on, instead of gateway.port")
    port = parser.parse_args(arguments).port
    try:
        settings = config.load()
        log.setup("gateway")
        with listen(settings.gateway, port) as listener:
            return serve(settings, listener)
    except HoneError as error:
        print(error.message, file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, SetupError) else 1


def listen(settings: Gateway, port: int | None = None) -> socket.socket:
    """A socket at the gateway's address. Raises SetupError when it is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.workers > 1:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, settings.port if port is None else port))
    except OSError as error:
        listener.close()
        raise SetupError(
            f"The gateway cannot listen on {settings.host} port {port or settings.port}: {error.strerror}. "
            "Choose another port with HONE_PORT, or stop what listens there."
        ) from None
    return listener


def serve(settings: Settings, listener: socket.socket) -> int:
    """Serve on the socket until told to stop; 0, or 1 when a part failed."""
    broken: list[int] = []

    def abort() -> None:
        broken.append(1)
        signal.raise_signal(signal.SIGTERM)

    store = Store.open(settings.database_url)
    try:
        check_schema(store)
        parts = compose(settings, store, Secret.load(settings.data), abort)
        server = Server(_server_settings(settings, create_app(parts)), parts.gate)
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn raises the signal again when it is done; by then it means nothing.
            signal.signal(number, server.handle_exit)
        server.run([listener])
        return 1 if broken or not server.started else 0
    finally:
        store.close()


def _server_settings(settings: Settings, app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.gateway.drain),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
