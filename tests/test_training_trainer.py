"""The trainer on tiny bases of foreign shapes: what it leaves, that it repeats itself, and how it fails."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
import torch
from bases import gemma_shaped, kto_rows, llama_shaped, ordered, row, sft_rows, short
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from serving.adapters import CONFIG, WEIGHTS
from serving.artifacts import Artifacts
from training import checkpoints, fit, lora, order, rendering
from training.bell import STOPPED, Bell
from training.checkpoints import Checkpoint
from training.failure import Code
from training.progress import Progress, Stage
from training.rows import DpoExample, Message, Method, SftExample
from training.trainer import DONE, run

BASES = {"llama": llama_shaped, "gemma": gemma_shaped}
PAIRS = [row(DpoExample((Message("user", f"what is {n}?"),), f"{n}, sure.", "no")) for n in range(8)]
ROWS = {Method.SFT: sft_rows(12), Method.KTO: kto_rows([True, False, True, False, False]), Method.DPO: PAIRS}


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BASES[request.param](tmp_path_factory.mktemp("base") / request.param)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama_shaped(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


def read(path: Path) -> dict[str, object]:
    return dict(orjson.loads(path.read_bytes()))


@pytest.mark.parametrize("method", Method)
def test_every_method_trains_every_shape_to_an_adapter_that_the_store_takes(
    base: Path, method: Method, folder: Path
) -> None:
    given = ordered(folder, base, ROWS[method], short(method, ROWS[method]))
    assert run(folder, Bell()) == DONE
    assert {path.name for path in (folder / order.ADAPTER).iterdir()} == {CONFIG, WEIGHTS}
    Artifacts(folder.parent / "artifacts", max_rank=16).add(folder / order.ADAPTER, {})
    tensors = load_file(folder / order.ADAPTER / WEIGHTS)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert all(tensor.any() for name, tensor in tensors.items() if ".lora_B." in name)
    manifest = read(folder / order.MANIFEST)
    assert (manifest["run"], manifest["method"], manifest["dataset"]) == ("one", method, given.dataset_digest)
    assert manifest["recipe"] == given.recipe.to_json()
    assert read(folder / order.PROGRESS)["stage"] == Stage.DONE
    assert not (folder / order.CHECKPOINTS).exists()


def test_a_training_speaks_to_nobody(llama: Path, folder: Path) -> None:
    asked: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching[0] and event in {"socket.getaddrinfo", "socket.connect"}:
            asked.append(f"{event} {arguments}")

    sys.addaudithook(watch)  # it stays for good, so it is told when to look away
    ordered(folder, llama, ROWS[Method.SFT], short(Method.SFT, ROWS[Method.SFT]))
    assert run(folder, Bell()) == DONE
    time.sleep(0.3)
    watching[0] = False
    assert not asked


@pytest.mark.parametrize("method", Method)
def test_what_trl_learns_from_are_the_rendered_tokens(llama: Path, method: Method, tmp_path: Path) -> None:
    renderer, recipe = rendering.load(llama), short(method, ROWS[method])
    rows = [renderer.render(each.example) for each in ROWS[method]][:4]
    model = lora.load_base(llama)
    arguments = fit.arguments(recipe, tmp_path)
    trainer = fit.TRAINERS[method](model, lora.lora(model, recipe), renderer, rows, recipe, arguments)
    batch = next(iter(trainer.get_train_dataloader()))
    learned = batch["labels"] != -100 if method is Method.SFT else batch["completion_mask"] == 1
    wanted = [
        (row.prompt, answer) for place in range(len(rows[0].answers)) for row in rows for answer in [row.answers[place]]
    ]
    found = [
        (ids[seen & ~answer].tolist(), ids[answer].tolist())
        for ids, seen, answer in zip(batch["input_ids"], batch["attention_mask"].bool(), learned, strict=True)
    ]
    assert found == [(list(prompt), list(answer)) for prompt, answer in wanted]


def test_the_same_order_gives_the_same_adapter(llama: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name / "run"
        ordered(folder, llama, ROWS[Method.SFT], short(Method.SFT, ROWS[Method.SFT]))
        assert run(folder, Bell()) == DONE
        made.append({path.name: path.read_bytes() for path in (folder / order.ADAPTER).iterdir()})
    assert made[0] == made[1]


@pytest.mark.slow
def test_killed_and_stopped_it_goes_on_to_the_same_adapter(llama: Path, tmp_path: Path) -> None:
    rows = sft_rows(40)
    recipe = short(Method.SFT, rows, steps=200, checkpoint_every=5, dropout=0.1)
    broken, whole = tmp_path / "broken" / "run", tmp_path / "whole" / "run"
    for place in (broken, whole):
        ordered(place, llama, rows, recipe)
    for share, number, status in (
        (0.1, signal.SIGTERM, STOPPED),
        (0.25, signal.SIGKILL, -9),
        (0.5, signal.SIGKILL, -9),
        (0.75, signal.SIGKILL, -9),
    ):
        assert interrupted(broken, share * recipe.steps, number) == status
        assert not (broken / order.ADAPTER).exists()
    assert run(broken, Bell()) == run(whole, Bell()) == DONE
    assert (broken / order.ADAPTER / WEIGHTS).read_bytes() == (whole / order.ADAPTER / WEIGHTS).read_bytes()
    assert read(broken / order.MANIFEST)["tokens_digest"] == read(whole / order.MANIFEST)["tokens_digest"]


def interrupted(folder: Path, step: float, number: signal.Signals) -> int:
    """Train in a process of its own, which gets a signal at a step; its exit status."""
    with (folder / order.LOG).open("ab") as log:
        command = [sys.executable, "-P", "-m", "training.trainer", str(folder)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            point = read(folder / order.PROGRESS) if (folder / order.PROGRESS).exists() else {"step": 0}
            if point["step"] >= step:  # type: ignore[operator]
                process.send_signal(number)
                break
            time.sleep(0.005)
        return process.wait(timeout=30)
    finally:
        process.kill()


def test_a_checkpoint_without_its_seal_or_for_other_rows_is_thrown_away(tmp_path: Path) -> None:
    for step, digest in ((2, "these"), (4, "these"), (6, "others"), (8, None)):
        path = tmp_path / f"checkpoint-{step}"
        path.mkdir()
        (path / "adapter_model.safetensors").write_bytes(b"...")
        if digest:
            checkpoints.seal(Checkpoint(path, step, seconds=float(step), loss=0.5), digest)
    found = checkpoints.newest(tmp_path, "these")
    assert found is not None
    assert found == Checkpoint(tmp_path / "checkpoint-4", 4, seconds=4.0, loss=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-2", "checkpoint-4"]


def test_killed_before_the_adapter_was_saved_it_trains_no_step_again(llama: Path, tmp_path: Path) -> None:
    renderer, recipe = rendering.load(llama), short(Method.SFT, ROWS[Method.SFT])
    rows = [renderer.render(each.example) for each in ROWS[Method.SFT]]
    made = []
    for name in ("first", "again"):
        progress = Progress(tmp_path / name)
        model, taken = fit.fit(lora.load_base(llama), renderer, rows, recipe, tmp_path / "all", progress, Bell())
        weights = {name: value.clone() for name, value in get_peft_model_state_dict(model).items()}
        made.append((weights, taken))
    (first, taken), (again, later) = made
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert later.loss == taken.loss
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "again").exists()


def test_a_finished_folder_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / order.MANIFEST).write_text("{}")
    assert run(folder, Bell()) == DONE
    assert [path.name for path in folder.iterdir()] == [order.MANIFEST]


def test_a_restart_after_the_training_trains_no_more(llama: Path, folder: Path) -> None:
    ordered(folder, llama, ROWS[Method.SFT], short(Method.SFT, ROWS[Method.SFT]))
    assert run(folder, Bell()) == DONE
    before = (folder / order.ADAPTER / WEIGHTS).stat().st_mtime_ns
    manifest = read(folder / order.MANIFEST)
    for name in (order.MANIFEST, order.EVALUATION):
        (folder / name).unlink()
    assert run(folder, Bell()) == DONE
    again = read(folder / order.MANIFEST)
    assert (folder / order.ADAPTER / WEIGHTS).stat().st_mtime_ns == before
    assert {key: again[key] for key in again if key != "evaluation"} == {
        key: manifest[key] for key in manifest if key != "evaluation"
    }


def test_rows_that_cannot_be_learned_are_left_out_and_counted(tmp_path: Path, folder: Path) -> None:
    refused = SftExample((Message("system", "Be brief."), Message("user", "?")), "!")
    long = SftExample((Message("user", "word " * 100),), "!")
    rows = [*sft_rows(8), row(refused), row(long), row(long)]
    ordered(folder, gemma_shaped(tmp_path / "gemma"), rows, short(Method.SFT, rows))
    assert run(folder, Bell()) == DONE
    metrics = read(folder / order.MANIFEST)["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["left_out"] == {Code.TEMPLATE: 1, Code.TOO_LONG: 2}
    assert metrics["rows"] == 6


def test_an_order_survives_its_file(llama: Path, folder: Path) -> None:
    given = ordered(folder, llama, ROWS[Method.SFT], short(Method.SFT, ROWS[Method.SFT]), champion=folder)
    assert order.read(folder) == given
