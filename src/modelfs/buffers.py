"""Memory for bytes on their way: one total, from which all who hold some of them take.

Owns the count, not the memory. What somebody needs to go on he waits for (`take`) or comes back for
(`at_once`); what would only be convenient he gets at once or not at all (`spare`, `Loan.grow`). Who
waits holds nothing, so what is held is given back whatever others do: nobody waits for himself, or
in a circle. A place, what all gets stuck together, gets no more than it leaves to the others, and
for convenience a third of that: then one place never takes what another needs. One lock, for
arithmetic.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from types import TracebackType

from modelfs.errors import DeadlinePassed
from modelfs.waiting import DEADLINE

DEFAULT = 64 << 20
# A total below this would have a few blocks and nothing to share out.
LEAST = 8 << 20
# So many times of what a place has more must be left to others.
_NEEDED, _CONVENIENT = 1, 3


@dataclass(frozen=True, slots=True)
class Gauges:
    """Bytes that are held, that were held at most, and that may be; who waits for some."""

    held: int
    most: int
    total: int
    waiting: int


class Loan:
    """So many bytes that somebody holds, until closed; at the latest with the last reference."""

    __slots__ = ("_buffers", "_place", "size")

    def __init__(self, buffers: Buffers, place: str, size: int) -> None:
        self._buffers = buffers
        self._place = place
        self.size = size

    def grow(self, size: int) -> int:
        """Hold `size` bytes, if that is more and they are there to spare; how many it holds."""
        if size > self.size and self._buffers.add(self._place, size - self.size):
            self.size = size
        return self.size

    def shrink(self, size: int) -> None:
        """Hold no more than `size` bytes any more."""
        if self.size > size:
            more, self.size = self.size - size, size
            self._buffers.give_back(self._place, more)

    def close(self) -> None:
        self.shrink(0)

    def __enter__(self) -> Loan:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Buffers:
    """`total` bytes, for all buffers of one mount."""

    def __init__(self, total: int = DEFAULT) -> None:
        self._total = total
        # Loans are also given back by the collector, which may come while this is locked.
        self._changed = threading.Condition(threading.RLock())
        self._held = 0
        self._most = 0
        self._waiting = 0
        self._by_place: Counter[str] = Counter()

    def take(self, size: int, place: str = "", deadline: float = DEADLINE) -> Loan:
        """`size` bytes, as soon as there are so many; the caller holds none.

        Raises DeadlinePassed after `deadline` seconds. A `size` beyond what one place may have at
        all counts as that.
        """
        size = min(size, self._total // 2)
        end = time.monotonic() + deadline
        with self._changed:
            while not self._may_have(place, size, _NEEDED):
                left = end - time.monotonic()
                if left <= 0:
                    raise DeadlinePassed(f"no memory for buffers within {deadline:g} s")
                self._waiting += 1
                try:
                    self._changed.wait(left)
                finally:
                    self._waiting -= 1
            self._count(place, size)
        return Loan(self, place, size)

    def at_once(self, size: int, place: str = "") -> Loan | None:
        """What `take` gives if it need not wait: for who rather comes back."""
        try:
            return self.take(size, place, deadline=0)
        except DeadlinePassed:
            return None

    def spare(self, size: int, place: str = "") -> Loan | None:
        """`size` bytes if there is plenty."""
        return Loan(self, place, size) if self.add(place, size) else None

    def add(self, place: str, size: int) -> bool:
        """Count `size` bytes more for `place`, for its convenience; False if they are not there."""
        with self._changed:
            if not self._may_have(place, size, _CONVENIENT):
                return False
            self._count(place, size)
            return True

    def give_back(self, place: str, size: int) -> None:
        with self._changed:
            self._count(place, -size)
            if not self._by_place[place]:
                del self._by_place[place]
            self._changed.notify_all()

    @property
    def gauges(self) -> Gauges:
        with self._changed:
            return Gauges(self._held, self._most, self._total, self._waiting)

    def _may_have(self, place: str, size: int, times: int) -> bool:
        left = self._total - self._held - size
        return times * (self._by_place[place] + size) <= left

    def _count(self, place: str, size: int) -> None:
        self._held += size
        self._most = max(self._most, self._held)
        self._by_place[place] += size
