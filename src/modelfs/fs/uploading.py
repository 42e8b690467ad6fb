"""Files of a draft -> the registry, each until it is there. Knows sessions and tokens, no journal.

Called by many threads at once, each for another file. No lock: what one file changes is its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from modelfs.errors import Corrupt, Expired, Interrupted, Unavailable
from modelfs.fs.journal import Item
from modelfs.fs.progress import Progress
from modelfs.registry.base import WritableRegistry

# A registry that forgets each session, or damages each upload, is not worth more.
_RENEWALS = 5


class Delays(Protocol):
    """How long to bear with a registry."""

    @property
    def tries(self) -> int: ...

    def delay(self, count: int) -> float: ...


class Uploads:
    """The uploads of one attempt. `changes` counts what is worth remembering.

    `open_item` gives a descriptor of its bytes, to be closed here.
    """

    def __init__(
        self,
        registry: WritableRegistry,
        open_item: Callable[[Item], int],
        progress: Progress,
        delays: Delays,
        is_over: Callable[[], bool],
    ) -> None:
        self._registry = registry
        self._open_item = open_item
        self._progress = progress
        self._delays = delays
        self._is_over = is_over
        self._failures: Counter[str] = Counter()
        self._renewals: Counter[str] = Counter()
        # How much had arrived, of all files, at a file's last failure.
        self._arrived: dict[str, int] = {}
        self.changes = 0

    def send(self, item: Item) -> float | None:
        """Upload one file: None when it is there, or in how many seconds to try again."""
        fd = self._open_item(item)
        try:
            if not item.session:
                item.session = self._registry.begin(item.part)
                self.changes += 1
            item.token = self._registry.send(
                item.session, item.part, fd, lambda count: self._advance(item, count)
            )
        except (Expired, Corrupt):
            self._renewals[item.path] += 1
            if self._renewals[item.path] > _RENEWALS:
                raise
            item.session = ""
            return self._delays.delay(self._renewals[item.path])
        except Unavailable as exc:
            self._progress.note = str(exc)
            return self._delay(item, exc)
        finally:
            os.close(fd)
        self.changes += 1
        self._progress.arrived(item)
        return None

    def _advance(self, item: Item, count: int) -> None:
        if self._is_over():
            raise Interrupted("publishing was ended")
        self._progress.sending(item, count)

    def _delay(self, item: Item, error: Unavailable) -> float:
        """Until the next try; raises `error` after too many without any progress."""
        if self._progress.sent > self._arrived.get(item.path, -1):
            self._failures[item.path] = 0
        self._arrived[item.path] = self._progress.sent
        self._failures[item.path] += 1
        if self._failures[item.path] >= self._delays.tries:
            raise error
        return self._delays.delay(self._failures[item.path])
