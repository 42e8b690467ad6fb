"""How far ahead of a reader to fetch: pure policy, one object per open file.

A reader is seen as a few runs of reads that follow each other (a loader that maps a file has one
per thread). What is fetched ahead of a run never exceeds what the run has read, so that reading
one tensor costs about that tensor; a run that has read half of the file gets the rest of it. No
lock: a lost update only makes a range be asked for twice, which costs a look at the block map.
"""

from __future__ import annotations

# Two of the kernel's first read-aheads (128 KiB): less is one request for hardly anything.
FIRST = 1 << 20
# What eight connections with eight MiB each have under way.
MOST = 64 << 20
# The kernel sends the pieces of one read-ahead (up to 1 MiB on our mounts) in any order.
BACK = 1 << 20
# A loader that skips a tensor goes on; farther away is another place.
FORWARD = 16 << 20
# Threads of one loader that are followed at once.
RUNS = 4


class _Run:
    __slots__ = ("begin", "marked", "position", "taken")

    def __init__(self, start: int, stop: int) -> None:
        self.begin = start
        self.position = stop
        self.taken = stop - start
        self.marked = stop  # asked for up to here

    def follows(self, start: int) -> bool:
        return self.position - BACK <= start <= self.position + FORWARD and start >= self.begin


class ReadAhead:
    """Follows the reads of one open file of `size` bytes and says what to fetch next."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._runs: list[_Run] = []

    def note(self, start: int, stop: int) -> tuple[int, int] | None:
        """After a read of [start, stop): the range to fetch ahead, if any."""
        for run in self._runs:
            if run.follows(start):
                break
        else:
            self._runs = [_Run(start, stop), *self._runs[: RUNS - 1]]
            return None
        run.taken += stop - start
        if stop <= run.position:
            return None
        run.position = stop
        if run.marked >= self._size:
            return None
        # Read twice is read once.
        read = min(run.taken, stop - run.begin)
        ahead = min(max(read, FIRST), MOST)
        is_rest = read >= self._size // 2
        # Half of what is ahead is used up before more is asked for, so that requests stay large.
        if run.marked - stop > ahead // 2 and not is_rest:
            return None
        begin = max(run.marked, stop)
        run.marked = self._size if is_rest else min(stop + ahead, self._size)
        return (begin, run.marked) if begin < run.marked else None
