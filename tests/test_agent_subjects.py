"""DELETE /api/subjects: the words go while the service goes on, and what is said afterwards is kept whole."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fixtures_command import hone as command
from fixtures_gateway import CHALLENGER, Gateway, eventually, gateway, model, over
from test_core_erasure import bytes_of

from core import audit, erasure
from core.lifecycle import Mover, Stage
from core.types import Arm, Interaction, Role
from serving.fake import FakeEngine, Knobs

ALICE, BOB = "alice", "bob"


@contextmanager
def telling(folder: Path, **options: Any) -> Iterator[Gateway]:
    """A gateway to whom Alice and Bob said something, whose engine repeats what it is told."""
    engine = options.pop("engine", None) or FakeEngine(answer=lambda _, text: f"You said: {text}")
    with gateway(folder, engine=engine, **options) as hone:
        for user in (ALICE, BOB):
            for number in range(3):
                say(hone, user, f"{user} told {number}")
            rate(hone, say(hone, user, f"{user} asks"), f"{user} would say")
        yield hone


def say(hone: Gateway, user: str, *texts: str, role: Role = Role.USER, **body: Any) -> Interaction:
    turns = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    with hone.http(role) as http:
        answer = http.post("/v1/chat/completions", json={"model": "hone", "messages": turns, "user": user, **body})
    assert answer.status_code == 200
    return hone.row(answer.json()["id"])


def rate(hone: Gateway, answer: Interaction, text: str) -> None:
    words = {"response_id": f"chatcmpl-{answer.id}", "name": "thumbs", "value": False, "correction": text}
    with hone.http() as http:
        assert http.post("/v1/feedback", json=words).status_code == 201


def subject(hone: Gateway, user: str) -> str:
    key = next(row.key_id for row in hone.rows())
    return hone.parts.secret.subject(key, user)


def erase(hone: Gateway, who: str, role: Role = Role.OPS) -> Any:
    with hone.http(role) as http:
        return http.delete(f"/api/subjects/{who}")


def test_the_words_are_gone_from_every_file_and_the_others_are_not(tmp_path: Path) -> None:
    with telling(tmp_path) as hone:
        assert b"alice told" in bytes_of(tmp_path)
        answer = erase(hone, subject(hone, ALICE))
        assert answer.status_code == 200
        assert answer.json() == {
            "id": subject(hone, ALICE), "interactions": 4, "feedback": 1, "messages": 8, "datasets": [], "versions": [],
        }  # fmt: skip
        raw = bytes_of(tmp_path)
        for word in (b"alice told", b"alice asks", b"alice would", b"You said: alice"):
            assert word not in raw
            assert word.replace(b"alice", b"bob") in raw
        mine = [row for row in hone.rows() if row.subject == subject(hone, ALICE)]
        assert len(mine) == 4
        assert not any(row.messages or row.reply for row in mine)
        again = erase(hone, subject(hone, ALICE)).json()
        assert (again["interactions"], again["feedback"], again["messages"]) == (0, 0, 0)
        with hone.parts.store.read() as conn:
            rows = [row for row in audit.page(conn).items if row.action == erasure.ACTION]
        assert len(rows) == 1
        with hone.http(Role.OPS) as http:
            ops = next(key["id"] for key in http.get("/api/keys").json()["data"] if key["role"] == "ops")
        assert rows[0].actor == ops
        assert audit.verify(hone.parts.store).ok


@pytest.mark.parametrize(("role", "status"), [(Role.USER, 403), (Role.REVIEWER, 403), (Role.OPS, 404)])
def test_only_operators_erase_and_only_subjects_that_there_are(tmp_path: Path, role: Role, status: int) -> None:
    with gateway(tmp_path) as hone:
        assert erase(hone, "f" * 64, role).status_code == status


def test_what_is_said_again_is_kept_whole_by_every_gateway(tmp_path: Path) -> None:
    """Each remembers which messages the ledger has; the one that erases is not the one that answers next."""
    with telling(tmp_path) as first, over(first.parts.settings, first.engine) as second:
        assert eventually(second.ready, 10)
        theirs = first.rows()[0].key_id
        with ExitStack() as stack:
            http = stack.enter_context(second.http())
            http.headers["authorization"] = f"Bearer {first.keys[Role.USER]}"

            def say_there(text: str) -> Interaction:
                body = {"model": "hone", "user": ALICE, "messages": [{"role": "user", "content": text}]}
                return second.row(http.post("/v1/chat/completions", json=body).json()["id"])

            known = say_there("alice told 0")
            assert known.key_id == theirs
            assert erase(first, subject(first, ALICE)).status_code == 200
            after = say_there("alice told 0")
        assert [message["content"] for message in after.messages] == ["alice told 0"]
        assert after.reply == {"role": "assistant", "content": "You said: alice told 0"}
        old = second.parts.ledger.interaction(known.id)
        assert old is not None
        assert (old.messages, old.reply) == ((), None)


def test_a_conversation_goes_on_after_its_subject_was_erased(tmp_path: Path) -> None:
    with telling(tmp_path) as hone:
        erase(hone, subject(hone, ALICE))
        row = say(hone, ALICE, "alice told 0", "You said: alice told 0", "And now?")
        assert [message["content"] for message in row.messages] == [
            "alice told 0", "You said: alice told 0", "And now?",
        ]  # fmt: skip


def test_a_call_that_was_to_be_mirrored_is_not_once_its_subject_is_erased(tmp_path: Path) -> None:
    engine = FakeEngine(answer=lambda _, text: f"You said: {text}", knobs={CHALLENGER: Knobs(first_token=0.8)})
    with telling(tmp_path, engine=engine, settings={"shadow": {"share": 1.0}}) as hone:
        registry = hone.parts.registry
        engine.loaded[CHALLENGER] = ""
        registry.register(model(CHALLENGER, "1" * 64), "test")
        registry.advance(CHALLENGER, Stage.SHADOW, mover=Mover.MONITORING, actor="test", reason="a test")
        assert eventually(lambda: hone.parts.plans.current().shadow)
        say(hone, ALICE, "alice is quick")
        assert eventually(lambda: engine.calls[-1].body["model"] == CHALLENGER)
        assert erase(hone, subject(hone, ALICE)).status_code == 200
        assert eventually(lambda: engine.running == 0)
        time.sleep(0.3)
        assert not [row for row in hone.rows() if row.arm is Arm.SHADOW]
        assert b"alice" not in bytes_of(tmp_path)


def test_rows_that_wait_in_the_spool_hold_an_erasure_up(tmp_path: Path) -> None:
    with telling(tmp_path) as hone:
        waiting = hone.parts.settings.data / "spool" / "9-left.jsonl"
        waiting.write_bytes(b"alice told somebody who died\n")
        answer = erase(hone, subject(hone, ALICE))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert b"alice told" in bytes_of(tmp_path)
        waiting.unlink()
        assert erase(hone, subject(hone, ALICE)).status_code == 200


def test_the_service_goes_on_while_subjects_are_erased(tmp_path: Path) -> None:
    with telling(tmp_path) as hone:
        for number in range(5):
            started = time.monotonic()
            say(hone, BOB, f"bob goes on {number}")
            assert time.monotonic() - started < 1
            say(hone, ALICE, f"alice goes on {number}")
            assert erase(hone, subject(hone, ALICE)).json()["interactions"] > 0
        assert hone.parts.writer.stats().spooled == 0


def test_the_command_erases_with_a_key_or_with_permission_on_the_folder(tmp_path: Path) -> None:
    with telling(tmp_path) as hone:
        data, remote = hone.parts.settings.data, {"HONE_URL": hone.url, "HONE_KEY": hone.keys[Role.OPS]}
        who, other = subject(hone, ALICE), subject(hone, BOB)
        said = command("subjects", "erase", who, **remote)
        assert said.stdout == f"{who}: 4 interactions, 8 messages, 1 feedback lost their words; " \
                              "no version was trained on them.\n", said.stderr  # fmt: skip
        assert command("subjects", "erase", "nobody", **remote).returncode == 1
        here = command("subjects", "erase", other, "--json", HONE_DATA=str(data))
        assert json.loads(here.stdout)["interactions"] == 4
        assert b"bob told" not in bytes_of(tmp_path)
