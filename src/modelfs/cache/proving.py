"""Compares contents with their digests: the good ones are kept, the wrong ones fetched again.

For a content whose last bytes wait for that, as soon as they have come; for others on threads of
low priority. Owns those threads, no lock and no state.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

from modelfs.buffers import Buffers
from modelfs.cache.backing import Backing
from modelfs.cache.content import Content
from modelfs.cache.crew import Crew
from modelfs.cache.delivering import Delivery
from modelfs.cache.settle import Settler
from modelfs.cache.store import Store
from modelfs.cache.waiters import Waiter, fail, misled

log = logging.getLogger(__name__)

# Has a content's bytes fetched for these who wait, whatever they waited for before.
Again = Callable[[Content, list[Waiter]], None]

# A tenth of what a thread at work gets, where there are not processors enough for both.
_NICE = 10


class Prover:
    """Says what becomes of contents whose bytes have come."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        delivery: Delivery,
        memory: Buffers,
        moved: Callable[[int], None],
        learn: Callable[[Content], None],
        on_reject: Callable[[Backing], None],
        on_proof: Callable[[Content, Backing], None],
    ) -> None:
        """`moved` is told of bytes that a thread which somebody may wait for has hashed."""
        self._store = store
        self._settler = settler
        self._delivery = delivery
        self._memory = memory
        self._moved = moved
        # Told of a content whose hash was worked out block by block, once it is right.
        self._learn = learn
        # Told of a file whose bytes turned out wrong, before those who wait for more of them.
        self._on_reject = on_reject
        # Told of a content nobody waited for that has been compared, whatever came of it.
        self._on_proof = on_proof
        # Hashing is what it does: as much as one processor of many.
        self._crew = Crew(max(1, (os.cpu_count() or 1) // 4), "cache-prover")

    def start(self) -> None:
        self._crew.start()

    def stop(self, deadline: float) -> None:
        self._crew.stop(deadline)

    def look(self, content: Content, backing: Backing, again: Again) -> None:
        """More of it has come: compare it, or see to it that this is done, if it is time for it.

        `again` is told of those that have to be given other bytes.
        """
        if not content.is_proven_later:
            self._judge(content, backing, again)
        elif content.is_proof_due:
            self._crew.submit(lambda _: self._prove(content, backing, again), group=content.key)

    def accept(self, content: Content, backing: Backing) -> None:
        """All of it is right."""
        try:
            self._settler.add(content.key, backing.instance())
        except OSError as exc:  # the disk does not let us look at it
            log.debug("%s: not finished: %s", content.key, exc)
        self._delivery.serve(content, backing, content.accept(backing))

    def reject(self, content: Content, backing: Backing | None, again: Again) -> None:
        """Tell readers that the bytes were wrong, or try again for them."""
        waiting = content.reject(backing)
        if backing is not None and backing.is_bad:
            self._on_reject(backing)
        for waiter in waiting:
            if waiter.reader.is_misled:
                fail([waiter], content.failure or misled())
            else:
                again(content, [waiter])

    def _prove(self, content: Content, backing: Backing, again: Again) -> None:
        """Hash what has come of a content whose last bytes do not wait for that."""
        # What somebody waits for goes first.
        thread = threading.get_native_id()
        # Never up, which nobody may who was started with less.
        lowest = max(_NICE, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, lowest)
        self._judge(content, backing, again)
        # One that was lost meanwhile has come to its end too, whatever there is in its place.
        if backing is not content.backing or not content.is_unproven:
            self._on_proof(content, backing)

    def _judge(self, content: Content, backing: Backing, again: Again) -> None:
        """Hash what has come; accept or drop the content when all of it has."""
        try:
            verdict = content.hash_forward(backing, self._moved, self._memory)
        except OSError as exc:
            log.debug("%s: cannot be read: %s", content.key, exc)
            self._delivery.lose(content, backing)
            return
        if verdict is None:
            return
        if not verdict:
            self._store.drop(content.key, backing.inode)
            self.reject(content, backing, again)
            return
        if not backing.is_suspect:
            self._learn(content)
        self.accept(content, backing)
