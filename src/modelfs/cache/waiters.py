"""Who reads a content, and what they wait for: values without a lock of their own."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from modelfs.bodies import Source
from modelfs.buffers import Loan
from modelfs.cache.backing import Backing
from modelfs.cache.blockmap import BLOCK, block_count
from modelfs.errors import Corrupt, Error, without_frames
from modelfs.waiting import DEADLINE


class Reader:
    """What a reader has seen: the file that bytes have been given of."""

    __slots__ = ("served",)

    def __init__(self) -> None:
        self.served: Backing | None = None

    def serve(self, backing: Backing) -> bool:
        """Note that it is given bytes of `backing`; False if it must not be given them.

        Noted first: who finds that `backing` is bad looks then for those it was served to.
        """
        if backing is not self.served and self.is_misled:
            return False
        self.served = backing
        return not backing.is_bad

    @property
    def is_misled(self) -> bool:
        """True if it has been given bytes that turned out wrong; other bytes do not go with them"""
        return self.served is not None and self.served.is_bad


class Waiter:
    """A reader that waits for the bytes [start, stop), and where it would get them from.

    With `whole`, the size of the file, it waits for all of that before it gets them.
    """

    __slots__ = (
        *("after", "first", "future", "is_done", "left", "reader", "source", "start", "stop"),
        "until",
    )

    def __init__(
        self, start: int, stop: int, source: Source, reader: Reader, whole: int = 0
    ) -> None:
        self.start = start
        self.stop = stop
        # The blocks that it waits for.
        self.first = 0 if whole else start // BLOCK
        self.after = block_count(whole or stop)
        self.source = source
        self.reader = reader
        self.left = 0
        self.is_done = False
        # The reader has gone then.
        self.until = time.monotonic() + DEADLINE
        self.future: Future[bytes] = Future()
        self.future.set_running_or_notify_cancel()  # cannot be cancelled: others wait as well


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of a content from `start` on that are kept in memory, as `loan` allows."""

    start: int
    data: bytearray
    loan: Loan


def finish(waiters: Iterable[Waiter]) -> list[Waiter]:
    """Those of `waiters` that nobody has served yet; they are the caller's now, once each."""
    found = []
    for waiter in waiters:
        if not waiter.is_done:
            waiter.is_done = True
            found.append(waiter)
    return found


def fail(waiters: Iterable[Waiter], error: Error) -> None:
    without_frames(error)
    for waiter in waiters:
        waiter.future.set_exception(error)


def misled() -> Corrupt:
    """For a reader that has been given bytes of a file that turned out wrong."""
    return Corrupt("bytes that were read do not have the digest the registry tells")
