"""Scores of given answers: the numbers that the engine gave when it wrote them, its own word on them, what it says when
it is asked again; and none where there can be none."""

import asyncio
import math
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import uvicorn
from fixtures_serving import RealEngine, greedy
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import EngineFailed, EngineUnavailable
from core.types import JsonObject, Version
from serving.client import EngineClient
from serving.fake_bytes import CHAT
from serving.scoring import DOUBT, PRIORITY, SLACK, WORDS, Scored, Scorer, believed, scored

V = Version("m-0")
ASKED = [{"role": "user", "content": "ab"}]


@dataclass
class Tokenising:
    """The paths of an engine that scoring needs: a character is a token, and `logprobs` says what each is worth.

    The template puts two tokens before a turn and one behind every finished one.
    """

    logprobs: dict[str, float | None] = field(default_factory=dict)
    status: int = 200
    seen: list[dict[str, Any]] = field(default_factory=list)
    form: str = "prompt_logprobs"
    says: list[str | None] = field(default_factory=list)
    """What is said when the engine is asked again."""

    async def tokenize(self, request: Request) -> Response:
        body = await request.json()
        if body["model"] != V:
            return JSONResponse({"error": {"message": "no such model"}}, 404)
        if "messages" in body:
            assert body["add_generation_prompt"] is True
            text = "".join(f"<>{message['content']}|" for message in body["messages"]) + "<>"
        else:
            assert body["add_special_tokens"] is False
            text = body["prompt"]
        return JSONResponse({"tokens": [ord(char) for char in text]})

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append(body)
        if self.status != 200:
            return JSONResponse({"error": {"message": "too long"}}, self.status)
        if wanted := body.get("logprob_token_ids"):
            top = {f"token_id:{token}": self.logprobs.get(chr(token), -1.0) for token in wanted}
            form = "logprobs" if self.form == "prompt_logprobs" else self.form
            return Response(orjson.dumps({"choices": [{form: {"top_logprobs": [top]}}]}))
        entries: list[Any] = [None]
        for token in body["prompt"][1:]:
            entries.append({str(token): {"logprob": self.logprobs.get(chr(token), -1.0), "rank": 1}})
        return Response(orjson.dumps({"choices": [{self.form: entries}]}))

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append(body)
        if self.status != 200:
            return JSONResponse({"error": {"message": "too long"}}, self.status)
        said = self.says[: body["n"]]
        return JSONResponse({"choices": [{"message": {"role": "assistant", "content": text}} for text in said]})

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/tokenize", self.tokenize, methods=["POST"]),
                Route("/v1/completions", self.complete, methods=["POST"]),
            ]
        )


@pytest.fixture
def fake() -> Tokenising:
    return Tokenising()


