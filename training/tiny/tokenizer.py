"""The tokenizer of hone-tiny: a byte-level BPE, so that any UTF-8 text can be read and said, and the chat template.

Knows the special tokens; knows nothing of services.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from .conversation import Conversation, Desk, conversations

VOCABULARY = 2048
CONTEXT = 2048
CORPUS = 20_000
CORPUS_SEED = 11
PAD, END, SYSTEM, USER, ASSISTANT = SPECIAL = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")

# Only the words of the assistant lie between the generation marks: a trainer learns these and nothing else.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
<|assistant|>{% generation %}{{ message.content or '' }}<|end|>{% endgeneration %}
{%- elif message.role == 'user' -%}
<|user|>{{ message.content }}<|end|>
{%- elif message.role in ('system', 'developer') -%}
<|system|>{{ message.content }}<|end|>
{%- else -%}
{{ raise_exception('hone-tiny knows the roles system, user and assistant, not ' ~ message.role) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of a conversation, and which of them are to be learned."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]


def build_tokenizer(desk: Desk) -> PreTrainedTokenizerFast:
    """Train the vocabulary on generated conversations; the same one every time."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(desk), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, conversation: Conversation) -> Example:
    """Return a conversation as the chat template renders it, with the answers marked."""
    ids, learned = list[int](), list[bool]()
    for text, learn in _pieces(conversation):
        piece = tokenizer.encode(text, add_special_tokens=False)
        ids.extend(piece)
        learned.extend([learn] * len(piece))
    return Example(tuple(ids), tuple(learned))


def _pieces(conversation: Conversation) -> Sequence[tuple[str, bool]]:
    pieces = [(f"{SYSTEM}{conversation.system}{END}", False)] if conversation.system else []
    for turn in conversation.turns:
        pieces += [(f"{USER}{turn.user}{END}{ASSISTANT}", False), (f"{turn.answer}{END}", True)]
    return pieces


def _corpus(desk: Desk) -> Iterable[str]:
    """Yield what is said of known services: an unknown word shall fall into pieces, not become a token."""
    for conversation in islice(conversations(desk, CORPUS_SEED), CORPUS):
        for turn in conversation.turns:
            if turn.answer != desk.talk.unknown:
                yield turn.user
                yield turn.answer
        yield conversation.system
