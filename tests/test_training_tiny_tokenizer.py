"""The tokenizer of hone-tiny: any text survives it, and the chat template renders what training saw."""

from itertools import islice

import pytest
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from training.tiny.__main__ import SHIPPED
from training.tiny.conversation import Conversation, Turn, conversations, load_desk, messages_of
from training.tiny.tokenizer import CONTEXT, VOCABULARY, build_tokenizer, encode

STRANGE_TEXTS = (
    "Zbigniew Brzezinski-O'Neill, 47",
    "\u5f20\u4f1f \u0438 \u0421\u0432\u0435\u0442\u043b\u0430\u043d\u0430",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600\U0001f469\u200d\U0001f680\U0001f1e9\U0001f1ea",
    "e\u0301 is not \u00e9, \ufb01 is not fi",
    "  two  spaces\tand\r\nlines\n\n ",
    "\x00\x01\x1f\x7f\u0080\uffff\U0010ffff",
    "1234567890 3.14 -> 007",
    "if x < 3 and y |= 2: {{ braces }} {% tags %} <b>&amp;</b>",
    "",
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(SHIPPED)


@pytest.mark.parametrize("text", STRANGE_TEXTS, ids=ascii)
def test_any_text_survives(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_every_character_of_the_basic_plane_survives(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "".join(chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000)
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_every_byte_has_a_token(tokenizer: PreTrainedTokenizerFast) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    assert len(ByteLevel.alphabet()) == 256
    assert set(ByteLevel.alphabet()) <= set(tokenizer.get_vocab())


def test_the_shipped_tokenizer_is_what_the_generator_builds(tokenizer: PreTrainedTokenizerFast) -> None:
    built = build_tokenizer(load_desk())
    assert built.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert built.chat_template == tokenizer.chat_template
    assert len(tokenizer) == VOCABULARY
    assert tokenizer.model_max_length == CONTEXT


def test_training_sees_what_the_template_renders_and_learns_the_marked_part(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    for talk in islice(conversations(load_desk(), 3), 200):
        rendered = tokenizer.apply_chat_template(
            messages_of(talk), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        example = encode(tokenizer, talk)
        assert rendered["input_ids"] == list(example.ids)
        assert [bool(mark) for mark in rendered["assistant_masks"]] == list(example.learned)


def test_the_generation_prompt_ends_where_the_answer_begins(tokenizer: PreTrainedTokenizerFast) -> None:
    talk = Conversation((Turn("Hi", "Hello!"), Turn("When?", "Now.")), "Be brief.")
    asked = tokenizer.apply_chat_template(messages_of(talk, False), tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(messages_of(talk), tokenize=False)
    assert whole == f"{asked}Now.<|end|>"
    assert asked.startswith("<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|>Hello!<|end|>")


def test_a_begun_answer_can_be_continued(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [{"role": "user", "content": "When?"}, {"role": "assistant", "content": "The library"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert text == "<|user|>When?<|end|><|assistant|>The library"


def test_developer_is_system_and_an_unknown_role_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.apply_chat_template([{"role": "developer", "content": "Be brief."}], tokenize=False)
    assert text == "<|system|>Be brief.<|end|>"
    with pytest.raises(TemplateError, match="not tool"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "3"}], tokenize=False)
