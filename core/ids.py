"""Time-ordered identifiers: 48 bits of milliseconds, then randomness, in lower-case base 32.

Sorting the text sorts by time, so ids serve as keyset cursors. Knows nothing of what it names.
"""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 26
CHAT_PREFIX, COMPLETION_PREFIX = "chatcmpl-", "cmpl-"


def new_id(millis: int | None = None) -> str:
    """26 characters; `millis` since the epoch, now if not given."""
    stamp = time.time_ns() // 1_000_000 if millis is None else millis
    return encode((stamp << 80) | secrets.randbits(80))


def encode(number: int) -> str:
    """A number below 2**130 as 26 characters of base 32."""
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def millis_of(identifier: str) -> int:
    """The time that `new_id` put into an id, in milliseconds since the epoch.

    Raises ValueError when a character is not of the alphabet.
    """
    return sum(ALPHABET.index(char) << shift for char, shift in zip(identifier, range(125, -1, -5), strict=True)) >> 80


def bare(response_id: str) -> str:
    """The interaction id inside a public response id such as `chatcmpl-...`."""
    return response_id.removeprefix(CHAT_PREFIX).removeprefix(COMPLETION_PREFIX)
