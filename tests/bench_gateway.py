"""What the gateway costs: its CPU per call, everything on, beside the barest relay in Python, in one run.

Command: `make bench`. The upstream is the fake engine; CPU times come from the kernel and hardly move with the load of
the machine, so the ratio is the figure to watch.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import aiohttp
from fixtures_hone import free_port
from fixtures_process import Place, place_in, running

from core.types import Role

ROUNDS, CALLS = 5, 600
BODY = {
    "model": "hone",
    "messages": [{"role": "user", "content": "How much is the lunch menu? " * 8}],
    "max_tokens": 32,
}

RELAY = """
import sys, aiohttp, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
upstream, port = sys.argv[1], int(sys.argv[2])
async def chat(request):
    body = (await request.body()).replace(b'"hone"', b'"%b"' % sys.argv[3].encode())
    async with app.state.session.post(upstream + "/v1/chat/completions", data=body,
                                      headers={"content-type": "application/json"}) as answer:
        return Response(await answer.read(), answer.status, media_type="application/json")
app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
class Lazy:
    _session = None
    def post(self, *a, **k):
        self._session = self._session or aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._session.post(*a, **k)
app.state.session = Lazy()
uvicorn.run(app, port=port, http="httptools", loop="uvloop", log_level="critical", access_log=False)
"""


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def load(url: str, key: str, connections: int) -> None:
    """CALLS calls over so many connections; any status but 200 ends the run."""
    left = iter(range(CALLS))

    async def client(http: aiohttp.ClientSession) -> None:
        for _ in left:
            async with http.post("/v1/chat/completions", json=BODY) as answer:
                await answer.read()
                answer.raise_for_status()

    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(limit=0)) as http:
        await asyncio.gather(*(client(http) for _ in range(connections)))


def micros(url: str, key: str, pid: int, connections: int) -> float:
    """CPU microseconds of the process for one call."""
    before = cpu_seconds(pid)
    asyncio.run(load(url, key, connections))
    return (cpu_seconds(pid) - before) / CALLS * 1e6


def wait_for(url: str) -> None:
    for _ in range(500):
        with suppress(OSError):
            asyncio.run(load(url, "", 1))
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing answers at {url}")


def compare(place: Place, gateway: int, connections: int) -> None:
    """One line: the gateway's and the relay's CPU per call, and their ratio; medians of interleaved rounds."""
    port, key = free_port(), place.keys[Role.USER]
    version = next(iter(place.engine.loaded))
    arguments = [sys.executable, "-P", "-c", RELAY, place.settings.engine_url, str(port), version]
    relay = subprocess.Popen(arguments)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url)
        micros(place.url, key, gateway, connections)
        pairs = [
            (micros(place.url, key, gateway, connections), micros(url, "", relay.pid, connections))
            for _ in range(ROUNDS)
        ]
    finally:
        relay.kill()
        relay.wait()
    hone, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{connections:>4} connections   gateway {hone:6.0f} us   bare relay {bare:6.0f} us   ratio {ratio:.2f}")


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, place_in(Path(folder)) as place, running(place) as gateway:
        print(f"CPU per non-streaming call, medians of {ROUNDS} rounds of {CALLS}")
        for connections in (1, 16, 64):
            compare(place, gateway.pid, connections)


if __name__ == "__main__":
    main()
