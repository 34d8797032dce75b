"""The training process: carries out the runs that are asked for, and counts what could be trained on.

Command: `python -m training`. SIGTERM and SIGINT end it and its trainer; the run stays for the next worker. Exit status
78 means that a person must change something first, and stderr says what.
"""

import os
import signal
import sys

from core import config, log, migrate
from core.config import Settings
from core.errors import HoneError, SetupError
from core.secret import Secret
from core.store import Store
from training.worker import Worker


def work(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raises SetupError."""
    secret = Secret.load(settings.data)
    migrate.upgrade(settings.database_url)
    store = Store.open(settings.database_url)
    try:
        worker = Worker(settings, store, secret)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: worker.stop())
        worker.run()
    finally:
        store.close()


def main() -> int:
    """The exit status."""
    try:
        settings = config.load()
        log.setup("training")
        work(settings)
    except HoneError as error:
        print(error.message, file=sys.stderr)
        return os.EX_CONFIG if isinstance(error, SetupError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
