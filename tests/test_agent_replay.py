"""Customers: what they ask, how they rate, what is counted; the official client against a stand-in for Hone."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from fixtures_service import KEY, FakeService, serving

from agent.cli.customers import Customers, Customs, Report, Row, check_open, read_rows, summary, user_name, wish
from agent.cli.openai_calls import open_async_client
from core.errors import BadRequest
from core.stats import wilson

CUSTOMS = Customs()


def row(number: int, phase: str = "ordinary", answer: str | None = None) -> Row:
    prompt = f"question {number}"
    message = {"role": "user", "content": prompt}
    return Row(f"{phase}-{number}", phase, f"user {number % 3}", (message,), answer or prompt.upper())


async def play(service: FakeService, rows: Sequence[Row], customs: Customs = CUSTOMS, retries: int = 2) -> Report:
    with serving(service) as url:
        async with open_async_client(url, KEY, retries) as client:
            return await Customers(client, customs).play(rows)


def write(folder: Path, *lines: str) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines))
    return path


GOOD = json.dumps({"id": "a", "phase": "p", "user": "u", "prompt": "q", "answer": "x"})


async def test_each_phase_counts_its_right_answers_with_a_wilson_interval() -> None:
    rows = [row(n) for n in range(7)] + [row(n, answer="unknown") for n in range(7, 10)] + [row(1, "shifted", "no")]
    result = summary(await play(FakeService(), rows))
    interval = wilson(7, 10)
    assert result["phases"] == {
        "ordinary": {"n": 10, "right": 7, "rate": 0.7, "low": interval.low, "high": interval.high},
        "shifted": {"n": 1, "right": 0, "rate": 0.0, "low": 0.0, "high": wilson(0, 1).high},
    }
    assert result["failed"] == 0


async def test_an_answer_that_differs_in_case_spaces_and_punctuation_is_right() -> None:
    report = await play(
        FakeService(answer=lambda _: "  the shop, opens at NINE!"), [row(1, answer="The shop opens at nine.")]
    )
    assert [outcome.right for outcome in report.outcomes] == [True]


async def test_questions_go_out_as_the_contract_says() -> None:
    service = FakeService()
    await play(service, [row(4)])
    assert service.chats == [
        {
            "model": "hone",
            "messages": [{"role": "user", "content": "question 4"}],
            "temperature": 0.0,
            "max_tokens": 64,
            "user": "user 1",
        }
    ]


async def test_every_answer_gets_a_thumb_and_a_wrong_one_the_right_answer() -> None:
    service = FakeService()
    await play(service, [row(1), row(2, answer="something else")], Customs(concurrency=1))
    assert service.ratings == [
        {"response_id": "chatcmpl-1", "name": "thumbs", "value": True, "idempotency": "replay-chatcmpl-1"},
        {
            "response_id": "chatcmpl-2",
            "name": "thumbs",
            "value": False,
            "correction": "something else",
            "idempotency": "replay-chatcmpl-2",
        },
    ]


async def test_only_answers_that_are_asked_about_are_rated_and_corrected() -> None:
    service = FakeService(asks=lambda number: number % 3 == 0)
    report = await play(service, [row(n, answer="wrong") for n in range(30)], Customs(concurrency=1))
    assert [rating["response_id"] for rating in service.ratings] == [f"chatcmpl-{n}" for n in range(3, 31, 3)]
    assert all(rating["correction"] == "wrong" for rating in service.ratings)
    result = summary(report)
    assert (result["asked"], result["rated"], result["corrected"]) == (10, 10, 10)


async def test_the_rate_is_the_probability_of_a_thumb_given_that_it_was_asked_for() -> None:
    service = FakeService(asks=lambda number: number % 2 == 0)
    result = summary(await play(service, [row(n) for n in range(400)], Customs(rate=0.5)))
    assert result["asked"] == 200
    assert abs(int(str(result["rated"])) - 100) < 4 * (200 * 0.25) ** 0.5
    assert len(service.ratings) == result["rated"]


async def test_with_rate_nought_nobody_says_a_word() -> None:
    service = FakeService()
    await play(service, [row(n, answer="wrong") for n in range(20)], Customs(rate=0))
    assert (len(service.chats), service.ratings) == (20, [])


async def test_with_correct_nought_thumbs_carry_no_correction() -> None:
    service = FakeService()
    await play(service, [row(n, answer="wrong") for n in range(5)], Customs(correct=0))
    assert [rating.get("correction") for rating in service.ratings] == [None] * 5


async def test_who_rates_follows_from_the_seed_and_not_from_the_order_of_answers() -> None:
    rows = [row(n) for n in range(60)]

    async def rated(customs: Customs) -> Counter[str]:
        service = FakeService()
        await play(service, rows, customs)
        asked = {f"chatcmpl-{n}": chat["messages"][0]["content"] for n, chat in enumerate(service.chats, start=1)}
        return Counter(asked[rating["response_id"]] for rating in service.ratings)

    half = Customs(rate=0.5, seed=7, concurrency=1)
    first = await rated(half)
    assert first == await rated(replace(half, concurrency=16))
    assert first != await rated(replace(half, seed=8))


def test_wishes_come_true_as_often_as_the_shares_say() -> None:
    wishes = [wish(Customs(rate=0.3, correct=0.5), row(n), 1) for n in range(5000)]
    rates, corrects = sum(w.rates for w in wishes), sum(w.corrects for w in wishes)
    assert abs(rates / 5000 - 0.3) < 0.03
    assert abs(corrects / rates - 0.5) < 0.06


async def test_each_repetition_brings_new_customers_who_decide_anew() -> None:
    service = FakeService()
    await play(service, [row(0), row(1)], Customs(repeat=3, concurrency=1))
    users = [chat["user"] for chat in service.chats]
    assert users == ["user 0", "user 1", "user 0#2", "user 1#2", "user 0#3", "user 1#3"]
    assert user_name(row(0), 1) == "user 0"
    assert len({wish(Customs(rate=0.5), row(0), time).rates for time in range(1, 20)}) == 2


async def test_versions_are_told_apart_where_the_key_may_see_them() -> None:
    seen = summary(await play(FakeService(version="tiny-1"), [row(1)]))
    unseen = summary(await play(FakeService(), [row(1)]))
    assert list(seen["versions"]) == ["tiny-1"]  # type: ignore[call-overload]
    assert list(unseen["versions"]) == ["hone"]  # type: ignore[call-overload]


async def test_a_call_that_the_client_repeated_with_success_has_not_failed() -> None:
    report = await play(FakeService(failing=2), [row(1), row(2)], Customs(concurrency=1))
    assert (report.failed, len(report.outcomes)) == (0, 2)


async def test_calls_that_fail_for_good_are_counted_and_the_rest_goes_on() -> None:
    report = await play(FakeService(failing=1), [row(1), row(2)], Customs(concurrency=1), retries=0)
    assert (report.failed, len(report.outcomes)) == (1, 1)
    assert report.failure == "ordinary-1: try again"


async def test_a_rating_that_was_not_stored_counts_as_failed() -> None:
    report = await play(FakeService(feedback_fails=True), [row(1)], retries=0)
    assert report.failed == 1


async def test_no_more_customers_ask_at_a_time_than_wished() -> None:
    now, most = 0, 0

    class Counting(Customers):
        async def _one(self, row: Row, number: int) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1

    async with openai.AsyncOpenAI(base_url="http://127.0.0.1:9", api_key="none") as client:
        await Counting(client, Customs(concurrency=5)).play([row(n) for n in range(40)])
    assert most == 5


async def test_a_wrong_key_is_noticed_before_the_start() -> None:
    with serving(FakeService()) as url:
        async with open_async_client(url, "hone_user_wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await check_open(client)


def test_a_conversation_is_played_as_it_stands(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    line = json.dumps({"id": "a", "phase": "p", "user": "u", "messages": messages, "answer": "x", "topic": "more"})
    assert read_rows(write(tmp_path, line), []) == [Row("a", "p", "u", tuple(messages), "x")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"id":"b"}', "'phase' must be a text"),
        ('{"id":"b","phase":"p","user":"u","prompt":"q"}', "'answer' must be a text"),
        ('{"id":"b","phase":"p","user":7,"prompt":"q","answer":"x"}', "'user' must be a text"),
        ('{"id":"b","phase":"p","user":"u","answer":"x"}', "either 'prompt' or 'messages'"),
        ('{"id":"b","phase":"p","user":"u","prompt":"q","messages":[],"answer":"x"}', "either 'prompt' or 'messages'"),
        ('{"id":"b","phase":"p","user":"u","messages":[{"role":"user"}],"answer":"x"}', "'role' and a 'content'"),
        (GOOD, "id 'a' was used before"),
    ],
)
def test_a_malformed_row_is_refused_by_line_and_reason(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(BadRequest, match=rf"line 3: .*{reason}"):
        read_rows(write(tmp_path, GOOD, "", line), [])


def test_phases_are_chosen_by_name_and_unknown_ones_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, GOOD.replace('"a"', '"b"').replace('"p"', '"q"'))
    assert [row.id for row in read_rows(path, ["q"])] == ["b"]
    with pytest.raises(BadRequest, match="no phase 'r'; it has p, q"):
        read_rows(path, ["r"])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"none\.jsonl cannot be read: No such file"):
        read_rows(tmp_path / "none.jsonl", [])
