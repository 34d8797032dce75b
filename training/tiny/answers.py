"""Greedy answers in batches, and the share of them that is right."""

from collections.abc import Sequence

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3ForCausalLM

from core.text import same_answer

from .conversation import Conversation, messages_of

ANSWER_TOKENS = 64


def answer_all(
    model: Qwen3ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    conversations: Sequence[Conversation],
    rows: int = 128,
) -> list[str]:
    """Answer the last turn of each conversation greedily, in the order given."""
    prompts = [_prompt(tokenizer, conversation) for conversation in conversations]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        for index, answer in zip(chosen, _generate(model, tokenizer, [prompts[i] for i in chosen]), strict=True):
            answers[index] = answer
    return answers


def share_right(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, conversations: Sequence[Conversation]
) -> float:
    """Return the share of conversations whose last answer is right."""
    answers = answer_all(model, tokenizer, conversations)
    right = [same_answer(a, c.turns[-1].answer) for a, c in zip(answers, conversations, strict=True)]
    return sum(right) / len(right)


def _prompt(tokenizer: PreTrainedTokenizerFast, conversation: Conversation) -> list[int]:
    text = tokenizer.apply_chat_template(
        messages_of(conversation, with_last_answer=False), tokenize=False, add_generation_prompt=True
    )
    return list(tokenizer.encode(text, add_special_tokens=False))


def _generate(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[list[int]]) -> list[str]:
    width = max(len(prompt) for prompt in prompts)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    attended = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = GenerationConfig(
        do_sample=False,
        temperature=1.0,
        max_new_tokens=ANSWER_TOKENS,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=pad,
    )
    model.eval()
    with torch.inference_mode():
        output = model.generate(input_ids=ids, attention_mask=attended, generation_config=settings)
    return [str(text) for text in tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)]
