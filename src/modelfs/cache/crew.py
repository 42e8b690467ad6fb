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
from collections import deque
from collections.abc import Callable

from modelfs.cache.blockmap import BLOCK

log = logging.getLogger(__name__)

# Gets a buffer of one block that belongs to the thread.
Task = Callable[[memoryview], None]

# Threads that are kept for readers: a registry that stalls must not hold every thread with
# reading ahead for one file while another file is asked for.
_KEPT = 4


class Crew:
    """Worker threads with one queue: urgent tasks before others, in order of arrival."""

    def __init__(self, workers: int, name: str = "cache") -> None:
        self._workers = workers
        self._name = name
        self._most_idle_tasks = max(1, workers - _KEPT)
        self._changed = threading.Condition()
        self._urgent: deque[Task] = deque()
        self._idle: deque[Task] = deque()
        self._later: list[tuple[float, int, Task]] = []
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

    def submit(self, task: Task, *, is_urgent: bool = True, delay: float = 0.0) -> None:
        """Have `task` done: before all that is not urgent, and not before `delay` seconds."""
        with self._changed:
            if self._is_stopping:
                return
            if delay:
                due = time.monotonic() + delay
                heapq.heappush(self._later, (due, next(self._numbers), task))
            elif is_urgent:
                self._urgent.append(task)
            else:
                self._idle.append(task)
            self._changed.notify()

    def _run(self) -> None:
        buffer = memoryview(bytearray(BLOCK))
        while (found := self._next()) is not None:
            task, is_urgent = found
            try:
                task(buffer)
            except Exception:
                log.exception("a task of the %s failed", self._name)
            # An idle thread keeps nothing open.
            del task, found
            if not is_urgent:
                with self._changed:
                    self._idle_running -= 1
                    self._changed.notify()

    def _next(self) -> tuple[Task, bool] | None:
        with self._changed:
            while not self._is_stopping:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._urgent.append(heapq.heappop(self._later)[2])
                if self._urgent:
                    return self._urgent.popleft(), True
                if self._idle and self._idle_running < self._most_idle_tasks:
                    self._idle_running += 1
                    return self._idle.popleft(), False
                self._changed.wait(self._later[0][0] - now if self._later else None)
        return None
