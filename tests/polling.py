"""Waiting for a condition in tests: polled, with a deadline, never a bare sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(predicate: Callable[[], T], deadline: float = 10.0, what: str = "") -> T:
    """The first true value of `predicate`; fails the test after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (value := predicate()):
        if time.monotonic() > end:
            name = what or getattr(predicate, "__name__", "the condition")
            raise AssertionError(f"not within {deadline:g} s: {name}")
        time.sleep(0.01)
    return value
