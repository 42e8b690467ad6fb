"""How far ahead of a reader to fetch: pure policy, one object per open file.

A reader is seen as a few runs of reads that follow each other (a loader that maps a file has one
per thread). What is fetched ahead of a run is the square of what it has read, divided by how much
has to be read before it is believed: from the first byte on hardly anything, since who reads a file
in order reads all of it; elsewhere more, since nobody can tell the end of a tensor from the middle
of a longer read. So the header of a file, or a read here and there, brings nothing but itself.

No lock but the one of a `Stretch`: a lost update only makes a range be asked for twice, which costs
a look at the block map.
"""

from __future__ import annotations

import threading

from modelfs.cache.blockmap import BLOCK, block_count

# Less than this has been read: that may have been all. Two of the kernel's first read-aheads.
LEAST = 256 << 10
# Read ahead is as much again once so much has been read: from the first byte, and elsewhere.
FROM_FIRST, ELSEWHERE = 256 << 10, 16 << 20
# Elsewhere it is this at first (less is one request for hardly anything), and never more than half
# of what was read.
FIRST = 1 << 20
# What ten connections with some MiB each have under way, and again as much that waits for them.
MOST = 128 << 20
# The kernel sends the pieces of one read-ahead (up to 1 MiB on our mounts) in any order.
BACK = 1 << 20
# A loader that skips a tensor goes on, if that is not more than it has read; farther away is
# another place.
FORWARD = 16 << 20
# Threads of one loader that are followed at once.
RUNS = 4


class Stretch:
    """The blocks [first, stop) that are to be fetched ahead of one run, the first ones first.

    The reader moves its end, and whoever fetches its front; one of the latter at a time.
    """

    __slots__ = ("_is_closed", "_is_taken", "_lock", "first", "stop")

    def __init__(self) -> None:
        self.first = self.stop = 0
        self._is_taken = False
        self._is_closed = False
        self._lock = threading.Lock()

    def extend(self, first: int, stop: int) -> bool:
        """More is wanted, up to `stop`, and what is before `first` no more.

        True if it is on the caller to have it fetched.
        """
        with self._lock:
            self.first, self.stop = max(self.first, first), max(self.stop, stop)
            if self._is_taken or self._is_closed:
                return False
            self._is_taken = True
            return True

    def advance(self, first: int) -> bool:
        """All before `first` is being fetched; False if there is nothing else to be done."""
        with self._lock:
            self.first = max(self.first, first)
            self._is_taken = self.first < self.stop and not self._is_closed
            return self._is_taken

    def pause(self) -> None:
        """Nothing more is fetched of it until more is wanted."""
        with self._lock:
            self._is_taken = False

    def close(self) -> None:
        """Nobody wants any more of it."""
        with self._lock:
            self._is_closed = True
            self.stop = self.first


class _Run:
    __slots__ = ("begin", "marked", "position", "stretch", "taken")

    def __init__(self, start: int, stop: int) -> None:
        self.begin = start
        self.position = stop
        self.taken = stop - start
        self.marked = stop  # asked for up to here
        self.stretch = Stretch()

    def follows(self, start: int) -> bool:
        skipped = max(BACK, min(self.read, FORWARD))
        return (
            self.begin - BACK <= start and self.position - BACK <= start <= self.position + skipped
        )

    @property
    def read(self) -> int:
        # Read twice is read once.
        return min(self.taken, self.position - self.begin)

    @property
    def ahead(self) -> int:
        """How far to fetch ahead of what has been read."""
        read = self.read
        if read < LEAST:
            return 0
        if self.begin == 0:
            return min(read * read // FROM_FIRST, MOST)
        return min(max(min(read * read // ELSEWHERE, read // 2), FIRST), MOST)


class ReadAhead:
    """Follows the reads of one open file of `size` bytes and says what to fetch next."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._runs: list[_Run] = []

    def note(self, start: int, stop: int) -> Stretch | None:
        """After a read of [start, stop): what to fetch ahead, if nobody has begun to."""
        for run in self._runs:
            if run.follows(start):
                run.taken += stop - start
                run.begin = min(run.begin, start)
                break
        else:
            run = _Run(start, stop)
            self._runs, dropped = [run, *self._runs[: RUNS - 1]], self._runs[RUNS - 1 :]
            for each in dropped:
                each.stretch.close()
            return None
        if stop <= run.position:
            return None
        run.position = stop
        return self._more(run)

    def _more(self, run: _Run) -> Stretch | None:
        """Ask for more ahead of `run`, a good piece at a time, so that requests stay large."""
        position, ahead = run.position, run.ahead
        if not ahead or run.marked >= self._size:
            return None
        is_rest = run.read >= self._size // 2
        if run.marked - position > ahead - min(ahead // 2, MOST // 4) and not is_rest:
            return None
        begin = max(run.marked, position)
        run.marked = self._size if is_rest else max(min(position + ahead, self._size), begin)
        if begin == run.marked:
            return None
        has_to_begin = run.stretch.extend(position // BLOCK, block_count(run.marked))
        return run.stretch if has_to_begin else None

    def close(self) -> None:
        """The reader has gone."""
        for run in self._runs:
            run.stretch.close()
