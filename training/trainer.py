"""The trainer: one run in a process of its own, from its folder alone. `python -P -m training.trainer FOLDER`

Started again on the same folder it goes on where it was; on a finished one it does nothing. Exit status: 0 done, 1 a
foreseen failure (failure.json says which), 70 an unforeseen one (the log has the traceback), 143 stopped by SIGTERM.
"""

import logging
import signal
import sys
from pathlib import Path

from core import log
from training import failure, order
from training.bell import STOPPED, Bell, Stopped
from training.progress import Point, Progress, Stage

DONE, FAILED, UNFORESEEN = 0, 1, 70

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Train what the folder in the first argument orders; the exit status."""
    log.setup("trainer")
    bell = Bell()
    signal.signal(signal.SIGTERM, lambda number, frame: bell.ring())
    return run(Path(arguments[0]), bell)


def run(folder: Path, bell: Bell) -> int:
    """Train what a folder orders until `bell` rings; the exit status."""
    if (folder / order.MANIFEST).exists():
        return DONE
    try:
        _follow(folder, bell)
    except Stopped:
        logger.info("stopped; the next start goes on from here")
        return STOPPED
    except Exception as error:
        logger.exception("the training failed")
        reason = failure.foreseen(error)
        if reason is None:
            return UNFORESEEN
        failure.write(folder, reason)
        return FAILED
    return DONE


def _follow(folder: Path, bell: Bell) -> None:
    for stray in folder.glob(".*.json*"):
        stray.unlink()
    (folder / order.FAILURE).unlink(missing_ok=True)
    progress = Progress(folder / order.PROGRESS)
    progress.tell(Point(Stage.LOADING))
    from training import course  # seconds of imports, in which the folder should not look idle

    course.follow(order.read(folder), folder, progress, bell)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
