"""The worker: from a request to a candidate, and what is left of it wherever it is cut off."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from fixtures_serving import write_model
from rows import wait_until
from sqlalchemy import Connection, update
from stand_in_trainer import STARTS, STEPS
from training_place import Place, stand_in, words

from core import schema, states
from core.clock import SECOND
from core.datasets import Datasets
from core.errors import LeaseLost
from core.lifecycle import Stage
from core.runs import Runs, hold
from core.store import Store
from core.types import Run, RunState
from serving.base import BUILT_IN
from training import order
from training.failure import Code
from training.hold import Hold
from training.worker import ATTEMPTS, Worker

SCRIPT = Path(__file__).parent / "training_place.py"


class Cut(BaseException):
    """A worker's sudden death."""


class CuttingStore(Store):
    """Dies in the n-th write transaction of the main thread, before or after it commits."""

    def __init__(self, store: Store, number: int, *, committed: bool) -> None:
        super().__init__(store.engine)
        self._left = number
        self._committed = committed

    @contextmanager
    def write(self) -> Iterator[Connection]:
        counts = threading.current_thread() is threading.main_thread()
        self._left -= counts
        with super().write() as conn:
            yield conn
            if counts and self._left == 0 and not self._committed:
                raise Cut
        if counts and self._left == 0:
            raise Cut


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Iterator[Place]:
    opened = Place.open(tmp_path, sqlite_url, write_model(tmp_path / "model"))
    opened.rate(words(40))
    yield opened
    opened.store.close()


def starts(place: Place, run: Run) -> list[list[str]]:
    """How far each trainer of a run found the training, and on which dataset."""
    return [line.split() for line in (place.folder(run) / STARTS).read_text().splitlines()]


def stages_seen(place: Place, run: Run, until: Callable[[Run], bool]) -> Run:
    wait_until(lambda: until(place.runs.find(run.id)), 30)
    return place.runs.find(run.id)


def reaches(stage: str, step: int = 0) -> Callable[[Run], bool]:
    def reached(run: Run) -> bool:
        return run.progress.get("stage") == stage and int(str(run.progress.get("step") or 0)) >= step

    return reached


def start(place: Place, behaviour: str) -> subprocess.Popen[bytes]:
    """A worker in a process of its own."""
    settings = place.settings
    arguments = [str(settings.data), settings.database_url, settings.engine.model, behaviour]
    return subprocess.Popen([sys.executable, str(SCRIPT), *arguments], stderr=subprocess.DEVNULL)


def trainer_of(place: Place, run: Run) -> int:
    """The process group of a run's trainer."""
    record = next(place.folder(run).glob("process-*.json"))
    return int(orjson.loads(record.read_bytes())["pgid"])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_a_request_becomes_a_candidate_of_the_champion(place: Place) -> None:
    run = place.train()
    assert (run.state, run.error) == (RunState.DONE, None)
    (model,) = place.candidates()
    plan = place.registry.plan()
    assert plan is not None
    assert (model.id, model.stage, model.run, model.parent) == (run.model, Stage.CANDIDATE, run.id, plan.champion)
    assert model.manifest["dataset"] == run.dataset
    assert (run.progress["stage"], run.progress["steps"]) == ("done", STEPS)


def test_what_the_folder_and_the_row_hold_has_no_word_of_a_customer(place: Place) -> None:
    given = words(30, seed=7)
    place.rate(given)
    run = place.train()
    texts = [str(call.messages[0]["content"]) for call, _ in given] + [str(word.correction) for _, word in given]
    files = [path.read_bytes() for path in place.folder(run).rglob("*") if path.is_file()]
    kept = b"".join(files) + orjson.dumps(run) + b"".join(orjson.dumps(model) for model in place.candidates())
    learned = b"".join(path.read_bytes() for path in (place.settings.data / "datasets").rglob("rows.jsonl"))
    assert all(text.encode() in learned for text in texts)
    assert run.id.encode() in kept
    assert not [text for text in texts if text.encode() in kept]


def test_words_that_a_trainer_dies_with_stay_in_its_log(place: Place) -> None:
    run = place.train("odd")
    assert run.state is RunState.FAILED
    assert run.error is not None and "exit status 70" in run.error and order.LOG in run.error
    assert "words of a customer" in (place.folder(run) / order.LOG).read_text()
    assert "words of a customer" not in run.error + str(run.progress)


