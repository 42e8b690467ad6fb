"""Waiting, with a deadline.

Whoever has to wait for work of another thread waits here or in something with the same call, so
that no wait is for ever. The mount passes in a `Wait` of its own that lets other kernel requests
through meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from modelfs.errors import DeadlinePassed

T = TypeVar("T")

# Newer kernels can abort a whole FUSE connection on one slow request, the lowest limit seen in the
# field being about 40 s; the issue trackers of our peers ask for well under 30 s.
DEADLINE = 24.0


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
