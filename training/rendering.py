"""Rows as token ids, exactly as the engine renders them: a prompt by the base's chat template, and what must follow it.

The template needs no marks for training: what the rendered whole has beyond the rendered prompt is the answer with its
end-of-turn token, and that alone is learned. Knows no model and no trainer.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from core.errors import SetupError
from serving.model_files import read_json
from training.rows import DpoExample, Example, KtoExample, Messages, SftExample

Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A row as token ids: the prompt, and one answer to it (or for DPO the better and the worse one).

    `repeated` says that it keeps an older answer alive, rather than teach a new one.
    """

    prompt: Ids
    answers: tuple[Ids, ...]
    label: bool = True
    repeated: bool = False

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of prompt and answer, for each answer."""
        return tuple(len(self.prompt) + len(answer) for answer in self.answers)


@dataclass(frozen=True, slots=True)
class Renderer:
    """A base's tokenizer and the tokens that end an answer; the first of them is added where a template has none."""

    tokenizer: PreTrainedTokenizerBase
    stops: tuple[int, ...]

    def prompt(self, messages: Messages) -> list[int]:
        """What the engine is given for a conversation. Raises SetupError when the template refuses it."""
        return self._encode(self._apply(messages, None))

    def answer(self, messages: Messages, answer: str) -> list[int]:
        """The tokens of an answer, its end included, as the model should have generated them after the prompt."""
        prompt, whole = self._apply(messages, None), self._apply(messages, answer)
        seamless = whole.startswith(prompt)
        return self._ended(self._beyond(prompt, whole) if seamless else self._encode(_from_answer(whole, answer)))

    def render(self, example: Example) -> Rendered:
        """A row of any kind. Raises SetupError when the template refuses it."""
        prompt = self.prompt(example.messages)
        match example:
            case SftExample():
                return Rendered(prompt, (self.answer(example.messages, example.completion),))
            case KtoExample():
                return Rendered(prompt, (self.answer(example.messages, example.completion),), example.label)
            case DpoExample():
                better, worse = (self.answer(example.messages, text) for text in (example.chosen, example.rejected))
                return Rendered(prompt, (better, worse))

    def text(self, ids: Ids) -> str:
        """An answer as a client reads it."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    @property
    def template_digest(self) -> str:
        return hashlib.sha256(str(self.tokenizer.chat_template).encode()).hexdigest()

    def _apply(self, messages: Messages, answer: str | None) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        if answer is not None:
            turns.append({"role": "assistant", "content": answer})
        try:
            return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=answer is None))
        except TemplateError as error:
            raise SetupError(f"The chat template of the base refuses a row: {error}") from error

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _beyond(self, prompt: str, whole: str) -> list[int]:
        """What the whole has beyond the prompt, in the tokens of the whole unless these grow across the seam."""
        before, ids = self._encode(prompt), self._encode(whole)
        if ids[: len(before)] == before:
            return ids[len(before) :]
        return self._encode(whole[len(prompt) :])

    def _ended(self, ids: list[int]) -> list[int]:
        """The answer up to and including the token that ends it; templates may go on with a line break."""
        end = next((place for place, token in enumerate(ids) if token in self.stops), len(ids))
        return [*ids[:end], ids[end] if end < len(ids) else self.stops[0]]


def load(base: Path) -> Renderer:
    """The renderer of a base. Raises SetupError when it has no chat template or no token that ends an answer."""
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    if not tokenizer.chat_template:
        raise SetupError(f"{base} brings no chat template; choose a base that was made to chat.")
    stops = _stops(tokenizer, base)
    if not stops:
        raise SetupError(f"{base} names no token that ends an answer; name eos_token in its tokenizer_config.json.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = stops[0]
    return Renderer(tokenizer, stops)


def tokens_digest(rows: Iterable[Rendered]) -> str:
    """The SHA-256 over all token ids of all rows, with the bounds of each list."""
    digest = hashlib.sha256()
    for row in rows:
        for ids in (row.prompt, *row.answers):
            digest.update(struct.pack(f"<{len(ids) + 1}I", len(ids), *ids))
        digest.update(bytes([row.label]))
    return digest.hexdigest()


def _stops(tokenizer: PreTrainedTokenizerBase, base: Path) -> tuple[int, ...]:
    """What makes the engine end an answer: the tokenizer's end, and those of the generation settings."""
    path = base / "generation_config.json"
    named: Any = read_json(path).get("eos_token_id") if path.exists() else None
    several = [named] if isinstance(named, int) else list(named or ())
    return tuple(dict.fromkeys(token for token in (tokenizer.eos_token_id, *several) if token is not None))


def _from_answer(whole: str, answer: str) -> str:
    """The answer and what ends it, where the template begins it otherwise than the prompt promises (say, a thought)."""
    for wanted in (answer, answer.strip()):
        if wanted and (place := whole.rfind(wanted)) >= 0:
            return whole[place:]
    raise SetupError("The chat template of the base changes the text of answers, so that they cannot be learned.")
