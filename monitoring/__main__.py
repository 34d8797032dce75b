"""The conductor: scores answers, watches for drift, arms triggers, takes candidates through their gates, sends notices.

Command: `python -m monitoring`. Any number may run over one ledger; one of them leads, the others wait for its lease to
run out. SIGTERM and SIGINT end it; exit status 78: a person must change something first, and stderr says what.
"""

import asyncio
import logging
import os
import signal
import sys

from core import config, log, migrate
from core.config import Settings
from core.errors import HoneError, SetupError
from core.secret import Secret
from core.store import Store
from monitoring.jobs import jobs
from monitoring.policy import policies
from monitoring.schedule import Schedule
from serving.client import EngineClient
from serving.scoring import Scorer

PROCESS = "monitoring"


async def conduct(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raises SetupError."""
    rules = policies(settings)
    key = Secret.load(settings.data).engine_key()
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    try:
        async with EngineClient(settings.engine_url, key) as engine:
            schedule = Schedule(
                store, settings.monitoring.lease, lambda fenced: jobs(settings, rules, fenced, Scorer(engine))
            )
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, schedule.stop)
            await schedule.run()
    finally:
        store.close()


def main() -> int:
    """The exit status."""
    try:
        settings = config.load()
        log.setup(PROCESS)
        # What fails is logged by the schedule, once; how often the scheduler looks is nobody's news.
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
        asyncio.run(conduct(settings))
    except HoneError as error:
        print(error.message, file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, SetupError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
