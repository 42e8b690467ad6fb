"""How fast the ranges of one content come, and what follows for the next: pure arithmetic.

More connections pay as long as each of them brings as much as it would alone: servers and lines
far away limit the single connection, those near by all of them together. So the fewest that bring
nearly the most are used, and up to twice as many, to see whether those bring more. One lock, for
the numbers.
"""

from __future__ import annotations

import threading

from modelfs.cache.blockmap import BLOCK

# Before anything is known; at the most. Others of the same content, for which somebody waits, may
# begin beside these.
_START, _MOST = 8, 10
# Nearly the most, and how much of what was seen still counts after the next range.
_NEARLY, _KEPT = 0.8, 0.9
# One range takes about so long: its request's way is a small part of that, and who wants what is
# at its end has not long to wait. Between 1 and 16 MiB, unless less is wanted.
_SECONDS, _LEAST, _LONGEST = 0.15, 4, 64
# What comes faster, in bytes a second, than a line of a gigabit brings.
_FAST = 125e6
# Less than this may have been in some buffer on the way.
_TELLING = 1 << 20


class Pace:
    """Of one content: what its connections bring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        # Bytes a second of all together, by the number of connections: 1, 2 or 3, 4 to 7, more.
        self._totals = [0.0] * 4
        # How many connections may be used.
        self.connections = _START
        # Bytes a second of each connection, and of all; 0 while that is not known.
        self.each = 0.0
        self.total = 0.0

    def begin(self) -> None:
        """One more range is on its way."""
        with self._lock:
            self._count += 1

    def end(self, size: int, seconds: float) -> None:
        """A range has ended; `size` bytes of it came within `seconds` of the answer's head."""
        with self._lock:
            count = self._count
            self._count -= 1
            if size < _TELLING:
                return
            rate = size / max(seconds, 1e-6)
            self.each = (self.each + rate) / 2 if self.each else rate
            self.total = rate * count
            level = min(count.bit_length(), len(self._totals)) - 1
            totals = [known * _KEPT for known in self._totals]
            seen = self._totals[level]
            totals[level] = (seen + self.total) / 2 if seen else self.total
            self._totals = totals
            enough = _NEARLY * max(totals)
            best = next(at for at, known in enumerate(totals) if known >= enough)
            self.connections = min(2 << best, _MOST)

    @property
    def is_fast(self) -> bool:
        """True if it comes faster than over a line of some distance; then processors are scarce."""
        return self.total > _FAST

    def blocks(self, wanted: int) -> int:
        """How many blocks the next range should have, of so many `wanted`: a part of them."""
        longest = int(self.each * _SECONDS) // BLOCK
        return max(_LEAST, min(wanted // 4, max(longest, _LEAST), _LONGEST))
