"""Gives those who wait for bytes of a content what they wait for: from its file, or past it.

The last step of all that brings bytes. No lock and no state of its own.
"""

from __future__ import annotations

import os

from modelfs.buffers import Buffers
from modelfs.cache.backing import Backing
from modelfs.cache.content import Content
from modelfs.cache.crew import Crew
from modelfs.cache.direct import read_past
from modelfs.cache.store import Store
from modelfs.cache.waiters import Waiter, fail, misled
from modelfs.errors import Unavailable


class Delivery:
    """Serves waiters that have nobody else to see to them: they are done, or it is on us."""

    def __init__(self, store: Store, crew: Crew, memory: Buffers) -> None:
        self._store = store
        self._crew = crew
        self._memory = memory

    def serve(self, content: Content, backing: Backing, waiters: list[Waiter]) -> None:
        """Give readers the bytes that `backing` has now."""
        for waiter in waiters:
            size = waiter.stop - waiter.start
            try:
                data = os.pread(backing.fd, size, waiter.start)
            except OSError:
                data = b""
            if not waiter.reader.serve(backing):
                fail([waiter], content.failure or misled())
            elif len(data) == size:
                waiter.future.set_result(data)
            else:
                self.divert(content, [waiter])
                self.lose(content, backing)

    def divert(self, content: Content, waiters: list[Waiter]) -> None:
        """Serve readers without the cache, unless they want nothing that is not proven."""
        if content.is_proven_first:
            fail(waiters, Unavailable(f"cannot be kept, so not verified first: {content.key}"))
            return
        if content.queue_direct(waiters):
            self._crew.submit(
                lambda _: read_past(content, self._crew.moved, self._memory),
                group=content.key,
                place=content.place,
            )

    def lose(self, content: Content, backing: Backing) -> None:
        """Stop using a file that cannot be read any more."""
        self._store.drop(content.key, backing.inode)
        self.divert(content, content.lose(backing))
