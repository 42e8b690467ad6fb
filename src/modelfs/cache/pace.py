"""How fast the ranges of one content come, and what follows for the next: pure arithmetic.

Where the single connection is slow, because it or its server is limited or far away, several bring
more than one. Where it is fast, what limits is common to all of them, a processor mostly: more of
them only cost more. One lock, for the numbers.
"""

from __future__ import annotations

import os
import threading

from modelfs.cache.blockmap import BLOCK

# What comes faster, in bytes a second, than a line of a gigabit brings.
_FAST = 125e6
# Connections for what nobody waits for yet, of fast ones and of others. What somebody waits for
# may have more. A fast one keeps a processor busy; threads without one only get in its way.
_FEW, _MANY = min(max(len(os.sched_getaffinity(0)), 2), 4), 10
# How much of the fastest counts after the next range: circumstances change.
_KEPT = 0.97
# One range takes about so long: the way of its request is a small part of that, and who wants what
# is at its end has not long to wait. In blocks: at first 4 MiB, then from 2 to 16; what is wanted
# is cut in several parts in any case, but not below 1 MiB.
_SECONDS, _FIRST, _SHORTEST, _LONGEST, _PARTS, _LEAST = 0.2, 16, 8, 64, 4, 4
# Less than this says little: it was mostly waited for, or was there already.
_TELLING = 2 << 20


class Pace:
    """Of one content: what its connections bring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # How many ranges are on their way.
        self.running = 0
        # Bytes a second of each connection, and of all; 0 while that is not known.
        self.each = 0.0
        self.total = 0.0
        self._fastest = 0.0

    def begin(self) -> None:
        """One more range is asked for."""
        with self._lock:
            self.running += 1

    def end(self, size: int, seconds: float) -> None:
        """A range has ended; `size` bytes of it came in `seconds`."""
        with self._lock:
            count = self.running
            self.running -= 1
            if size < _TELLING:
                return
            rate = size / max(seconds, 1e-6)
            self.each = (self.each + rate) / 2 if self.each else rate
            self.total = rate * count
            self._fastest = max(rate, self._fastest * _KEPT)

    @property
    def connections(self) -> int:
        """How many may be used at once for what nobody waits for yet."""
        return _FEW if self._fastest > _FAST else _MANY

    @property
    def is_fast(self) -> bool:
        """True if all comes faster than over a line of some distance: processors are scarce."""
        return self.total > _FAST

    def blocks(self, wanted: int) -> int:
        """How many blocks the next range should have, of so many `wanted`: a part of them."""
        longest = _FIRST
        if self.each:
            longest = min(max(int(self.each * _SECONDS) // BLOCK, _SHORTEST), _LONGEST)
        return max(min(wanted // min(_PARTS, self.connections), longest), _LEAST)
