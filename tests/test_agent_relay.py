"""A stream on its way to the client: whole events at once, the end held, nothing of ours let through or broken."""

from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.answer import Transcript
from agent.relay import DONE, LARGEST_EVENT, Blinding, Relay, Splitter
from core.errors import EngineFailed
from core.types import Version

VERSION = Version("tiny-v1-abc")
BLIND = Blinding(VERSION, "hone")


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + orjson.dumps({"id": "x", "model": VERSION, "choices": [choice]}) + b"\n\n"


USAGE = b'data: {"id":"x","model":"tiny-v1-abc","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
ERROR = b'data: {"error": {"message": "tiny-v1-abc died", "type": "InternalServerError", "code": 500}}\n\n'


async def pieces_of(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def relayed(pieces: Iterable[bytes], *, usage: bool = False) -> tuple[list[bytes], Transcript]:
    sent: list[bytes] = []
    transcript = Transcript()

    async def pass_on(events: bytes) -> None:
        sent.append(events)

    await Relay(pass_on, BLIND, usage, transcript).run(pieces_of(pieces))
    return sent, transcript


def chopped(data: bytes, places: Iterable[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(cuts) if start < end]


TEXTS = st.lists(
    st.text(max_size=30) | st.sampled_from(['"model":"tiny-v1-abc"', "[DONE]", '{"error"', '"choices":[]', "\n\n"])
)


@settings(deadline=None)
@given(TEXTS, st.lists(st.integers(0, 10_000), max_size=30))
def test_every_cutting_of_the_bytes_gives_the_same_whole_events(texts: list[str], places: list[int]) -> None:
    stream = b"".join(map(event, texts)) + DONE
    splitter = Splitter()
    fed = [splitter.feed(piece) for piece in chopped(stream, places)]
    assert b"".join(fed) == stream
    assert all(not piece or piece.endswith(b"\n\n") for piece in fed)


@settings(deadline=None)
@given(texts=TEXTS, places=st.lists(st.integers(0, 10_000), max_size=30), usage=st.booleans())
async def test_the_client_gets_every_text_and_neither_the_end_nor_the_version(
    texts: list[str], places: list[int], usage: bool
) -> None:
    stream = b"".join(map(event, texts)) + USAGE + DONE
    sent, transcript = await relayed(chopped(stream, places), usage=usage)
    documents = [orjson.loads(line[6:]) for line in b"".join(sent).split(b"\n\n") if line]
    counted = [document for document in documents if not document["choices"]]
    assert len(counted) == usage
    assert [d["choices"][0]["delta"]["content"] for d in documents if d["choices"]] == texts
    assert {document["model"] for document in documents} <= {"hone"}
    assert transcript.read().completion_tokens == 2


async def test_an_event_goes_out_as_soon_as_it_is_complete() -> None:
    sent: list[bytes] = []
    counts: list[int] = []
    first, second = event("a"), event("b")

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (first[:10], first[10:], second[:-1], second[-1:] + DONE):
            yield piece
            counts.append(len(sent))

    async def pass_on(events: bytes) -> None:
        sent.append(events)

    await Relay(pass_on, BLIND, False, Transcript()).run(pieces())
    assert counts == [0, 1, 1, 2]


@pytest.mark.parametrize("end", [b"", event("half")[:20]])
async def test_a_stream_without_its_end_mark_has_failed(end: bytes) -> None:
    with pytest.raises(EngineFailed):
        await relayed([event("a"), end])


async def test_an_error_of_the_engine_is_no_text_and_does_not_name_the_version() -> None:
    with pytest.raises(EngineFailed) as caught:
        await relayed([event("a") + ERROR + DONE])
    assert VERSION not in caught.value.message


async def test_an_event_that_never_ends_does_not_fill_the_memory() -> None:
    with pytest.raises(EngineFailed, match="8 MiB"):
        await relayed(b"x" * 2**20 for _ in range(LARGEST_EVENT // 2**20 + 2))
