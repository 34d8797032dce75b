"""Why a run has no result: a code, the cause and the next step, told apart from what nobody foresaw."""

import errno
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from core.errors import SetupError
from training.files import get, put
from training.order import FAILURE


class Code(StrEnum):
    """The failures that are foreseen."""

    NAN_LOSS = "nan_loss"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    NO_BASE = "no_base"
    NO_ROWS = "no_rows"
    ONE_SIDED = "one_sided"
    TOO_LONG = "too_long"
    RANK = "rank"
    DATASET = "dataset"
    OLD_SKILLS = "old_skills"
    TEMPLATE = "template"


NEXT: Mapping[Code, str] = {
    Code.NAN_LOSS: "Start a run with a lower recipe.learning_rate; if that fails too, look at the rows of the dataset.",
    Code.OUT_OF_MEMORY: "Free memory, or start a run with a larger recipe.accumulation or a smaller recipe.max_length.",
    Code.DISK_FULL: "Free space on the disk of the data folder, then ask for the run again.",
    Code.NO_BASE: "Put the base model back to where it was, or set HONE_MODEL to where it is now.",
    Code.NO_ROWS: "Wait for more feedback, or loosen training.may_train.",
    Code.ONE_SIDED: "Wait until there are liked and disliked answers, or use the method sft.",
    Code.TOO_LONG: "Start a run with a larger recipe.max_length, up to what the engine serves.",
    Code.RANK: "Start a run with a smaller recipe.rank, or raise engine.max_lora_rank.",
    Code.DATASET: "Start the run again: it makes a new dataset.",
    Code.OLD_SKILLS: "Mend the file that training.old_skills names: one JSON object a line, with prompt and answer.",
    Code.TEMPLATE: "Choose a base whose chat template takes these conversations.",
}
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Failure:
    """What `failure.json` says."""

    code: Code
    cause: str
    next: str


class RunFailed(SetupError):
    """Ends a training, with a code that says which failure it is."""

    def __init__(self, code: Code, cause: str) -> None:
        super().__init__(f"{cause} {NEXT[code]}", code=code)
        self.failure = Failure(code, cause, NEXT[code])


def write(folder: Path, failure: Failure) -> None:
    """Put the failure into the folder of its run."""
    put(folder / FAILURE, asdict(failure))


def read(folder: Path) -> Failure | None:
    """The failure of a run, if it has one."""
    found = get(folder / FAILURE)
    return Failure(Code(found["code"]), found["cause"], found["next"]) if found else None


def foreseen(error: Exception) -> Failure | None:
    """What an error of any library means, if it is one of memory or of the disk."""
    if isinstance(error, RunFailed):
        return error.failure
    if isinstance(error, MemoryError) or _is_of_memory(str(error)):
        return _failure(Code.OUT_OF_MEMORY, "The training needs more memory than there is.")
    if (isinstance(error, OSError) and error.errno in NO_SPACE) or _is_of_disk(str(error)):
        return _failure(Code.DISK_FULL, "The disk of the data folder is full.")
    return None


def _failure(code: Code, cause: str) -> Failure:
    return Failure(code, cause, NEXT[code])


def _is_of_memory(message: str) -> bool:
    """torch says it in words: of the CPU's memory in a RuntimeError, of a device's in an error of its own."""
    return any(words in message for words in ("can't allocate memory", "out of memory", "not enough memory"))


def _is_of_disk(message: str) -> bool:
    """Writers in other languages pass the cause on as text; torch's writer of archives only says where it failed."""
    return any(words in message for words in ("No space left on device", "os error 28", "inline_container.cc"))
