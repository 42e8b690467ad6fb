"""The figures of scripts/faults, each with as many tries as a test has time for."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import figures
from faults.cells import BAD, WRONG


@pytest.mark.parametrize("kind", figures.KINDS)
def test_reads_complete_while_three_of_ten_requests_fail(kind: str, tmp_path: Path) -> None:
    assert 12 == figures.completed(kind, 12, 0.3, tmp_path)


def test_what_came_before_a_cut_is_not_fetched_again(tmp_path: Path) -> None:
    assert figures.refetched(tmp_path).share <= 0.05


def test_nobody_is_asked_before_the_moment_that_he_named(tmp_path: Path) -> None:
    assert 0 == figures.early(3, tmp_path)


@pytest.mark.parametrize("value", ["1000000000", "9" * 40, "Fri, 01 Jan 3027 00:00:00 GMT"])
def test_an_absurd_moment_is_not_waited_for(value: str, tmp_path: Path) -> None:
    assert figures.waited_out(value, tmp_path) < 10


def test_garbled_answers_end_right_or_in_an_error(tmp_path: Path) -> None:
    found = figures.fuzzed(600, tmp_path)
    assert "" == found.bad
    assert 0 == found.ends[WRONG] + found.ends[BAD]
    assert found.slowest < 30
    assert found.memory[1] < 2 * found.memory[0]
