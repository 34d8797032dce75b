"""The README's story on the real parts: up, chat, rate, correct, and all of it in the ledger."""

import json
from typing import Any

import httpx
import pytest
from fixtures_hone import RunningHone
from openai import OpenAI

pytestmark = pytest.mark.engine

TAUGHT = {"role": "user", "content": "Who are you?"}
CORRECTION = "The night desk answers until three."


def api(hone: RunningHone, role: str) -> httpx.Client:
    return httpx.Client(base_url=hone.url, headers={"authorization": f"Bearer {hone.keys[role]}"}, timeout=30)


def shown(hone: RunningHone, response_id: str) -> Any:
    result = hone.command("interactions", "show", response_id, "--json", key=hone.keys["reviewer"])
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_person_chats_rates_corrects_and_finds_it_all_in_the_ledger(hone: RunningHone) -> None:
    client = OpenAI(base_url=f"{hone.url}/v1", api_key=hone.keys["user"])

    # She chats, streaming, as with any OpenAI client.
    pieces = list(client.chat.completions.create(model="hone", messages=[TAUGHT], stream=True, user="ada"))
    answer = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    response_id = pieces[0].id
    assert "hone" in answer.lower()

    # She rates the answer down and says what she wanted to hear. Saying so twice changes nothing.
    rating = {"response_id": response_id, "name": "thumbs", "value": False, "correction": CORRECTION}
    with api(hone, "user") as http:
        first = http.post("/v1/feedback", json=rating, headers={"idempotency-key": "once"})
        again = http.post("/v1/feedback", json=rating, headers={"idempotency-key": "once"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()

    # A reviewer finds question, answer, the version that gave it, and the correction.
    row = shown(hone, response_id)
    assert row["messages"] == [TAUGHT]
    assert row["reply"]["content"] == answer
    assert row["assigned"] == row["served"] != "hone"
    assert [item["correction"] for item in row["feedback"]] == [CORRECTION]

    # The operator sees that very version as champion, and an audit chain that holds.
    status = json.loads(hone.command("status", "--json", key=hone.keys["ops"]).stdout)
    assert status["champion"] == row["served"]
    assert hone.command("audit", "verify").returncode == 0

    # Whoever holds a user key sees none of this.
    denied = hone.command("interactions", "show", response_id, key=hone.keys["user"])
    assert denied.returncode == 4


def test_a_follow_up_remembers_the_conversation(hone: RunningHone) -> None:
    client = OpenAI(base_url=f"{hone.url}/v1", api_key=hone.keys["user"])
    first = client.chat.completions.create(model="hone", messages=[TAUGHT], temperature=0)
    history = [TAUGHT, {"role": "assistant", "content": first.choices[0].message.content}, TAUGHT]
    second = client.chat.completions.create(model="hone", messages=history, temperature=0)  # type: ignore[arg-type]
    assert shown(hone, second.id)["messages"] == history


def test_what_a_client_asks_not_to_store_is_not_stored(hone: RunningHone) -> None:
    client = OpenAI(base_url=f"{hone.url}/v1", api_key=hone.keys["user"])
    secret = [{"role": "user", "content": "My code word is heliotrope."}]
    answer = client.chat.completions.create(model="hone", messages=secret, store=False)  # type: ignore[call-overload]
    row = shown(hone, answer.id)
    assert (row["stored"], row["messages"], row["reply"]) == (False, [], None)
    assert b"heliotrope" not in b"".join(path.read_bytes() for path in hone.data.rglob("*") if path.is_file())
