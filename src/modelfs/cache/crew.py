"""Threads that work for one owner: what somebody waits for first, then what may be wanted next.

Owns the threads and the queue; knows nothing of what the tasks do. One lock guards the queue and
is never held while a task runs. Started after the mount's fork, stopped within a deadline: a
thread that hangs in somebody's network call is left behind, as it is a daemon thread.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from modelfs.cache.blockmap import BLOCK

log = logging.getLogger(__name__)

# Gets a buffer of one block that belongs to the thread.
Task = Callable[[memoryview], None]

# Threads that are kept: a registry that stalls must not hold every one with reading ahead, nor
# with the many readers of one file, while another file is asked for.
_KEPT = 4


class Crew:
    """Worker threads with one queue: urgent tasks before others, in order of arrival."""

    def __init__(self, workers: int, name: str = "cache") -> None:
        self._workers = workers
        self._name = name
        # At most so many tasks that are not urgent run at once, and so many of one group.
        self._most_alike = max(1, workers - _KEPT)
        self._changed = threading.Condition()
        self._urgent: deque[tuple[Task, str]] = deque()
        self._idle: deque[tuple[Task, str]] = deque()
        self._later: list[tuple[float, int, tuple[Task, str]]] = []
        self._running: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._idle_running = 0
        self._is_stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._is_stopping = False
        for number in range(self._workers):
            thread = threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, deadline: float) -> None:
        """End the threads; what is queued is not done any more."""
        with self._changed:
            self._is_stopping = True
            self._urgent.clear()
            self._idle.clear()
            self._later.clear()
            self._changed.notify_all()
        end = time.monotonic() + deadline
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._threads.clear()

    def submit(
        self, task: Task, *, group: str = "", is_urgent: bool = True, delay: float = 0.0
    ) -> None:
        """Have `task` done: before all that is not urgent, and not before `delay` seconds.

        Tasks of one `group` never have all threads, however many there are of them.
        """
        with self._changed:
            if self._is_stopping:
                return
            if delay:
                due = time.monotonic() + delay
                heapq.heappush(self._later, (due, next(self._numbers), (task, group)))
            elif is_urgent:
                self._urgent.append((task, group))
            else:
                self._idle.append((task, group))
            self._changed.notify()

    def _run(self) -> None:
        buffer = memoryview(bytearray(BLOCK))
        while (found := self._next()) is not None:
            task, group, is_urgent = found
            try:
                task(buffer)
            except Exception:
                log.exception("a task of the %s failed", self._name)
            # An idle thread keeps nothing open.
            del task, found
            with self._changed:
                self._running[group] -= 1
                if not self._running[group]:
                    del self._running[group]
                self._idle_running -= not is_urgent
                self._changed.notify()

    def _next(self) -> tuple[Task, str, bool] | None:
        with self._changed:
            while not self._is_stopping:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._urgent.append(heapq.heappop(self._later)[2])
                if found := self._first(self._urgent):
                    return *found, True
                if self._idle_running < self._most_alike and (found := self._first(self._idle)):
                    self._idle_running += 1
                    return *found, False
                self._changed.wait(self._later[0][0] - now if self._later else None)
        return None

    def _first(self, queue: deque[tuple[Task, str]]) -> tuple[Task, str] | None:
        """Take the first task whose group has not as many threads as one may have."""
        for place, (task, group) in enumerate(queue):
            if not group or self._running[group] < self._most_alike:
                del queue[place]
                self._running[group] += 1
                return task, group
        return None
