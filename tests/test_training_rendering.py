from dataclasses import replace
from pathlib import Path

import pytest
from bases import CHATML, THINKING, chatml, gemma_like, gemma_shaped, llama_shaped
from transformers import PreTrainedTokenizerFast

from core.errors import SetupError
from serving.base import BUILT_IN
from training import rendering
from training.rendering import Rendered, Renderer, tokens_digest
from training.rows import DpoExample, KtoExample, Message, SftExample

ASKED = (Message("user", "When do you open?"),)
TALK = (*ASKED, Message("assistant", "At 9."), Message("user", "And close?"))
ANSWER = "At 5 pm, every day."


def renderer(words: PreTrainedTokenizerFast, *ends: str) -> Renderer:
    return Renderer(words, tuple(words.convert_tokens_to_ids(end) for end in ends))


CHATML_LIKE = renderer(chatml(), "<|im_end|>")
GEMMA_LIKE = renderer(gemma_like(), "<eos>", "<end_of_turn>")
TEMPLATES = [pytest.param(CHATML_LIKE, id="chatml"), pytest.param(GEMMA_LIKE, id="gemma")]


def raw(renderer: Renderer, ids: rendering.Ids) -> str:
    """Token ids as text, special tokens included."""
    return str(renderer.tokenizer.decode(ids, skip_special_tokens=False))


@pytest.mark.parametrize("renderer", TEMPLATES)
@pytest.mark.parametrize("messages", [ASKED, TALK])
def test_the_prompt_is_what_the_engine_renders(renderer: Renderer, messages: tuple[Message, ...]) -> None:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    served = renderer.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    assert renderer.prompt(messages) == list(served)


@pytest.mark.parametrize("renderer", TEMPLATES)
@pytest.mark.parametrize("messages", [ASKED, TALK])
def test_prompt_and_answer_are_the_template_s_whole_up_to_the_end_of_the_turn(
    renderer: Renderer, messages: tuple[Message, ...]
) -> None:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    whole = renderer.tokenizer.apply_chat_template([*turns, {"role": "assistant", "content": ANSWER}], tokenize=False)
    row = renderer.render(SftExample(messages, ANSWER))
    assert raw(renderer, [*row.prompt, *row.answers[0]]) == whole.rstrip("\n")
    assert renderer.text(row.answers[0]) == ANSWER
    assert row.answers[0][-1] in renderer.stops
    assert not set(row.answers[0][:-1]) & set(renderer.stops)


def test_hone_tiny_is_rendered_with_its_own_template() -> None:
    renderer = rendering.load(BUILT_IN)
    row = renderer.render(SftExample(ASKED, ANSWER))
    assert raw(renderer, row.prompt) == "<|user|>When do you open?<|end|><|assistant|>"
    assert raw(renderer, row.answers[0]) == f"{ANSWER}<|end|>"


def test_the_beginning_of_text_comes_once() -> None:
    assert raw(GEMMA_LIKE, GEMMA_LIKE.prompt(ASKED)).count("<bos>") == 1


def test_a_promised_thought_that_the_whole_does_not_show_stays_in_the_prompt() -> None:
    thinking = renderer(chatml(THINKING), "<|im_end|>")
    row = thinking.render(SftExample(ASKED, ANSWER))
    assert raw(thinking, row.prompt).endswith("<think>\n\n</think>\n\n")
    assert raw(thinking, row.answers[0]) == f"{ANSWER}<|im_end|>"


def test_a_template_without_an_end_gets_one() -> None:
    endless = renderer(chatml(CHATML.replace("<|im_end|>", "")), "<|im_end|>")
    assert raw(endless, endless.answer(ASKED, ANSWER)) == f"{ANSWER}\n<|im_end|>"


def test_a_template_that_changes_answers_is_refused() -> None:
    louder = renderer(chatml(THINKING.replace("m.content", "m.content | upper")), "<|im_end|>")
    with pytest.raises(SetupError, match="changes the text of answers"):
        louder.answer(ASKED, ANSWER)


def test_a_role_that_the_template_refuses_is_told_in_its_words() -> None:
    with pytest.raises(SetupError, match="System role not supported"):
        GEMMA_LIKE.prompt((Message("system", "Be brief."), *ASKED))


def test_pairs_share_a_prompt_and_thumbs_keep_their_label() -> None:
    pair = CHATML_LIKE.render(DpoExample(ASKED, ANSWER, "No."))
    assert [CHATML_LIKE.text(ids) for ids in pair.answers] == [ANSWER, "No."]
    assert pair.lengths == (len(pair.prompt) + len(ANSWER) + 1, len(pair.prompt) + len("No.") + 1)
    assert not CHATML_LIKE.render(KtoExample(ASKED, ANSWER, label=False)).label


def test_a_base_brings_its_ends_from_tokenizer_and_settings(tmp_path: Path) -> None:
    loaded = rendering.load(gemma_shaped(tmp_path / "gemma"))
    assert [loaded.tokenizer.decode(token) for token in loaded.stops] == ["<eos>", "<end_of_turn>"]


def test_a_base_without_a_template_is_refused(tmp_path: Path) -> None:
    folder = llama_shaped(tmp_path / "llama")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(SetupError, match="no chat template"):
        rendering.load(folder)


def test_the_digest_of_tokens_tells_any_two_sets_of_rows_apart() -> None:
    row = Rendered([1, 2], ([3], [4]))
    others = [
        [replace(row, prompt=[1]), row],
        [replace(row, prompt=[1], answers=([2, 3], [4]))],
        [replace(row, answers=([3, 4], []))],
        [replace(row, label=False)],
        [row, row],
        [],
    ]
    digests = {tokens_digest(rows) for rows in [[row], *others]}
    assert len(digests) == 1 + len(others)
    assert tokens_digest([row]) == tokens_digest([Rendered((1, 2), ((3,), (4,)))])


def test_another_template_has_another_digest() -> None:
    assert CHATML_LIKE.template_digest != renderer(chatml(THINKING), "<|im_end|>").template_digest