@pytest.mark.parametrize("code", [Code.DISK_FULL, Code.NAN_LOSS])
def test_a_foreseen_failure_is_the_error_of_the_run(place: Place, code: Code) -> None:
    run = place.train(code)
    assert (run.state, run.error) == (RunState.FAILED, "It went wrong. Do something.")
    assert place.candidates() == []


def test_a_trainer_that_was_killed_starts_again(place: Place) -> None:
    run = place.train("killed once")
    assert run.state is RunState.DONE
    assert len(place.candidates()) == 1


def test_a_trainer_that_is_killed_again_and_again_fails_the_run(place: Place) -> None:
    run = place.train("killed")
    assert run.state is RunState.FAILED
    assert run.error is not None and "killed 4 times (signal 9)" in run.error


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("nan", "no numbers"),
        ("rank 32", "The adapter's rank is 32; the engine takes 1 to 16"),
        ("pickle", "adapter_model.bin has no place"),
        ("linked", "no whole adapter"),
        ("foreign", "not that of the base's layer"),
        ("empty", "no whole adapter"),
    ],
)
def test_a_broken_adapter_is_refused_with_the_reason(place: Place, behaviour: str, reason: str) -> None:
    before = place.artifacts()
    run = place.train(behaviour)
    assert run.state is RunState.FAILED
    assert run.error is not None and reason in run.error
    assert place.candidates() == []
    assert place.artifacts() == before


def test_a_base_that_is_gone_fails_the_run_and_not_the_worker(place: Place) -> None:
    (place.settings.data / "model").rename(place.settings.data / "elsewhere")
    run = place.train()
    assert run.state is RunState.FAILED
    assert run.error is not None and "does not exist; set HONE_MODEL" in run.error


def test_a_base_that_was_changed_fails_the_run(place: Place) -> None:
    worker = place.worker()
    write_model(place.settings.data / "model", seed=1)
    run = place.ask()
    worker.step()
    assert "is being served" in str(place.runs.find(run.id).error)
    assert place.candidates() == []


def test_too_little_data_says_how_much_there_is_and_what_to_do(place: Place, tmp_path: Path) -> None:
    more = Place.open(place.settings.data, place.settings.database_url, tmp_path / "model", min_rows=120)
    run = more.train()
    assert run.state is RunState.FAILED
    assert str(run.error).startswith("40 of 120 usable rows over 40 of 3 topics; gather more ratings, or lower")
    assert run.dataset is None
    more.store.close()


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [({"rank": 64}, "engine.max_lora_rank"), ({"steps": 0}, "recipe.steps"), ({"x": 1}, "recipe.x")],
)
def test_a_recipe_that_cannot_be_fails_the_run(place: Place, recipe: dict[str, int], reason: str) -> None:
    run = place.train("good", "sft", **recipe)
    assert run.state is RunState.FAILED
    assert reason in str(run.error)


def test_one_sided_thumbs_fail_a_run_by_kto(place: Place) -> None:
    run = place.train("good", "kto")
    assert run.state is RunState.FAILED
    assert "KTO needs liked and disliked answers" in str(run.error)


@pytest.mark.parametrize(("number", "committed"), [*((number, False) for number in range(2, 10)), (8, True), (9, True)])
def test_cut_off_at_any_write_the_next_worker_makes_one_candidate(place: Place, number: int, committed: bool) -> None:
    run = place.ask()
    cut = CuttingStore(place.store, number, committed=committed)
    with pytest.raises(Cut):
        Worker(place.settings, cut, place.secret, stand_in(), lease=1).step()
    before = place.runs.find(run.id)
    assert place.worker().step() is (number < 9 or not committed)
    after = place.runs.find(run.id)
    assert after.state is RunState.DONE
    assert [model.id for model in place.candidates()] == [after.model]
    assert before.dataset in (None, after.dataset)
    assert len(place.artifacts()) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "behaviour", "step"), [("training", "slow", 5), ("evaluating", "slow evaluation", 0)]
)
def test_a_killed_worker_takes_its_trainer_along_and_the_next_one_goes_on(
    place: Place, stage: str, behaviour: str, step: int
) -> None:
    run = place.ask()
    process = start(place, behaviour)
    stages_seen(place, run, reaches(stage, step))
    trainer = trainer_of(place, run)
    process.kill()
    process.wait()
    wait_until(lambda: not alive(trainer), 5)
    before = place.runs.find(run.id)
    assert before.state is RunState.RUNNING
    wait_until(lambda: place.worker().step() and place.runs.open() is None, 30)
    after = place.runs.find(run.id)
    assert (after.state, after.dataset) == (RunState.DONE, before.dataset)
    assert [model.id for model in place.candidates()] == [after.model]
    first, second = starts(place, run)
    assert first == ["0", after.dataset]
    assert int(second[0]) >= step


