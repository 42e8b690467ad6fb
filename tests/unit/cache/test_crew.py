"""The crew: who may begin while others are stuck, and who has to wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from modelfs.cache.crew import Crew
from modelfs.waiting import turn
from polling import wait_for

MUCH = 1 << 20
# For what must not happen.
MOMENT = 0.2


class Work:
    """Tasks of a crew that begin and stay until they are let go."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._end = threading.Event()
        self.begun: list[str] = []

    def add(self, name: str, *, group: str = "", place: str = "", moves: bool = False) -> None:
        def task(buffer: memoryview) -> None:
            if moves:
                self._crew.moved(MUCH)
            self.begun.append(name)
            while moves and not self._end.wait(MOMENT):
                self._crew.moved(MUCH)
            self._end.wait()

        self._crew.submit(task, group=group or name, place=place)

    def ahead(self, name: str, group: str) -> None:
        """A task that nobody waits for, and that ends at once."""
        self._crew.submit(lambda _: self.begun.append(name), group=group, is_urgent=False)

    def end(self) -> None:
        self._end.set()

    def stays_at(self, count: int) -> bool:
        """Whether so many begin and no more."""
        wait_for(lambda: len(self.begun) == count, what=f"{count} tasks have begun")
        return not self._end.wait(MOMENT) and len(self.begun) == count


@contextmanager
def working(workers: int, most: int = 0) -> Iterator[Work]:
    crew = Crew(workers, "test", most=most)
    crew.start()
    work = Work(crew)
    try:
        yield work
    finally:
        work.end()
        crew.stop(5)


def test_what_is_stuck_keeps_nobody_from_beginning() -> None:
    with working(2, most=40) as work:
        for number in range(10):
            work.add(f"stuck-{number}")
        assert work.stays_at(10)


def test_as_many_as_there_are_workers_move_at_once() -> None:
    with working(2, most=40) as work:
        for number in range(2):
            work.add(f"moves-{number}", moves=True)
        assert work.stays_at(2)
        work.add("waits")
        assert work.stays_at(2)
        work.end()
        wait_for(lambda: "waits" in work.begun)


def test_one_group_does_not_take_all() -> None:
    with working(8, most=24) as work:
        for number in range(20):
            work.add(f"alike-{number}", group="a")
        assert work.stays_at(4)  # as many as are not kept for others
        work.add("other", group="b")
        wait_for(lambda: "other" in work.begun)


def test_groups_that_are_stuck_leave_room_for_one_that_is_not() -> None:
    with working(16, most=24) as work:
        for number in range(36):
            work.add(f"stuck-{number}", group="abc"[number % 3])
        wait_for(lambda: len(work.begun) > 6)
        work.add("other", group="d")
        wait_for(lambda: "other" in work.begun)


def test_a_place_that_is_full_leaves_other_places_alone() -> None:
    with working(2, most=4) as work:
        for number in range(10):
            work.add(f"stuck-{number}", place="here")
        assert work.stays_at(4)
        work.add("other", place="there")
        wait_for(lambda: "other" in work.begun)


def test_a_crew_without_room_for_what_is_stuck_has_its_workers_only() -> None:
    with working(2) as work:
        for number in range(4):
            work.add(f"task-{number}")
        assert work.stays_at(2)


def test_nothing_is_read_ahead_of_what_is_stuck() -> None:
    with working(8, most=40) as work:
        work.add("stuck", group="a")
        wait_for(lambda: work.begun)
        threading.Event().wait(2.1)  # until that is long enough
        work.ahead("of it", "a")
        work.ahead("of another", "b")
        wait_for(lambda: "of another" in work.begun)
        assert "of it" not in work.begun


def test_what_is_submitted_before_the_start_is_done_after_it() -> None:
    crew = Crew(1, "test")
    done = threading.Event()
    crew.submit(lambda _: done.set())
    assert not done.wait(MOMENT)
    crew.start()
    assert done.wait(5)
    crew.stop(5)


@pytest.mark.expect_warnings("a task of the test failed")
def test_a_task_that_fails_is_logged_and_ends_nothing() -> None:
    crew = Crew(1, "test")
    crew.start()
    done = threading.Event()
    crew.submit(lambda _: 1 / 0)
    crew.submit(lambda _: done.set(), delay=0.01)
    assert done.wait(5)
    crew.stop(5)


def test_the_last_places_are_for_a_moment_once_others_wait() -> None:
    freed: list[str] = []
    crew = Crew(2, "test", most=20)
    end = threading.Event()

    def stuck(name: str) -> None:
        over = threading.Event()
        mine = turn()
        assert mine is not None
        mine.waits(over.set)
        wait_for(lambda: over.is_set() or end.is_set(), 60)
        if over.is_set():
            freed.append(name)

    crew.start()
    try:
        for n in range(20):
            crew.submit(lambda _, n=n: stuck(str(n)), group=str(n))
        wait_for(lambda: crew.load == (20, 0), 30)
        # Nobody waits: all may stay, however long.
        done = threading.Event()
        crew.submit(lambda _: done.set(), group="healthy")
        assert done.wait(60)
        # It was one of those that came last, and one was enough.
        assert 1 == len(freed)
        assert int(freed[0]) >= 4
    finally:
        end.set()
        crew.stop(5)


def test_who_waits_for_bytes_when_all_ends_gives_way() -> None:
    """Rather than be left behind: what his end closes, he has open until then."""
    crew = Crew(2, "test")
    ended: list[bool] = []

    def stuck(buffer: memoryview) -> None:
        mine, over = turn(), threading.Event()
        assert mine is not None
        mine.waits(over.set)
        begun.set()
        ended.append(over.wait(60))

    begun = threading.Event()
    crew.start()
    crew.submit(stuck)
    assert begun.wait(60)
    crew.stop(60)
    assert [True] == ended
