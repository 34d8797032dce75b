"""Failures of a training, each spoiled on purpose: what is left says the cause and the next step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bases import kto_rows, llama_shaped, ordered, row, sft_rows, short
from safetensors.torch import load_file, save_file

from core.datasets import Datasets
from training import failure, order
from training.bell import Bell
from training.failure import Code, foreseen
from training.order import Order
from training.rows import Message, Method, Part, Row, SftExample
from training.trainer import DONE, FAILED, UNFORESEEN, run

ROWS = sft_rows(12)
RECIPE = short(Method.SFT, ROWS)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama_shaped(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


def no_base(given: Order) -> Order:
    return replace(given, base=given.base / "gone")


def half_a_base(given: Order) -> Order:
    folder = given.dataset.parent / "half"
    folder.mkdir()
    for path in given.base.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    return replace(given, base=folder)


def broken_base(given: Order) -> Order:
    folder = given.dataset.parent / "broken"
    folder.mkdir()
    for path in given.base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: value * float("nan") for name, value in tensors.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return replace(given, base=folder)


def large_rank(given: Order) -> Order:
    return replace(given, max_rank=2)


def short_engine(given: Order) -> Order:
    return replace(given, max_model_len=8)


def broken_skills(given: Order) -> Order:
    path = given.dataset.parent / "skills.jsonl"
    path.write_text('{"question": "when?"}\n')
    return replace(given, old_skills=path)


def erased_rows(given: Order) -> Order:
    Datasets(given.dataset.parent).erase(given.dataset_digest, [0])
    return given


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (no_base, Code.NO_BASE, "is missing"),
        (half_a_base, Code.NO_BASE, "no weights"),
        (broken_base, Code.NAN_LOSS, "loss of step 1 is nan"),
        (large_rank, Code.RANK, "4 is above the engine's 2"),
        (short_engine, Code.TOO_LONG, "longer than 8 tokens"),
        (erased_rows, Code.DATASET, "erased"),
        (broken_skills, Code.OLD_SKILLS, "'prompt'"),
    ],
)
def test_a_foreseen_failure_leaves_its_code_cause_and_next_step(
    llama: Path, folder: Path, spoil: Callable[[Order], Order], code: Code, says: str
) -> None:
    order.write(folder, spoil(ordered(folder, llama, ROWS, RECIPE)))
    assert run(folder, Bell()) == FAILED
    found = failure.read(folder)
    assert found is not None
    assert found.code is code
    assert says in found.cause
    assert found.next
    assert not (folder / order.ADAPTER).exists()
    assert not (folder / order.MANIFEST).exists()


@pytest.mark.parametrize(
    ("method", "rows", "code"),
    [
        (Method.SFT, [row(SftExample((Message("user", "?"),), "!"), Part.HELDOUT)], Code.NO_ROWS),
        (Method.KTO, kto_rows([True] * 3), Code.ONE_SIDED),
    ],
)
def test_rows_that_teach_nothing_are_a_failure(
    llama: Path, folder: Path, method: Method, rows: list[Row], code: Code
) -> None:
    recipe = replace(short(Method.SFT, sft_rows(4)), method=method)
    ordered(folder, llama, rows, recipe)
    assert run(folder, Bell()) == FAILED
    assert (found := failure.read(folder)) is not None
    assert found.code is code


def test_a_failure_that_nobody_foresaw_has_its_own_status(llama: Path, folder: Path) -> None:
    (ordered(folder, llama, ROWS, RECIPE).dataset / "rows.jsonl").unlink()
    assert run(folder, Bell()) == UNFORESEEN
    assert failure.read(folder) is None


def test_a_failure_is_forgotten_when_the_next_start_succeeds(llama: Path, folder: Path) -> None:
    given = ordered(folder, llama, ROWS, RECIPE, max_rank=1)
    assert run(folder, Bell()) == FAILED
    order.write(folder, replace(given, max_rank=16))
    assert run(folder, Bell()) == DONE
    assert failure.read(folder) is None


def test_lack_of_memory_is_known_however_it_is_told() -> None:
    with pytest.raises(RuntimeError) as told:
        torch.empty(1 << 58)
    for error in (told.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")):
        assert (found := foreseen(error)) is not None
        assert found.code is Code.OUT_OF_MEMORY


def test_a_full_disk_is_known_however_it_is_told(tmp_path: Path) -> None:
    full = tmp_path / "full"  # a link, as a writer that renames would take the device's place
    full.symlink_to("/dev/full")
    with pytest.raises(OSError) as plain, full.open("wb", buffering=0) as file:
        file.write(b"x")
    with pytest.raises(RuntimeError) as archive:
        torch.save({"weight": torch.zeros(1 << 16)}, full)
    for error in (plain.value, archive.value, RuntimeError("I/O error: No space left on device (os error 28)")):
        assert (found := foreseen(error)) is not None
        assert found.code is Code.DISK_FULL
    assert foreseen(RuntimeError("shapes do not match")) is None
