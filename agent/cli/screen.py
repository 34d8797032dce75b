"""Where something that changes is shown while one waits: drawn anew in place on a terminal, lines elsewhere; on stderr.

A screen that went away is no reason to fail.
"""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

T = TypeVar("T")
Shown = TypeVar("Shown", contravariant=True)


class Screen(Protocol[Shown]):
    """Shows one state of a thing after the other."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, shown: Shown) -> None: ...

    def pause(self) -> None:
        """Leave the screen to others until the next `show`."""


class Lines:
    """What all screens share that only write lines: nothing to begin and nothing to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def pause(self) -> None:
        return None


class Drawn(Generic[T]):
    """A drawing that is made anew in place with each state; during a pause it stays only if it `stays`."""

    def __init__(self, drawing: Callable[[T], RenderableType], *, stays: bool = False) -> None:
        # Drawn by `show` alone: a thread that draws would be in the way of starting processes.
        self._live = Live(console=Console(stderr=True), auto_refresh=False)
        self._drawing = drawing
        self._stays = stays

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._live.stop()

    def show(self, shown: T) -> None:
        with suppress(OSError):
            self._live.start()
            self._live.update(self._drawing(shown), refresh=True)

    def pause(self) -> None:
        with suppress(OSError):
            if not self._stays:
                self._live.update("")
            self._live.stop()
