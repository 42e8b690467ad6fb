"""Makes finished contents durable and gives them their final name, in batches.

One thread: a single call flushes the disk for everything that was finished meanwhile, so that ten
thousand small files cost as much as one large one. It holds keys, not descriptors: what is evicted
in between is simply not found. One lock guards the list, never held while the disk works.
"""

from __future__ import annotations

import logging
import threading
import time

from modelfs.cache.backing import Instance
from modelfs.cache.directory import Directory
from modelfs.cache.store import Store

log = logging.getLogger(__name__)

# Gathers the files of one copy into one flush; until then a crash of the machine costs a hash.
_GATHER = 0.3


class Settler:
    """A thread that settles what it is given."""

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store = store
        self._directory = directory
        self._changed = threading.Condition()
        self._finished: dict[str, Instance] = {}
        self._is_busy = False
        self._is_hurried = False
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="cache-settler", daemon=True)
        self._thread.start()

    def stop(self, deadline: float) -> None:
        """Settle what is finished, within the deadline, and end the thread."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(deadline)
            self._thread = None

    def add(self, key: str, instance: Instance) -> None:
        """Settle the file of `key`, whose bytes were right when it was this instance."""
        with self._changed:
            self._finished[key] = instance
            self._changed.notify_all()

    def wait(self, deadline: float) -> bool:
        """True once everything given so far is settled, which is begun at once."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()
            is_done = self._changed.wait_for(
                lambda: not self._finished and not self._is_busy, deadline
            )
            self._is_hurried = False
            return is_done

    def _run(self) -> None:
        try:
            self._store.sweep()
        except OSError as exc:
            log.debug("the cache cannot be swept: %s", exc)
        while batch := self._next():
            self._settle(batch)
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()

    def _next(self) -> dict[str, Instance]:
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._is_stopping)
            end = time.monotonic() + _GATHER
            while not (self._is_stopping or self._is_hurried):
                if (left := end - time.monotonic()) <= 0:
                    break
                self._changed.wait(left)
            batch, self._finished = self._finished, {}
            self._is_busy = bool(batch)
            return batch

    def _settle(self, batch: dict[str, Instance]) -> None:
        try:
            self._directory.sync()
        except OSError as exc:
            log.debug("the cache's disk cannot be flushed: %s", exc)
            return
        for key, instance in batch.items():
            try:
                self._store.finish(key, instance)
            except FileNotFoundError:
                pass  # evicted, or finished by another process
            except OSError as exc:
                log.debug("%s: not finished: %s", key, exc)