@pytest.fixture
def address(fake: Tokenising) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(fake.app(), log_config=None, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.force_exit = server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
async def scorer(address: str) -> AsyncIterator[Scorer]:
    async with EngineClient(address, "") as client:
        yield Scorer(client)


async def test_the_answer_is_told_from_its_prompt(scorer: Scorer, fake: Tokenising) -> None:
    fake.logprobs = {"y": -0.5, "e": -0.1, "s": -0.3, "a": -4.0}
    found = await scorer.score(V, ASKED, "yes")
    assert found is not None
    assert (found.answer, found.tokens) == (pytest.approx(-0.3), 3)
    # Of the prompt "<>ab|<>" the first token has no probability; five are worth -1, one -4.
    assert found.prompt == pytest.approx(-9 / 6)


async def test_finished_turns_and_their_marks_belong_to_the_prompt(scorer: Scorer, fake: Tokenising) -> None:
    fake.logprobs = {"n": -0.25, "o": -0.75}
    turns = [*ASKED, {"role": "assistant", "content": "no"}, {"role": "user", "content": "c"}]
    found = await scorer.score(V, turns, "no")
    assert found is not None
    assert (found.answer, found.tokens) == (pytest.approx(-0.5), 2)


async def test_users_go_first(scorer: Scorer, fake: Tokenising) -> None:
    await scorer.score(V, ASKED, "yes")
    (body,) = fake.seen
    assert (body["priority"], body["max_tokens"]) == (PRIORITY, 1)
    assert PRIORITY > 10


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_what_the_engine_refuses_has_no_score(scorer: Scorer, fake: Tokenising, status: int) -> None:
    fake.status = status
    assert await scorer.score(V, ASKED, "yes") is None
    assert fake.seen


async def test_an_unknown_version_has_no_score(scorer: Scorer, fake: Tokenising) -> None:
    assert await scorer.score(Version("gone"), ASKED, "yes") is None
    assert not fake.seen


async def test_an_empty_answer_has_no_score(scorer: Scorer, fake: Tokenising) -> None:
    assert await scorer.score(V, ASKED, "") is None
    assert not fake.seen


async def test_an_engine_that_knows_no_such_numbers_gives_none(scorer: Scorer, fake: Tokenising) -> None:
    fake.form = "something_else"
    assert await scorer.score(V, ASKED, "yes") is None


@pytest.mark.parametrize("value", [None, -math.inf, math.nan])
async def test_numbers_that_are_none_are_no_score(scorer: Scorer, fake: Tokenising, value: float | None) -> None:
    fake.logprobs = {"e": value}
    assert await scorer.score(V, ASKED, "yes") is None


async def test_belief_is_the_share_of_true_in_both_words(scorer: Scorer, fake: Tokenising) -> None:
    fake.logprobs = {"T": math.log(0.03), "F": math.log(0.01)}
    assert await scorer.belief(V, ASKED, "yes") == pytest.approx(0.75)
    (body,) = fake.seen
    assert bytes(body["prompt"]).decode() == f"<>ab|<>yes|<>{DOUBT}|<>"
    assert (body["priority"], body["max_tokens"], body["temperature"]) == (PRIORITY, 1, 0)


@pytest.mark.parametrize(("true", "false"), [(0.0, -800.0), (-800.0, 0.0)])
async def test_a_belief_beyond_doubt_is_a_number(scorer: Scorer, fake: Tokenising, true: float, false: float) -> None:
    fake.logprobs = {"T": true, "F": false}
    assert await scorer.belief(V, ASKED, "yes") == pytest.approx(float(true > false))


@pytest.mark.parametrize("value", [None, -math.inf, math.nan])
async def test_a_word_without_a_probability_is_no_belief(scorer: Scorer, fake: Tokenising, value: float | None) -> None:
    fake.logprobs = {"F": value}
    assert await scorer.belief(V, ASKED, "yes") is None


async def test_an_engine_that_tells_no_such_numbers_has_no_belief(scorer: Scorer, fake: Tokenising) -> None:
    fake.form = "something_else"
    assert await scorer.belief(V, ASKED, "yes") is None
    assert await scorer.belief(V, ASKED, "") is None


def test_words_that_begin_alike_cannot_be_told_apart() -> None:
    assert believed({"token_id:5": -1.0}, [5, 5]) is None


async def test_asking_again_draws_short_answers_behind_the_users(scorer: Scorer, fake: Tokenising) -> None:
    fake.says = ["yes", "no", None]
    assert await scorer.again(V, ASKED, "yes", 3, [{"type": "function"}]) == ["yes", "no", ""]
    (body,) = fake.seen
    assert (body["n"], body["temperature"], body["priority"]) == (3, 1, PRIORITY)
    assert body["max_tokens"] == len("yes") + SLACK
    assert body["messages"] == ASKED and body["tools"]


@pytest.mark.parametrize("status", [400, 404, 413])
async def test_what_the_engine_refuses_has_no_belief_and_is_not_said_again(
    scorer: Scorer, fake: Tokenising, status: int
) -> None:
    fake.status = status
    assert await scorer.belief(V, ASKED, "yes") is None
    assert not await scorer.again(V, ASKED, "yes", 3)
    assert len(fake.seen) == 2
    assert not await scorer.again(V, ASKED, "", 3)
    assert len(fake.seen) == 2


async def test_a_broken_engine_is_an_error_however_it_is_asked(scorer: Scorer, fake: Tokenising) -> None:
    fake.status = 500
    with pytest.raises(EngineFailed, match="500"):
        await scorer.belief(V, ASKED, "yes")
    with pytest.raises(EngineFailed, match="500"):
        await scorer.again(V, ASKED, "yes", 3)


async def test_a_broken_engine_is_an_error(scorer: Scorer, fake: Tokenising) -> None:
    fake.status = 500
    with pytest.raises(EngineFailed, match="500"):
        await scorer.score(V, ASKED, "yes")


async def test_an_engine_that_is_away_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with EngineClient(f"http://127.0.0.1:{port}", "") as client:
        with pytest.raises(EngineUnavailable):
            await Scorer(client).score(V, ASKED, "yes")


@pytest.mark.parametrize("entries", [[None], [None, {"2": {"logprob": -1}}, {}], [None, {"9": {"logprob": -1}}, None]])
def test_entries_that_do_not_fit_the_tokens_are_no_score(entries: list[Any]) -> None:
    assert scored(entries, [1, 2, 3], 1) is None


def test_a_prompt_of_one_token_has_no_probability() -> None:
    entries = [None, {"2": {"logprob": -1.0}}, {"3": {"logprob": -3.0}}]
    assert scored(entries, [1, 2, 3], 1) == Scored(-2.0, None, 2)


def test_rounding_lifts_nothing_above_certainty() -> None:
    found = scored([None, {"2": {"logprob": 1e-9}}], [1, 2], 1)
    assert found is not None and found.answer == 0.0


@pytest.mark.engine
async def test_the_real_engine_scores_its_own_answer_as_it_did_when_it_wrote_it(engine: RealEngine) -> None:
    question = [{"role": "user", "content": "How do I reset my password?"}]
    body = {"model": engine.champion, "messages": question, "max_tokens": 40, "temperature": 0, "logprobs": True}
    async with engine.client() as client:
        async with client.post(CHAT, orjson.dumps(body), "written") as upstream:
            written = orjson.loads(await upstream.read())["choices"][0]
        scorer, text = Scorer(client), written["message"]["content"]
        found = await scorer.score(engine.champion, question, text)
        other = await scorer.score(engine.champion, question, "Purple seven the the.")
        refused = await scorer.score(engine.champion, question, "word " * 4000)
        together = [scorer.score(engine.champion, question, text) for _ in range(4)]
        chats = [greedy(client, engine.champion, "What is a quarkle?") for _ in range(6)]
        *batch, said = await asyncio.gather(*together, asyncio.gather(*chats))
    values = [token["logprob"] for token in written["logprobs"]["content"]][:-1]  # without the end mark
    assert found is not None and other is not None
    assert found.tokens == len(values)
    assert found.answer == pytest.approx(sum(values) / len(values), abs=0.02)
    assert other.answer < found.answer - 1
    assert found.prompt is not None and found.prompt < 0
    assert refused is None
    assert len(set(said)) == 1, "scoring beside chats changes none of them"
    assert all(one is not None and one.answer == pytest.approx(found.answer, abs=0.02) for one in batch)


async def first_of(client: EngineClient, version: Version, turns: Sequence[JsonObject], word: str) -> float:
    """The probability of a word's first token after these turns, from a prefill that has it in its prompt."""

    async def ask(path: str, body: Mapping[str, Any]) -> Any:
        async with client.post(path, orjson.dumps({"model": version, **body}), "check") as upstream:
            return orjson.loads(await upstream.read())

    prompt = (await ask("/tokenize", {"messages": turns, "add_generation_prompt": True}))["tokens"]
    token = (await ask("/tokenize", {"prompt": word, "add_special_tokens": False}))["tokens"][0]
    body = {"prompt": [*prompt, token], "max_tokens": 1, "prompt_logprobs": 0}
    entries = (await ask("/v1/completions", body))["choices"][0]["prompt_logprobs"]
    return math.exp(entries[-1][str(token)]["logprob"])


@pytest.mark.engine
async def test_the_real_engine_says_how_sure_it_is_of_an_answer_and_says_it_again(engine: RealEngine) -> None:
    question, champion = [{"role": "user", "content": "How do I reset my password?"}], engine.champion
    async with engine.client() as client:
        scorer, text = Scorer(client), await greedy(client, champion, question[0]["content"])
        belief = await scorer.belief(champion, question, text)
        turns = [*question, {"role": "assistant", "content": text}, {"role": "user", "content": DOUBT}]
        true, false = [await first_of(client, champion, turns, word) for word in WORDS]
        again = await scorer.again(champion, question, text, 5)
        refused = await scorer.belief(champion, question, "word " * 4000)
    assert belief == pytest.approx(true / (true + false), abs=0.02)
    assert 0 < belief < 1
    assert len(again) == 5 and all(isinstance(said, str) for said in again)
    assert refused is None
