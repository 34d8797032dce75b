"""One conversation with Hone over its OpenAI interface: what was said, and the answer that may be rated."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import openai

from agent.cli.api_client import ApiClient
from agent.cli.openai_calls import translated
from core.types import JsonObject

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam


ASK_HEADER = "x-hone-ask"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `id` is the key for feedback, `finish` is None when it was cut off.

    `asked` says whether Hone asks to have it rated; it may be rated anyway.
    """

    id: str
    text: str
    finish: str | None
    asked: bool


class Conversation:
    """Keeps the messages of both sides; `answer` is the last one, None before the first."""

    def __init__(self, client: openai.OpenAI, api: ApiClient, model: str) -> None:
        self._client = client
        self._api = api
        self._model = model
        self._messages: list[ChatCompletionMessageParam] = []
        self.answer: Answer | None = None

    def restart(self) -> None:
        """Forget what was said."""
        self._messages = []
        self.answer = None

    def ask(self, text: str) -> Iterator[str]:
        """The answer in pieces as they come; stopping early cuts it off, and what came is kept.

        Raises the error that the server named; the question then counts as not asked.
        """
        question: ChatCompletionMessageParam = {"role": "user", "content": text}
        pieces: list[str] = []
        answer_id, finish, asked = "", None, False
        try:
            with (
                translated(self._api.url),
                self._client.chat.completions.create(
                    model=self._model, messages=[*self._messages, question], stream=True
                ) as stream,
            ):
                asked = ASK_HEADER in stream.response.headers
                for chunk in stream:
                    answer_id = chunk.id
                    for choice in chunk.choices:
                        finish = choice.finish_reason or finish
                        if choice.delta.content:
                            pieces.append(choice.delta.content)
                            yield choice.delta.content
        finally:
            if answer_id:
                self.answer = Answer(answer_id, "".join(pieces), finish, asked)
                self._messages += [question, {"role": "assistant", "content": self.answer.text}]

    def rate(self, good: bool, correction: str | None = None) -> None:
        """A thumb for the last answer, and what it should have been."""
        if self.answer is None:
            raise ValueError("There is no answer to rate yet.")
        rating: JsonObject = {"response_id": self.answer.id, "name": "thumbs", "value": good}
        self._api.post("/v1/feedback", {**rating, **({"correction": correction} if correction else {})})
