"""Tiny bases of other makers' shapes with random weights, and run folders to train them in."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from core.datasets import Datasets
from core.types import Json
from training import recipes
from training.order import Order, write
from training.recipes import Recipe
from training.rows import FEEDBACK, Example, KtoExample, Message, Method, Part, Provenance, Row, SftExample, record

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
THINKING = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n\n</think>\n\n{% endif")
"""Promises a thought that a finished turn does not show."""
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 256,
}


def tokenizer(template: str, specials: Sequence[str], **named: str) -> PreTrainedTokenizerFast:
    """Bytes as tokens, and some special ones."""
    letters = {letter: place for place, letter in enumerate(sorted(ByteLevel.alphabet()))}
    inner = Tokenizer(BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    inner.decoder = ByteDecoder()
    inner.add_special_tokens(list(specials))
    made = PreTrainedTokenizerFast(tokenizer_object=inner, **named)
    made.chat_template = template
    return made


def chatml(template: str = CHATML) -> PreTrainedTokenizerFast:
    return tokenizer(template, ["<|pad|>", "<|im_start|>", "<|im_end|>"], eos_token="<|im_end|>", pad_token="<|pad|>")


def gemma_like() -> PreTrainedTokenizerFast:
    """As Gemma has it: what ends a turn is not the tokenizer's end, but one of the generation settings."""
    specials = ["<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
    return tokenizer(GEMMA, specials, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def llama_shaped(folder: Path) -> Path:
    words = chatml()
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), eos_token_id=words.eos_token_id, **SHAPE))
    return _saved(model, words, [words.eos_token_id], folder)


def gemma_shaped(folder: Path) -> Path:
    words = gemma_like()
    torch.manual_seed(0)
    config = Gemma3TextConfig(vocab_size=len(words), sliding_window=32, eos_token_id=words.eos_token_id, **SHAPE)
    ends = [words.eos_token_id, words.convert_tokens_to_ids("<end_of_turn>")]
    return _saved(Gemma3ForCausalLM(config), words, ends, folder)


def _saved(model: PreTrainedModel, words: PreTrainedTokenizerFast, ends: list[int], folder: Path) -> Path:
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=words.pad_token_id)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def row(example: Example, part: Part = Part.TRAIN) -> Row:
    return Row(example, part, Provenance(FEEDBACK))


def sft_rows(number: int, held_out: int = 2) -> list[Row]:
    """Questions about numbers, with answers of several lengths."""
    examples = [SftExample((Message("user", f"what is {n}?"),), f"{n} is " + "nice " * (n % 4)) for n in range(number)]
    return [row(e, Part.HELDOUT if n < held_out else Part.TRAIN) for n, e in enumerate(examples)]


def kto_rows(labels: Sequence[bool]) -> list[Row]:
    return [row(KtoExample((Message("user", f"what is {n}?"),), f"{n}!", label)) for n, label in enumerate(labels)]


def short(method: Method, rows: Sequence[Row], **changes: Json) -> Recipe:
    """A recipe of few steps."""
    recipe = recipes.choose(method, 100_000, [each.example for each in rows if each.part is Part.TRAIN], max_rank=16)
    few = {"steps": 6, "batch_rows": 4, "rank": 4, "alpha": 8, "checkpoint_every": 2}
    return recipes.override(recipe, {**few, **changes})


def ordered(folder: Path, base: Path, rows: Sequence[Row], recipe: Recipe, **changes: object) -> Order:
    """An order, written into a new run's folder beside its dataset."""
    datasets = Datasets(folder.parent / "datasets")
    digest = datasets.write([record(each) for each in rows], [], {})
    order = Order(
        run=folder.name,
        recipe=recipe,
        base=base,
        base_digest="0" * 64,
        dataset=datasets.folder / digest,
        champion=None,
        old_skills=None,
        max_rank=16,
        max_model_len=256,
    )
    order = replace(order, **changes)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, order)
    return order