@pytest.mark.slow
def test_sigterm_leaves_the_run_to_the_next_worker_at_once(place: Place) -> None:
    run = place.ask()
    process = start(place, "slow")
    stages_seen(place, run, reaches("training", 2))
    trainer = trainer_of(place, run)
    process.terminate()
    assert process.wait(10) == 0
    assert not alive(trainer)
    left = place.runs.find(run.id)
    assert (left.state, left.attempts) == (RunState.RUNNING, 0)
    assert place.worker().step()
    assert place.runs.find(run.id).state is RunState.DONE


@pytest.mark.slow
def test_a_cancelled_run_ends_its_trainer_within_two_seconds_and_leaves_nothing(place: Place) -> None:
    before = place.artifacts()
    run = place.ask()
    process = start(place, "slow")
    stages_seen(place, run, reaches("training", 2))
    trainer = trainer_of(place, run)
    place.runs.cancel(run.id, "me", "not needed")
    cancelled = time.monotonic()
    wait_until(lambda: not alive(trainer), 5)
    assert time.monotonic() - cancelled < 2
    wait_until(lambda: not (place.folder(run) / order.CHECKPOINTS).exists(), 5)
    process.terminate()
    assert process.wait(10) == 0
    assert place.runs.find(run.id).state is RunState.CANCELLED
    assert place.candidates() == []
    assert place.artifacts() == before


@pytest.mark.slow
def test_of_two_workers_one_trains(place: Place) -> None:
    run = place.ask()
    processes = [start(place, "slow") for _ in range(2)]
    stages_seen(place, run, lambda run: run.state is RunState.DONE)
    for process in processes:
        process.terminate()
        assert process.wait(10) == 0
    assert len(starts(place, run)) == 1
    assert len(place.candidates()) == 1


@pytest.mark.slow
def test_a_frozen_worker_that_wakes_up_leaves_the_run_alone(place: Place) -> None:
    run = place.ask()
    frozen = start(place, "slow")
    stages_seen(place, run, reaches("training", 2))
    frozen.send_signal(signal.SIGSTOP)
    wait_until(lambda: place.worker().step() and place.runs.open() is None, 30)
    frozen.send_signal(signal.SIGCONT)
    frozen.terminate()
    assert frozen.wait(10) == 0
    after = place.runs.find(run.id)
    assert after.state is RunState.DONE
    assert [model.id for model in place.candidates()] == [after.model]
    assert after.attempts == 2


def test_a_dataset_that_lost_rows_is_made_again(place: Place) -> None:
    run = place.ask()
    with pytest.raises(Cut):
        Worker(place.settings, CuttingStore(place.store, 5, committed=True), place.secret, stand_in(), lease=1).step()
    first = place.runs.find(run.id).dataset
    assert first is not None
    Datasets(place.settings.data / "datasets").erase(first, {0})
    (call, word), *_ = words(1, seed=9)
    place.rate([(call, word)])
    place.worker().step()
    after = place.runs.find(run.id)
    assert after.state is RunState.DONE
    assert after.dataset not in (None, first)
    assert [start[1] for start in starts(place, run)] == [after.dataset]


def test_a_dataset_that_the_trainer_finds_spoiled_is_looked_at_again(place: Place) -> None:
    run = place.train(Code.DATASET)
    assert run.state is RunState.DONE
    assert len(place.candidates()) == 1


def test_a_run_that_workers_die_of_fails_in_the_end(place: Place) -> None:
    run = place.ask()
    with place.store.write() as conn:
        conn.execute(update(schema.runs).values(attempts=ATTEMPTS))
    place.worker().step()
    after = place.runs.find(run.id)
    assert after.state is RunState.FAILED
    assert "logs/training.log" in str(after.error)


