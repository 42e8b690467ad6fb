"""Threads of the session loop that rest, so that a request that waits needs no new one.

With every first read of a file a thread waits and another takes its place: starting that one took
longer than the rest of a small file's read. Owns who rests. One lock, for counting.
"""

from __future__ import annotations

import threading

# As many readers at once as most programs have; a thread that rests costs its stack and buffer.
MOST = 8
# Between two files of a program that works on each.
PATIENCE = 10.0


class Spares:
    """The threads that rest; at most `most`, each for `patience` seconds."""

    def __init__(self, most: int = MOST, patience: float = PATIENCE) -> None:
        self._most = most
        self._patience = patience
        self._lock = threading.Lock()
        self._resting = 0
        self._calls = threading.Semaphore(0)

    def call(self) -> bool:
        """Have one that rests go on; False if none does."""
        with self._lock:
            if not self._resting:
                return False
            self._resting -= 1
        self._calls.release()
        return True

    def rest(self) -> bool:
        """Rest until called; False if the thread is not needed any more."""
        with self._lock:
            if self._resting >= self._most:
                return False
            self._resting += 1
        while not self._calls.acquire(timeout=self._patience):
            with self._lock:
                if self._resting:
                    self._resting -= 1
                    return False
            # All who rest have been called at this moment, so one call is for us.
        return True
