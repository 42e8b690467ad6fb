"""Threads that work for one owner: what somebody waits for first, then what may be wanted next.

Owns the threads, the queue, and who may begin; knows nothing of what the tasks do. Tasks may get
stuck, in a registry that says nothing or next to nothing. So only those that say that they move
(`moved`) keep others from beginning, until very many are stuck. Then the last places are for a
moment only: who does not move there has to give way to others that wait (`waiting.Turn`).
One lock guards the queue and is never held while a task runs. Threads are started when there is
work, so after the mount's fork, and stopped within a deadline: one that hangs in somebody's network
call is left behind, as it is a daemon thread.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import mmap
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from modelfs.waiting import Turn, take_turn

log = logging.getLogger(__name__)

# Gets a buffer that belongs to the thread.
Task = Callable[[memoryview], None]
# Of a few blocks: calls and locks do not count then, and a slow line fills it in a moment.
BUFFER = 1 << 20

# Of those that move: kept from reading ahead, and from the many readers of one file.
_KEPT = 4
# What moves: so much in so many seconds. Registries that are far away begin an answer in less.
_MOVE, _WHILE = 1 << 16, 2.0
# A task of a group that has some running leaves room for so many others for each of those.
_MODESTY = 4
# The last places of those that get stuck: how many, and for how long without a byte.
_BRIEF, _MOMENT = 16, 3.0
# For more work, before a thread ends.
_LINGER = 10.0


@dataclass(slots=True, eq=False)
class _Queued:
    task: Task
    group: str
    place: str
    is_urgent: bool
    most: Callable[[], int] | None
    turn: Turn = field(default_factory=Turn)
    # Is it in one of the last places?
    is_brief: bool = False
    # While it runs: since when, when it last moved, and by how much since.
    begun: float = 0.0
    last: float = 0.0
    count: int = 0


class Crew:
    """Worker threads with one queue: urgent tasks before others, in order of arrival.

    Of one place (what all gets stuck together) `workers` tasks run at once that move, and with
    those that are stuck `most`.
    """

    def __init__(self, workers: int, name: str = "cache", *, most: int = 0) -> None:
        self._workers = workers
        self._most = most or workers
        # Beyond so many a task is in one of the last places.
        self._patient = max(workers, self._most - _BRIEF)
        self._name = name
        # At most so many tasks that are not urgent run at once, and so many of one group.
        self._most_alike = max(1, workers - _KEPT)
        self._changed = threading.Condition()
        self._urgent: deque[_Queued] = deque()
        self._idle: deque[_Queued] = deque()
        self._later: list[tuple[float, int, _Queued]] = []
        self._running: set[_Queued] = set()
        self._numbers = itertools.count()
        self._is_started = False
        self._waiting = 0
        self._threads: set[threading.Thread] = set()
        self._current = threading.local()

    def start(self) -> None:
        with self._changed:
            self._is_started = True
            if self._urgent or self._idle or self._later:
                self._call()

    def stop(self, deadline: float) -> None:
        """End the threads; what is queued is not done any more, who waits for bytes gives way."""
        with self._changed:
            self._is_started = False
            self._urgent.clear()
            self._idle.clear()
            self._later.clear()
            for running in self._running:
                running.turn.finish()
            self._changed.notify_all()
            threads = list(self._threads)
        end = time.monotonic() + deadline
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def submit(
        self,
        task: Task,
        *,
        group: str = "",
        place: str = "",
        is_urgent: bool = True,
        delay: float = 0.0,
        most: Callable[[], int] | None = None,
    ) -> None:
        """Have `task` done: before all that is not urgent, and not before `delay` seconds.

        `most`: only once fewer than that of its group are running; it takes no lock.

        Tasks of one `group` never keep those of others from beginning, however many there are,
        nor do those of one `place`.
        """
        queued = _Queued(task, group, place, is_urgent, most)
        with self._changed:
            if delay:
                due = time.monotonic() + delay
                heapq.heappush(self._later, (due, next(self._numbers), queued))
            else:
                (self._urgent if is_urgent else self._idle).append(queued)
            if self._is_started:
                self._call()

    @property
    def load(self) -> tuple[int, int]:
        """How many tasks are running, and how many wait for their turn."""
        with self._changed:
            waiting = len(self._urgent) + len(self._idle) + len(self._later)
            return len(self._running), waiting

    def moved(self, count: int) -> None:
        """The task that this thread does has got on by so many bytes."""
        running: _Queued | None = getattr(self._current, "task", None)
        if running is not None:
            running.count += count
            if running.count >= _MOVE:
                running.count, running.last = 0, time.monotonic()

    def _call(self) -> None:
        """Have a thread look what there is to do."""
        if self._waiting:
            self._changed.notify()
            return
        number = next(self._numbers)
        thread = threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # too many for the system; those there are go on
            log.debug("no thread more for the %s: %s", self._name, exc)
        else:
            self._threads.add(thread)

    def _run(self) -> None:
        # Not a bytearray, which is filled with zeros while all other threads wait.
        pages = mmap.mmap(-1, BUFFER, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        buffer = memoryview(pages)
        while (found := self._next()) is not None:
            self._current.task = found
            take_turn(found.turn)
            try:
                found.task(buffer)
            except Exception:
                log.exception("a task of the %s failed", self._name)
            # An idle thread keeps nothing open, and no memory.
            pages.madvise(mmap.MADV_DONTNEED)
            self._current.task = None
            take_turn(None)
            with self._changed:
                self._running.discard(found)
            del found

    def _next(self) -> _Queued | None:
        """What to do next; None ends the thread."""
        with self._changed:
            end = time.monotonic() + _LINGER
            while self._is_started:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._urgent.append(heapq.heappop(self._later)[2])
                if found := self._take(now):
                    if self._urgent or self._idle or self._later:
                        self._call()
                    return found
                self._clear_places(now)
                until = self._changes(now)
                if until is None and now >= end:
                    break
                self._waiting += 1
                self._changed.wait((end if until is None else until) - now)
                self._waiting -= 1
            self._threads.discard(threading.current_thread())
        return None

    def _changes(self, now: float) -> float | None:
        """When more may begin than may now, if no task ends before; None if none will."""
        moments = [self._later[0][0]] if self._later else []
        if self._urgent or self._idle:
            ends = (max(each.begun, each.last) + _WHILE for each in self._running)
            moments += [moment for moment in ends if moment > now]
            brief = (_moment_of(each) for each in self._running if each.is_brief)
            moments += [moment for moment in brief if moment > now]
        return min(moments, default=None)

    def _take(self, now: float) -> _Queued | None:
        """Take the first task that may begin."""
        if not self._urgent and not self._idle:
            return None
        load = _Load(self._running, now)
        for queue in (self._urgent, self._idle):
            for at, queued in enumerate(queue):
                if self._may_begin(queued, load):
                    del queue[at]
                    queued.begun = now
                    queued.is_brief = load.all[queued.place] >= self._patient
                    self._running.add(queued)
                    return queued
        return None

    def _clear_places(self, now: float) -> None:
        """Have those give way to others of their place that are there for a moment which is over.

        Under the lock, as that takes a moment and waits for nobody.
        """
        wanted = Counter(each.place for each in self._urgent)
        wanted -= Counter(each.place for each in self._running if each.turn.is_over)
        for each in sorted(self._running, key=_moment_of):
            if wanted[each.place] > 0 and not each.turn.is_over and _moment_of(each) <= now:
                wanted[each.place] -= 1
                each.turn.finish()

    def _may_begin(self, queued: _Queued, load: _Load) -> bool:
        group, place = queued.group, queued.place
        alike = load.alike[group] if group else 0
        if alike >= self._most_alike or load.all[place] + _MODESTY * alike >= self._most:
            return False
        if queued.most is not None and alike >= queued.most():
            return False
        if load.moving[place] >= self._workers:
            return False
        # No reading ahead of what does not come.
        return queued.is_urgent or (load.idle[place] < self._most_alike and group not in load.stuck)


def _moment_of(running: _Queued) -> float:
    """Until when a task may be stuck where it is."""
    return max(running.begun, running.last) + _MOMENT if running.is_brief else math.inf


class _Load:
    """How many tasks run of each place, of each group; of which groups all are stuck."""

    def __init__(self, running: Iterable[_Queued], now: float) -> None:
        self.all, self.moving, self.idle = Counter[str](), Counter[str](), Counter[str]()
        self.alike = Counter[str]()
        self.stuck: set[str] = set()
        lively: set[str] = set()
        for each in running:
            self.all[each.place] += 1
            self.alike[each.group] += 1
            self.moving[each.place] += now - each.last < _WHILE
            if now - max(each.begun, each.last) >= _WHILE:
                self.stuck.add(each.group)
            else:
                lively.add(each.group)
                self.idle[each.place] += not each.is_urgent
        self.stuck -= lively
