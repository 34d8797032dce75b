"""One page of a list that is read by keyset: the items and the cursor of what follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """`next` is the cursor to ask the following page with; None on the last page."""

    items: Sequence[T]
    next: str | None = None
