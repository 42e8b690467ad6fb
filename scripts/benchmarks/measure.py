"""How a case is measured: our side and its rival in turns, and the ratio of each pair.

Absolute times of a shared machine say little; two times taken one after the other, and the ratio
of them, say more. Knows neither modelfs nor what is measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S")

# Does one run and says how many seconds the part took that counts.
Side = Callable[[], float]


class Skipped(Exception):
    """The case cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Pair:
    """Both sides of a case, set up. `check` is called once, and raises if a side read wrong."""

    ours: Side
    rival: Side
    check: Callable[[], None]


@dataclass(frozen=True)
class Case(Generic[S]):
    """Something to measure: `set_up` gets it ready on a stage and takes it away again.

    `rounds` is the most that this case is given, for those that take long.
    """

    name: str
    what: str
    rival: str
    set_up: Callable[[S], AbstractContextManager[Pair]]
    rounds: int = 99
    # How many files it handles, where the times of several cases are compared by that.
    files: int = 0


@dataclass(frozen=True)
class Result:
    """The seconds of each round, ours and the rival's in the same place."""

    case: Case[object]
    ours: Sequence[float]
    rival: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Of each round: how many times as fast as the rival we are; below 1 is slower."""
        return [rival / ours for ours, rival in zip(self.ours, self.rival, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def measure(case: Case[S], stage: S, rounds: int) -> Result:
    """Run both sides of `case` in turns, so that what disturbs the machine disturbs both."""
    seconds: tuple[list[float], list[float]] = ([], [])
    with case.set_up(stage) as pair:
        for number in range(min(rounds, case.rounds)):
            turns = [(0, pair.ours), (1, pair.rival)]
            for side, run in turns if number % 2 else reversed(turns):
                seconds[side].append(run())
            if number == 0:
                pair.check()
    return Result(case, *seconds)  # type: ignore[arg-type]
