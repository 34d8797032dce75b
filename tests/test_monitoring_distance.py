"""The distance of prompts: small corpora do no harm, who fitted the space is not measured, and restarts go on."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from traffic import Traffic
from traffic import traffic as traffic

from core import erasure, states
from core.datasets import Datasets
from core.errors import EngineFailed, Unavailable
from core.rules import Drift
from core.settings import Provider
from core.types import Arm, Interaction, Subject, Version
from monitoring.drift.distance import Distance
from monitoring.drift.space import DIRECTIONS, distances, fitted

NONE = Provider()
KNOWN = ["where is my parcel", "how late is the parcel", "track the parcel please", "the courier is late again"]


def source(traffic: Traffic, enough: int = 30, provider: Provider = NONE, **kwargs: object) -> Distance:
    return Distance(traffic.store, Drift(min_reference=enough), provider, traffic.clock, **kwargs)  # type: ignore[arg-type]


def asks(traffic: Traffic, count: int, text: str = "where is parcel number {}", prefix: str = "s") -> list[Interaction]:
    rows = [traffic.ask(f"{prefix}{n}", text.format(n)) for n in range(count)]
    traffic.settle()
    return rows


async def measured(distance: Distance, rows: Sequence[Interaction]) -> list[float]:
    found = [await distance.of(row) for row in rows]
    return [value["distance"] for value in found if value]


@pytest.mark.parametrize(
    "texts",
    [
        ["a"],
        ["!?"],
        ["the same"] * 300,
        ["one", "two"],
        ["\u6211\u4e0d\u77e5\u9053", "\u4f60\u597d\u5417"] * 60,
        ["x" * 10_000],
        [f"question number {n}" for n in range(300)],
    ],
)
def test_any_corpus_spans_a_space_in_which_its_texts_are_near_and_strange_ones_far(texts: Sequence[str]) -> None:
    space = fitted(texts)
    reference = space.place(texts)
    near, far = distances(space.place([texts[0], "ZYX \u0416\u0416\u0416"]), reference)
    assert 0 <= near < far
    assert far == pytest.approx(1, abs=0.06)
    assert len(space.axes) <= min(DIRECTIONS, len(texts))


def test_a_language_without_spaces_has_near_and_far_texts_too() -> None:
    texts = ["\u6211\u7684\u5305\u88f9\u5728\u54ea\u91cc", "\u5305\u88f9\u4ec0\u4e48\u65f6\u5019\u5230"]
    space = fitted(texts)
    near, far = distances(
        space.place(["\u5305\u88f9\u5728\u54ea", "\u5fd8\u8bb0\u4e86\u5bc6\u7801"]), space.place(texts)
    )
    assert near < 0.7 < far


def test_a_text_that_is_partly_outside_of_the_space_is_so_far_away() -> None:
    texts = [f"{text} {n}" for n in range(100) for text in KNOWN]
    space = fitted(texts)
    inside, outside = distances(space.place(["where is the parcel", "where is the zoo keeper"]), space.place(texts))
    assert inside < 0.3 < outside


async def test_the_first_prompts_fit_and_only_later_ones_are_measured(traffic: Traffic) -> None:
    distance = source(traffic)
    first, later, strange = asks(traffic, 30), asks(traffic, 5, prefix="l"), asks(traffic, 5, "reset password {}", "x")
    assert await measured(distance, first) == []
    assert await measured(distance, first) == [], "those that fitted it stay out"
    near, far = await measured(distance, later), await measured(distance, strange)
    assert len(near) == len(far) == 5
    assert max(near) < 0.5 < min(far)


async def test_a_question_fits_once_for_a_subject(traffic: Traffic) -> None:
    distance = source(traffic)
    rows = [traffic.ask("ann", "Where is it?"), *(traffic.ask("ann", "where is it") for _ in range(40))]
    traffic.settle()
    assert await measured(distance, rows) == []
    with traffic.store.read() as conn:
        state = states.read(conn, "distance/v0")
    assert state and state.body["fitted"] == [rows[0].id]


async def test_only_prompts_of_the_champion_by_its_own_doing_count(traffic: Traffic) -> None:
    distance = source(traffic)
    await measured(distance, asks(traffic, 30))
    others = [
        traffic.ask("a", served=Version("v1"), assigned=Version("v1"), arm=Arm.CHALLENGER),
        traffic.ask("b", arm=Arm.NAMED),
        traffic.ask("c", messages=[{"role": "tool", "content": "12 degrees"}]),
        traffic.ask("d", messages=[{"role": "user", "content": "   "}]),
        traffic.ask("e", messages=()),
        traffic.ask("f", created_at=1),
    ]
    assert await measured(distance, others) == []


async def test_a_restart_measures_the_same(traffic: Traffic) -> None:
    first, later = asks(traffic, 40), asks(traffic, 5, "late courier {}", "l")
    begun = source(traffic)
    await measured(begun, first[:20])
    went_on = source(traffic)
    await measured(went_on, first[20:])
    expected = await measured(went_on, later)
    assert await measured(source(traffic), later) == expected != []


async def test_an_erased_prompt_leaves_the_space(traffic: Traffic) -> None:
    rows = [*asks(traffic, 29), traffic.ask("gone", "zebra crossing")]
    probe = asks(traffic, 1, "zebra crossing", "p")
    distance = source(traffic)
    await measured(distance, rows)
    assert (await measured(distance, probe))[0] < 0.05
    erase(traffic, Subject("gone"))
    assert (await measured(distance, probe))[0] > 0.5, "a process that runs learns of it"
    assert (await measured(source(traffic), probe))[0] > 0.5, "and so does the next one"


def erase(traffic: Traffic, subject: Subject) -> None:
    with TemporaryDirectory() as folder:
        data = Path(folder)
        erasure.erase(traffic.store, Datasets(data), data, subject, "key_ops", traffic.clock)


async def test_a_new_champion_gets_a_new_space(traffic: Traffic) -> None:
    distance = source(traffic)
    await measured(distance, asks(traffic, 30))
    story = traffic.story
    story.time = traffic.clock()
    story.await_approval("v1")
    story.promote("v1")
    traffic.clock.advance(1)
    told = {"served": Version("v1"), "assigned": Version("v1")}
    rows = [traffic.ask(f"n{n}", f"reset password {n}", **told) for n in range(31)]
    traffic.settle()
    assert len(await measured(distance, rows)) == 1
    with traffic.store.read() as conn:
        assert list(states.under(conn, "distance/")) == ["distance/v1"]


async def test_embeddings_of_a_provider_take_the_place_of_the_space(traffic: Traffic) -> None:
    asked: list[int] = []

    async def embed(provider: Provider, texts: Sequence[str]) -> list[list[float]]:
        asked.append(len(texts))
        return [[2.0, 0.0] if "parcel" in text else [0.0, 3.0] for text in texts]

    distance = source(traffic, provider=Provider(model="any/embedding"), embed=embed)
    await measured(distance, asks(traffic, 30))
    assert asked == [], "nothing leaves before it is needed"
    assert await measured(distance, asks(traffic, 1, prefix="l")) == pytest.approx([0.0], abs=1e-6)
    assert await measured(distance, asks(traffic, 1, "reset password", "x")) == pytest.approx([1.0])
    assert asked == [30, 1, 1]


async def test_a_provider_that_does_not_answer_is_told_as_the_sources_are(traffic: Traffic) -> None:
    async def embed(provider: Provider, texts: Sequence[str]) -> list[list[float]]:
        raise Unavailable("any/embedding does not answer just now; try again.", retry_after=1)

    distance = source(traffic, provider=Provider(model="any/embedding"), embed=embed)
    await measured(distance, asks(traffic, 30))
    (row,) = asks(traffic, 1, prefix="l")
    with pytest.raises(EngineFailed, match="does not answer"):
        await distance.of(row)


def test_distances_lie_between_nothing_and_everything_shared() -> None:
    rng = np.random.default_rng(1)
    texts = ["".join(rng.choice(list("abcdef "), 30)) + "x" for _ in range(200)]
    space = fitted(texts[:100])
    found = distances(space.place(texts), space.place(texts[:100]))
    assert ((found >= 0) & (found <= 1)).all()
    assert found[:100].max() < found[100:].mean()
