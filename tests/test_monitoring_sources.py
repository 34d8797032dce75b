"""Sources of scores: what each says of an answer, which ones are asked, and what their numbers mean as confidences."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any

import pytest
from answers import answer, says

from core.rules import Calibration
from core.types import Interaction, JsonObject, Version
from monitoring.scoring.sources import Consistency, Likelihood, PTrue, confidence, configured, text
from serving.client import EngineClient
from serving.scoring import Scored, Scorer

TOOLS = [{"type": "function", "function": {"name": "look_up"}}]


@dataclass
class Engine(Scorer):
    """Answers from lists; None or nothing refuses."""

    scored: Scored | None = None
    belief_: float | None = None
    said: Sequence[str] = ()
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(EngineClient("http://127.0.0.1:1", ""))

    async def score(
        self, version: Version, messages: Sequence[JsonObject], answer: str, tools: Any = None
    ) -> Scored | None:
        self.asked.append((version, answer, tools))
        return self.scored

    async def belief(
        self, version: Version, messages: Sequence[JsonObject], answer: str, tools: Any = None
    ) -> float | None:
        self.asked.append((version, answer, tools))
        return self.belief_

    async def again(
        self, version: Version, messages: Sequence[JsonObject], answer: str, samples: int, tools: Any = None
    ) -> Sequence[str]:
        self.asked.append((version, answer, tools))
        return self.said[:samples]


def given(content: str | None = "It is 42.", **changes: Any) -> Interaction:
    reply = {"role": "assistant", "content": content}
    row = {"served": Version("v0"), "messages": says("What is it?"), "reply": reply, "params": {"tools": TOOLS}}
    return answer(**{**row, **changes})


async def test_the_likelihood_has_the_prompt_s_where_there_is_one() -> None:
    assert await Likelihood(Engine(Scored(-0.5, -2.0, 3))).of(given()) == {"logprob": -0.5, "prompt": -2.0}
    assert await Likelihood(Engine(Scored(-0.5, None, 3))).of(given()) == {"logprob": -0.5}
    assert await Likelihood(Engine(None)).of(given()) == {}


async def test_a_belief_is_kept_as_it_is() -> None:
    assert await PTrue(Engine(belief_=0.25)).of(given()) == {"p_true": 0.25}
    assert await PTrue(Engine()).of(given()) == {}


async def test_consistency_is_the_share_of_the_same_words() -> None:
    engine = Engine(said=["it is 42", "It is 42!", "It is 43.", "", "never drawn"])
    assert await Consistency(engine, 4).of(given()) == {"consistency": 0.5}
    assert await Consistency(Engine(), 4).of(given()) == {}


async def test_everybody_is_asked_about_the_answer_with_its_version_and_tools() -> None:
    engine = Engine(said=["x"])
    for source in (Likelihood(engine), PTrue(engine), Consistency(engine, 2)):
        await source.of(given())
    assert engine.asked == [("v0", "It is 42.", TOOLS)] * 3
    with pytest.raises(ValueError, match="no version of ours"):
        await PTrue(engine).of(given(served=None))


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ("logprob", ["likelihood"]),
        ("p_true", ["likelihood", "p_true"]),
        ("consistency", ["likelihood", "consistency"]),
    ],
)
def test_the_likelihood_is_always_taken_and_one_more_if_it_is_configured(chosen: Any, names: list[str]) -> None:
    found = configured(Calibration(confidence=chosen, samples=7), Engine())
    assert [source.name for source in found] == names
    assert all(source.samples == 7 for source in found if isinstance(source, Consistency))


def test_scores_as_confidences() -> None:
    assert confidence("logprob", log(0.25)) == pytest.approx(0.25)
    assert confidence("logprob", 1e-9) == 1.0
    assert (confidence("p_true", 0.25), confidence("consistency", 0.0)) == (0.25, 0.0)


@pytest.mark.parametrize(
    "reply",
    [None, {}, {"content": None}, {"content": ""}, {"content": "Let me see.", "tool_calls": [{"id": "1"}]}],
)
def test_what_has_no_words_of_its_own_has_no_text(reply: JsonObject | None) -> None:
    assert text(given(reply=reply)) == ""
