"""The same work for many files, some at once, on threads that others use as well.

Owns what is left to do of one batch; its lock is held for taking the next. A file whose time has
not come yet takes no thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from modelfs.cache.crew import Crew

T = TypeVar("T")

# Does the work for one thing; returns None when it is done, or in how many seconds to come back.
Work = Callable[[T, memoryview], float | None]


class Batch(Generic[T]):
    """`work` for each of `things`, on at most `lanes` threads of `crew`; the first error ends it.

    Between two things a lane queues up again, so that a large batch does not keep a small one out.
    """

    def __init__(self, crew: Crew, lanes: int, things: Iterable[T], work: Work[T]) -> None:
        self._crew = crew
        self._work = work
        self._left = deque(things)
        self._lanes = min(lanes, len(self._left))
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._is_over = False

    def start(self) -> None:
        for _ in range(self._lanes):
            self._crew.submit(self._next)

    def wait(self, seconds: float) -> bool:
        """True once all is done; raises what the work raised. False after that many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or not self._lanes, seconds)
            if self._error is not None:
                raise self._error
            return not self._lanes

    def end(self) -> None:
        """Begin nothing more; what is being done is not waited for."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _next(self, buffer: memoryview) -> None:
        with self._changed:
            if self._is_over or self._error is not None or not self._left:
                self._lanes -= 1
                self._changed.notify_all()
                return
            thing = self._left.popleft()
        self._do(thing, buffer)

    def _do(self, thing: T, buffer: memoryview) -> None:
        try:
            delay = None if self._is_over else self._work(thing, buffer)
        except BaseException as exc:
            with self._changed:
                self._error = self._error or exc
                self._changed.notify_all()
            return
        if delay is None:
            self._crew.submit(self._next)
        else:
            self._crew.submit(lambda view: self._do(thing, view), delay=max(delay, 0.001))
