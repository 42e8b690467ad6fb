"""Waiting, with a deadline.

Whoever has to wait for work of another thread waits here or in something with the same call, so
that no wait is for ever. The mount passes in a `Wait` of its own that lets other kernel requests
through meanwhile. Threads that wait for somebody else's machine do so in a `Turn`, if others may
need their place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from modelfs.errors import DeadlinePassed

T = TypeVar("T")

# Newer kernels can abort a whole FUSE connection on one slow request, the lowest limit seen in the
# field being about 40 s; the issue trackers of our peers ask for well under 30 s.
DEADLINE = 24.0


class GaveWay(DeadlinePassed):
    """Nothing came while others needed the place; trying again later may help."""


class Turn:
    """What a thread does for the time being, and how others end what it waits for. No lock."""

    def __init__(self) -> None:
        self.is_over = False
        self._end: Callable[[], None] | None = None

    def waits(self, end: Callable[[], None]) -> None:
        """From now on this thread waits for what `end` ends, from any thread and at any time."""
        self._end = end
        if self.is_over:
            end()

    def finish(self) -> None:
        """Have it wait no more; it finds its turn over, and raises GaveWay."""
        self.is_over = True
        if self._end is not None:
            self._end()


class _Turns(threading.local):
    mine: Turn | None = None


_turns = _Turns()


def take_turn(turn: Turn | None) -> None:
    """This thread's turn begins; with None it has none any more."""
    _turns.mine = turn


def turn() -> Turn | None:
    """The turn of this thread, if it has one."""
    return _turns.mine


class Wait(Protocol):
    """Waits for a future and gives its result; raises DeadlinePassed or what the future raised."""

    def __call__(self, future: Future[T], /) -> T: ...


def wait(future: Future[T], deadline: float = DEADLINE) -> T:
    """The result of `future`, or DeadlinePassed after `deadline` seconds; the work goes on."""
    try:
        return future.result(timeout=deadline)
    except TimeoutError as exc:
        if future.done():  # the work itself raised TimeoutError
            raise
        raise DeadlinePassed(f"no answer within {deadline:g} s") from exc


Clock = Callable[[], float]
