"""`hone runs`, `hone experiments`, `hone checks`: read in tables and as JSON, started, watched and ended by hand."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fixtures_command import at_terminal, environment, hone
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, gateway
from fixtures_loop import MINUTE, ask, awaiting, compared, holder

from agent.cli.run_board import progress_text
from core.clock import HOUR
from core.experiments import Experiments
from core.runs import Runs
from core.types import JsonObject, Role

TRAINING: JsonObject = {
    "stage": "training", "step": 30, "steps": 300, "loss": 1.2345, "tokens_per_second": 1520.4, "eta_seconds": 75.0,
    "at": 9,
}  # fmt: skip


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as started:
        yield started


def environ(running: Gateway, role: Role = Role.OPS) -> dict[str, str]:
    return {"HONE_URL": running.url, "HONE_KEY": running.keys[role]}


def read(running: Gateway, *command: str) -> Any:
    result = hone(*command, "--json", **environ(running))
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def started(running: Gateway, *options: str) -> str:
    result = hone("runs", "start", "--reason", "new products", *options, **environ(running))
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_run_is_started_listed_and_shown(running: Gateway) -> None:
    run_id = started(running, "--method", "sft", "--recipe", '{"steps": 200}')
    [listed] = read(running, "runs", "list")["data"]
    shown = read(running, "runs", "show", run_id)
    assert (listed["id"], listed["requester"]) == (run_id, holder(running))
    assert (shown["method"], shown["recipe"], shown["log"]) == ("sft", {"steps": 200}, [])
    lines = hone("runs", "list", **environ(running)).stdout.splitlines()
    assert lines[0].split()[:3] == ["ID", "STATE", "METHOD"]
    assert lines[1].split()[:3] == [run_id, "requested", "sft"]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--recipe", "steps=3"), 2, "JSON object"),
        (("--recipe", "[1]"), 2, "JSON object"),
        (("--recipe", '{"steps": [1]}'), 2, "recipe.steps"),
        (("--method", "magic"), 2, "sft"),
    ],
)
def test_a_wish_that_makes_no_sense_is_a_usage_error(
    running: Gateway, options: tuple[str, ...], status: int, words: str
) -> None:
    result = hone("runs", "start", "--reason", "x", *options, **environ(running))
    assert (result.returncode, result.stdout) == (status, "")
    assert words in result.stderr
    assert read(running, "runs", "list")["data"] == []


def test_a_second_run_and_a_second_cancel_are_refused_with_3(running: Gateway) -> None:
    run_id = started(running)
    assert hone("runs", "start", "--reason", "one more", **environ(running)).returncode == 3
    cancel = ("runs", "cancel", run_id, "--reason", "wrong data")
    assert hone(*cancel, **environ(running)).stderr == f"hone: run {run_id} is cancelled.\n"
    again = hone(*cancel, **environ(running))
    assert (again.returncode, "has ended already" in again.stderr) == (3, True)
    assert read(running, "runs", "show", run_id)["error"] == "cancelled: wrong data"


def worked(running: Gateway, end: str) -> threading.Thread:
    """A worker that takes the open run up, reports twice, and ends it."""
    runs = Runs(running.parts.store)

    def work() -> None:
        claim = runs.claim("worker", MINUTE)
        assert claim is not None
        runs.report(claim, MINUTE, TRAINING)
        time.sleep(2.5)
        if end == "done":
            runs.finish(claim, CHALLENGER, {"stage": "done"})
        else:
            runs.fail(claim, "nan_loss: lower the learning rate")

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize(("end", "status"), [("done", 0), ("failed", 1)])
def test_a_run_is_followed_to_its_end(running: Gateway, end: str, status: int) -> None:
    run_id = started(running)
    worker = worked(running, end)
    result = hone("runs", "show", "--follow", run_id, "--json", **environ(running))
    worker.join()
    assert result.returncode == status
    assert json.loads(result.stdout)["state"] == end
    lines = result.stderr.splitlines()
    told = "training, step 30 of 300, loss 1.234, 1,520 tokens/s, 1 min 15 s left"
    assert f"hone: Run {run_id} is running: {told}" in lines
    last = f"it gave {CHALLENGER}" if end == "done" else "nan_loss: lower the learning rate"
    assert lines[-1] == f"hone: Run {run_id} is {end}: {last}"


def test_on_a_terminal_progress_is_drawn_in_place(running: Gateway) -> None:
    run_id = started(running)
    worker = worked(running, "done")
    with at_terminal("runs", "show", "-f", run_id, environ=environment(**environ(running))) as terminal:
        terminal.expect("###...........................  10%")
        assert terminal.status() == 0
    worker.join()
    assert CHALLENGER in terminal.seen


def test_the_end_of_the_log_is_shown(running: Gateway) -> None:
    run_id = started(running)
    runs = Runs(running.parts.store)
    claim = runs.claim("worker", HOUR)
    assert claim is not None
    runs.report(claim, HOUR, {"stage": "loading", "log": ["loading", "loaded"]})
    assert hone("runs", "show", run_id, **environ(running)).stdout.endswith("\n\nloading\nloaded\n")


@pytest.mark.parametrize(
    ("progress", "text"),
    [({}, ""), (None, ""), ({"rows": 3}, ""), ({"stage": "loading"}, "loading"),
     ({"stage": "training", "step": 0, "steps": 0, "loss": None}, "training"),
     ({"stage": "training", "step": 1, "steps": 2, "eta_seconds": 3.9}, "training, step 1 of 2, 3 s left")],
)  # fmt: skip
def test_progress_is_told_as_far_as_it_is_known(progress: Any, text: str) -> None:
    assert progress_text(progress) == text


def test_an_experiment_is_listed_shown_and_stopped(running: Gateway) -> None:
    experiment = compared(running)
    comparison: JsonObject = {"metric": "thumbs", "estimate": 0.21, "interval": {"low": 0.08, "high": 0.34}}
    found: JsonObject = {"primary": {"effect": "better", "comparison": comparison}}
    Experiments(running.parts.store).note(experiment.id, found)
    row = hone("experiments", "list", **environ(running)).stdout.splitlines()[1]
    assert row.split()[:6] == [experiment.id, "ab", "running", CHAMPION, CHALLENGER, "10%"]
    text = hone("experiments", "show", experiment.id, **environ(running)).stdout
    assert text.splitlines()[-1].split()[-4:] == ["better", "+0.210", "+0.080", "+0.340"]
    assert read(running, "experiments", "show", experiment.id)["estimate"] == 0.21
    stop = ("experiments", "stop", experiment.id, "--reason", "a complaint")
    assert [hone(*stop, **environ(running)).returncode for _ in range(2)] == [0, 3]
    assert read(running, "experiments", "list")["data"][0]["state"] == "stopped"


def test_checks_are_listed_by_kind(running: Gateway) -> None:
    assert read(running, "checks", "list", "--kind", "drift") == {"data": [], "next": None}
    wrong = hone("checks", "list", "--kind", "weather", **environ(running))
    assert (wrong.returncode, "'drift', 'calibration' or 'explanation'" in wrong.stderr) == (2, True)


def test_status_tells_the_loop_in_sentences(running: Gateway) -> None:
    lines = hone("status", **environ(running)).stdout.splitlines()
    assert lines[:2] == [f"{CHAMPION} is the champion.", "No candidate is on its way."]
    experiment = compared(running)
    run_id = started(running)
    lines = hone("status", **environ(running)).stdout.splitlines()
    assert lines[1:4] == [
        f"Candidate {CHALLENGER} is at ab and waits for the first look of its gate.",
        f"A/B {experiment.id}: 10% of the subjects meet {CHALLENGER}.",
        f"Run {run_id} is requested.",
    ]


def test_status_names_the_command_that_an_approval_waits_for(running: Gateway) -> None:
    awaiting(running)
    text = hone("status", **environ(running)).stdout
    assert f"Candidate {CHALLENGER} is at awaiting approval and waits for a person's approval." in text
    assert f"hone promote approve {CHALLENGER} --reason R" in text
    running.parts.registry.void(CHALLENGER, "the champion changed")
    void = hone("status", **environ(running)).stdout
    assert "waits for new evidence, for its own is void: the champion changed." in void
    assert "hone promote approve" not in void


def test_reviewers_are_denied(running: Gateway) -> None:
    for command in (("runs", "list"), ("experiments", "list"), ("checks", "list"), ("runs", "start", "--reason", "x")):
        assert hone(*command, **environ(running, Role.REVIEWER)).returncode == 4
    assert ask(running, "GET", "/api/runs").json()["data"] == []
