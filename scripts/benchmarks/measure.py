"""How a case is measured: our side and its rival in turns, and the ratio of each pair.

Absolute times of a shared machine say little; two times taken one after the other, and the ratio
of them, say more. Knows neither modelfs nor what is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from benchmarks.calm import calm

S = TypeVar("S")

# What takes no time is measured more often than asked for, but at most so often: a moment in which
# the machine does something else is half of a short run, and nothing of a long one.
_MOST = 25

# Does one run and says how many seconds the part took that counts; or how much it used of what
# the case's unit says.
Side = Callable[[], float]


class Skipped(Exception):
    """The case cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Pair:
    """Both sides of a case, set up. `check` is called once, and raises if a side read wrong.

    `parts` are what the sides note besides, by name: what a time is made of.
    """

    ours: Side
    rival: Side
    check: Callable[[], None] = lambda: None
    parts: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Case(Generic[S]):
    """Something to measure: `set_up` gets it ready on a stage and takes it away again.

    `bar` is the ratio to reach, if one is set. `rounds` is the most that this case is given, for
    those that take long. `unit` is of what both sides tell; what is counted in another unit than
    seconds is the same each time, or nearly.
    """

    name: str
    what: str
    rival: str
    set_up: Callable[[S], AbstractContextManager[Pair]]
    bar: float | None = None
    rounds: int = 99
    unit: str = "s"
    # How many bytes of memory one run is given, files it writes among them, that were not in use.
    fresh: int = 0
    # How many files it handles, where the times of several cases are compared by that.
    files: int = 0


@dataclass(frozen=True)
class Result:
    """What each round gave, ours and the rival's in the same place."""

    case: Case[Any]
    ours: Sequence[float]
    rival: Sequence[float]
    parts: Mapping[str, Sequence[float]]

    @property
    def ratios(self) -> list[float]:
        """Of each round: how many times as fast as the rival we are; below 1 is slower."""
        return [rival / ours for ours, rival in zip(self.ours, self.rival, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def is_met(self) -> bool | None:
        """Whether the median reaches the bar; None where none is set."""
        return None if self.case.bar is None else self.ratio >= self.case.bar


@dataclass(frozen=True)
class Missing:
    """A case without a result, and why: something is not there, or it failed."""

    case: Case[Any]
    why: str
    is_failure: bool


def measure(case: Case[S], stage: S, rounds: int, patience: float) -> Result:
    """Run both sides of `case` in turns, so that what disturbs the machine disturbs both.

    `rounds` times, and more often if that takes less than `patience` seconds.
    """
    values: tuple[list[float], list[float]] = ([], [])
    with case.set_up(stage) as pair:
        begin = time.monotonic()
        for number in range(max(rounds, _MOST)):
            if number >= min(rounds, case.rounds):
                spent = time.monotonic() - begin
                if case.unit != "s" or spent + spent / number > patience:
                    break
            turns = [(0, pair.ours), (1, pair.rival)]
            for side, run in turns if number % 2 else reversed(turns):
                if case.fresh:
                    calm(case.fresh)
                values[side].append(run())
            if number == 0:
                pair.check()
    return Result(case, *values, pair.parts)
