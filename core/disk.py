"""What it takes for a file's name, not only its bytes, to survive a power cut."""

import os
from pathlib import Path


def sync(folder: Path) -> None:
    """Put a folder's entries on the disk: call it after making, renaming or removing a file in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
