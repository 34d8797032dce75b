"""What a process does that conducts one small job until somebody ends it: it writes its name, again and again."""

import asyncio
import logging
from pathlib import Path

from core.ids import new_id
from core.schema import retractions
from core.store import Store, insert_new
from monitoring.schedule import Job, Schedule


def signing(store: Store, name: str, every: float = 0.2) -> Job:
    """Each tick leaves one row that says who made it."""

    def write() -> None:
        with store.write() as conn:
            insert_new(conn, retractions, [{"feedback": f"{new_id()} {name}", "created_at": 1, "key_id": name}])

    async def tick() -> None:
        await asyncio.to_thread(write)

    return Job("sign", every, tick)


def conduct(url: str, name: str, lease: float, log: Path) -> None:
    logging.basicConfig(filename=log, level="INFO")
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    store = Store.open(url)

    async def run() -> None:
        await Schedule(store, lease, lambda fenced: [signing(fenced, name)], owner=name).run()

    asyncio.run(run())
