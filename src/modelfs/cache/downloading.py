"""One request for missing bytes, written to the content's file a few blocks at a time.

Makes room on the disk and takes memory for as long as that takes; whose the blocks are, and what
becomes of an error, is the caller's. No lock and no state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from modelfs.bodies import Body, Source
from modelfs.buffers import Buffers, Loan
from modelfs.cache.arriving import Arrival
from modelfs.cache.backing import Backing
from modelfs.cache.blockmap import BLOCK
from modelfs.cache.content import Content
from modelfs.cache.direct import Moved, expect_end, fill
from modelfs.cache.keys import legible
from modelfs.cache.readahead import Stretch
from modelfs.cache.space import Room
from modelfs.errors import Error

# Another process is about to land the block: look often at first, then less.
POLL_FIRST = 0.002


@dataclass(frozen=True, slots=True)
class Job:
    """The blocks [first, stop) of a content, wanted by a reader now or perhaps later."""

    content: Content
    source: Source
    first: int
    stop: int
    is_wanted: bool
    # The answer to a request for exactly these blocks, if it has been made already.
    body: Body | None = None
    # What the blocks are of that nobody waits for yet; it may have become more, or less.
    stretch: Stretch | None = None
    # Since when, and how often, another process has been waited for.
    since: float = 0.0
    pause: float = POLL_FIRST

    @property
    def is_abandoned(self) -> bool:
        """True if nobody wants it any more."""
        return not self.is_wanted and not self.content.users


class Downloads:
    """Makes the requests of jobs; `moved` is told of bytes as they come."""

    def __init__(self, room: Room, memory: Buffers, moved: Moved) -> None:
        self._room = room
        self._memory = memory
        self._moved = moved

    def bring(
        self,
        job: Job,
        backing: Backing,
        first: int,
        stop: int,
        buffer: memoryview,
        landed: Callable[[int, list[int]], None],
    ) -> None:
        """Fetch the run of blocks [first, stop) to the file.

        `landed` is told of blocks that are there: the first of them, and their checksums.
        """
        content = job.content
        start, end = first * BLOCK, min(stop * BLOCK, content.size)
        self._room.reserve(end - start)
        came, done, begun = 0, 0, time.monotonic()

        def moved(count: int) -> None:
            nonlocal came
            came += count
            self._moved(count)

        def land(view: memoryview) -> None:
            nonlocal done
            at = first + done // BLOCK
            crcs = backing.write(at, view)
            done += len(view)
            landed(at, crcs)

        content.pace.begin()
        try:
            with (
                self._memory.take(BLOCK, content.place) as loan,
                _body(job, first, stop) as body,
            ):
                # One block first: it may be all that somebody waits for.
                for view in _views(buffer, loan, end - start):
                    if job.is_abandoned:
                        return
                    came = 0
                    try:
                        fill(body, view, moved)
                    except Error:
                        if came >= BLOCK:
                            land(view[: came - came % BLOCK])
                        raise
                    if done + came == end - start:
                        expect_end(body)
                    land(view)
        finally:
            content.pace.end(done, time.monotonic() - begun)
            self._room.refund(end - start - done)

    def bring_whole(self, job: Job, buffer: memoryview, arrival: Arrival) -> Backing | None:
        """Fetch and keep all of a small content; None if the bytes are wrong."""
        content = job.content
        view = buffer[: content.size]
        self._room.reserve(content.size)
        backing = None
        try:
            with self._memory.take(content.size, content.place), _body(job, 0, 1) as body:
                fill(body, view, self._moved)
                expect_end(body)
            if content.is_right(view):
                backing = arrival.land(view)
        finally:
            if backing is None:
                self._room.refund(content.size)
        return backing


@contextmanager
def _body(job: Job, first: int, stop: int) -> Iterator[Body]:
    """The bytes of the run of blocks [first, stop), asked for unless that has been done."""
    content = job.content
    with ExitStack() as stack:
        body = job.body if (job.first, job.stop) == (first, stop) else None
        if body is None:
            end = min(stop * BLOCK, content.size)
            body = stack.enter_context(job.source(first * BLOCK, end))
        content.agree(legible(body.digests))
        yield body


def _views(buffer: memoryview, loan: Loan, size: int) -> Iterator[memoryview]:
    """The pieces in which `size` bytes come by way of `buffer`, as much of it as `loan` is for."""
    at = 0
    while at < size:
        step = loan.size
        yield buffer[: min(step, size - at)]
        at += step
        # Not before something came: most of those that get stuck have had nothing.
        loan.grow(min(len(buffer), size))
