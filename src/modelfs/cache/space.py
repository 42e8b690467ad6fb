"""Room for the cache: a budget of its own and a floor on the disk, asked before writing.

Counts what is allocated on disk, by every process that uses the directory: what this one writes is
added as it is promised, what others do is seen whenever the directory is looked through. One lock
guards the numbers; one thread at a time looks through the directory, without it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from modelfs.cache import evict
from modelfs.cache.directory import Directory
from modelfs.cache.store import Store
from modelfs.errors import NoSpace
from modelfs.waiting import Clock

# Others may fill the budget meanwhile, so it is counted again after this time.
_RECOUNT_AFTER = 60.0
# When nothing could be dropped, it makes no sense to look again at once.
_FULL_FOR = 2.0
# For another thread's look through the directory.
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the cache takes up and may take up, in bytes, and in how many contents."""

    used: int
    budget: int
    files: int


class Room:
    """Says whether something may be written, and makes room where there is none."""

    def __init__(
        self, store: Store, directory: Directory, budget: int, floor: int, clock: Clock
    ) -> None:
        self._store = store
        self._directory = directory
        self._budget = budget
        self._floor = floor
        self._clock = clock
        self._changed = threading.Condition()
        self._used: int | None = None
        self._counted_at = 0.0
        self._full_until = 0.0
        self._is_counting = False

    def reserve(self, size: int) -> None:
        """Make sure that `size` bytes may be written; raises NoSpace if not, OSError if unknown."""
        if self._take(size):
            return
        with self._changed:
            if self._clock() < self._full_until:
                raise NoSpace("the cache is full of open files")
            if self._is_counting:
                self._changed.wait_for(lambda: not self._is_counting, _PATIENCE)
                is_mine = False
            else:
                is_mine = self._is_counting = True
        if is_mine:
            try:
                self._make(size)
            finally:
                with self._changed:
                    self._is_counting = False
                    self._changed.notify_all()
        if not self._take(size):
            with self._changed:
                self._full_until = self._clock() + _FULL_FOR
            raise NoSpace("the cache is full of open files")

    def refund(self, size: int) -> None:
        """What was reserved has not been written after all."""
        with self._changed:
            if self._used is not None:
                self._used = max(0, self._used - size)

    def fits(self, size: int) -> bool:
        """True if something of that size is not too large for the budget, were it alone."""
        return size <= self._budget

    def grow(self, size: int) -> None:
        """That much has come in without being written; what is too much goes when asked next."""
        self.refund(-size)

    def usage(self) -> Usage:
        """Counted now."""
        stored = list(self._store.scan())
        return Usage(sum(item.allocated for item in stored), self._budget, len(stored))

    def drop(self, size: int) -> int:
        """Drop cold contents until `size` bytes are free; how many that were."""
        freed = self._drop(list(self._store.scan()), size)
        self.refund(freed)
        return freed

    def _take(self, size: int) -> bool:
        """Reserve if it fits by what is known."""
        free = self._directory.space().free
        now = self._clock()
        with self._changed:
            if self._used is None or not 0 <= now - self._counted_at < _RECOUNT_AFTER:
                return False
            if self._excess(self._used, size, free):
                return False
            self._used += size
            return True

    def _make(self, size: int) -> None:
        """Count, and drop what has to go."""
        stored = list(self._store.scan())
        used = sum(item.allocated for item in stored)
        if over := self._excess(used, size, self._directory.space().free):
            used -= self._drop(stored, evict.with_slack(over, self._budget))
        with self._changed:
            self._used = used
            self._counted_at = self._clock()

    def _drop(self, stored: list[evict.Stored], size: int) -> int:
        freed = 0
        for item in evict.victims(stored, self._directory.pinned(), size):
            if freed >= size:
                break
            if self._store.evict(item):
                freed += item.allocated
        return freed

    def _excess(self, used: int, wanted: int, free: int) -> int:
        return evict.excess(
            used=used, wanted=wanted, budget=self._budget, free=free, floor=self._floor
        )