def test_folders_of_old_runs_go_and_ended_ones_keep_no_checkpoints(place: Place, tmp_path: Path) -> None:
    few = Place.open(place.settings.data, place.settings.database_url, tmp_path / "model", keep_runs=2)
    runs = [few.train(behaviour) for behaviour in ("good", "odd", "nan")]
    kept = sorted(path.name for path in (few.settings.data / "runs").iterdir())
    assert kept == sorted(run.id for run in runs[1:])
    assert not list((few.settings.data / "runs").glob(f"*/{order.CHECKPOINTS}"))
    few.store.close()


def test_what_was_told_last_is_reported_again_and_again(place: Place) -> None:
    run = place.ask()
    claim = place.runs.claim("one", 2 * SECOND)
    assert claim is not None
    with Hold(place.runs, claim, 2 * SECOND) as held:
        for step in (1, 2):
            held.note({"stage": "training", "step": step})
            stages_seen(place, run, reaches("training", step))
        time.sleep(2.5)
        assert place.runs.claim("two", SECOND) is None
        place.runs.cancel(run.id, "me", "no")
        wait_until(lambda: held.lost, 5)
        with pytest.raises(LeaseLost):
            held.note({})


def test_what_is_handed_back_is_free_at_once_and_held_by_nobody(place: Place) -> None:
    place.ask()
    runs = Runs(place.store)
    claim = runs.claim("one", 60 * SECOND)
    assert claim is not None
    assert runs.claim("two", 60 * SECOND) is None
    runs.hand_back(claim)
    second = runs.claim("two", 60 * SECOND)
    assert second is not None and second.run.attempts == 1
    with pytest.raises(LeaseLost):
        runs.hand_back(claim)
    with pytest.raises(LeaseLost), place.store.write() as conn:
        hold(conn, claim)
    with place.store.write() as conn:
        hold(conn, second)


def test_without_a_champion_the_run_says_what_to_start(tmp_path: Path, sqlite_url: str) -> None:
    place = Place.open(tmp_path, sqlite_url, write_model(tmp_path / "model"))
    place.rate(words(30))
    with place.store.write() as conn:
        conn.execute(schema.plan.delete())
    run = place.train()
    assert "There is no champion yet" in str(run.error)
    place.store.close()


def test_the_worker_process_loads_no_torch() -> None:
    code = "import training.__main__, training.worker, sys; print(*{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "sqlalchemy" in result.stdout
    assert not {"torch", "transformers", "peft", "trl"} & set(result.stdout.split())


def test_the_process_publishes_what_there_is_and_ends_on_sigterm(place: Place, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[training]\nmay_train = "all"\n')
    chosen = {"HONE_CONFIG": str(tmp_path / "config.toml"), "HONE_DATA": str(tmp_path), "HONE_MODEL": "hone-tiny"}
    process = subprocess.Popen([sys.executable, "-P", "-m", "training"], env=os.environ | chosen)
    wait_until(lambda: published(place.store) is not None, 30)
    process.terminate()
    assert process.wait(10) == 0
    found = published(place.store)
    assert found is not None and found.body["says"] == "40 of 120 usable rows over 40 of 3 topics"


def published(store: Store) -> states.State | None:
    with store.read() as conn:
        return states.read(conn, states.YIELD)


@pytest.mark.slow
def test_with_the_real_trainer_hone_tiny_gets_a_candidate(tmp_path: Path, sqlite_url: str) -> None:
    skills = (BUILT_IN / "oldskills.jsonl").read_text().splitlines()[:10]
    (tmp_path / "skills.jsonl").write_text("\n".join(skills))
    place = Place.open(tmp_path, sqlite_url, "hone-tiny", old_skills=str(tmp_path / "skills.jsonl"), memory_gib=0)
    place.rate(words(24))
    run = place.train(None, "sft", steps=2)
    assert (run.state, run.error) == (RunState.DONE, None)
    (model,) = place.candidates()
    evaluation = model.manifest["evaluation"]
    assert isinstance(evaluation, dict)
    assert len(evaluation["old_skills"]["pairs"]) == 10
    assert evaluation["held_out"]["candidate"]["n"] > 0
    assert {"recipe", "tokens_digest", "libraries", "metrics"} <= set(model.manifest)
    log = run.progress["log"]
    assert isinstance(log, list) and any("step 2 of 2" in line for line in log)
    place.store.close()
