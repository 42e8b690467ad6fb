"""How many connections are worth while, and how much each is asked for: tables of what came."""

from __future__ import annotations

import subprocess
import sys
from unittest import mock

from modelfs.cache import pace as pace_module
from modelfs.cache.blockmap import BLOCK
from modelfs.cache.pace import Pace

MIB = 1 << 20


def bring(pace: Pace, count: int, each: float, size: int = 4 * MIB, rounds: int = 1) -> None:
    """Ranges of `size` bytes on `count` connections, each with `each` bytes a second."""
    for _ in range(rounds * count):
        while pace.running < count:
            pace.begin()
        pace.end(size, size / each)


def test_of_slow_connections_there_are_many() -> None:
    pace = Pace()
    bring(pace, 4, 50e6, rounds=10)
    assert 10 == pace.connections


def test_of_fast_connections_there_are_few() -> None:
    for few in (2, 3, 4):
        with mock.patch.object(pace_module, "_FEW", few):
            pace = Pace()
            bring(pace, 1, 500e6)
            # They get in each other's way.
            bring(pace, 4, 110e6, rounds=4)
            assert few == pace.connections


def test_few_are_as_many_as_there_are_processors_from_two_to_four() -> None:
    expected = {1: 2, 2: 2, 3: 3, 4: 4, 64: 4}
    code = "import os; os.sched_getaffinity = lambda pid: set(range({}));"
    code += "from modelfs.cache import pace; print(pace._FEW)"
    for processors, few in expected.items():
        done = subprocess.run(
            [sys.executable, "-c", code.format(processors)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"{few}\n" == done.stdout


def test_connections_that_become_slow_become_many() -> None:
    pace = Pace()
    bring(pace, 1, 500e6)
    bring(pace, 4, 20e6, rounds=20)
    assert 10 == pace.connections


def test_ranges_last_about_as_long_whatever_comes() -> None:
    for each, least, most in ((1e6, 2, 2), (50e6, 8, 10), (5e9, 16, 16)):
        pace = Pace()
        bring(pace, 4, each, rounds=10)
        assert least * MIB <= pace.blocks(1 << 20) * BLOCK <= most * MIB


def test_what_is_wanted_is_shared_by_several_requests() -> None:
    pace = Pace()
    assert (10, 16) == (pace.blocks(40), pace.blocks(400))
    for few, parts in ((2, (20, 64)), (4, (10, 64))):
        with mock.patch.object(pace_module, "_FEW", few):
            bring(pace, 1, 5e9)
            assert parts == (pace.blocks(40), pace.blocks(400))
            assert pace.blocks(4) >= 4


def test_small_ranges_say_nothing() -> None:
    pace = Pace()
    bring(pace, 4, 1.0, size=MIB, rounds=5)
    assert (0.0, 0.0) == (pace.each, pace.total)


def test_what_comes_faster_than_over_a_line_of_a_gigabit_is_fast() -> None:
    pace = Pace()
    bring(pace, 1, 50e6)
    assert not pace.is_fast
    bring(pace, 4, 50e6)
    assert pace.is_fast
