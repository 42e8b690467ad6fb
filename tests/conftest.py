"""What holds for every test: announced warnings only, no thread left behind, stacks on SIGUSR1."""

from __future__ import annotations

import faulthandler
import logging
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from polling import wait_for as wait_for  # for `from conftest import wait_for`

# Threads of fixtures that outlive one test (a server of a session) carry this prefix.
SHARED = "shared-"
# The embedded registry's thread, and those of its pools, which start when there is work for them:
# a server that was there before the test may have more of them after it.
SERVER, POOLS = "modelfs-server", ("modelfs-serve_", "modelfs-pack_")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "expect_warnings(*parts): log messages at WARNING that the test is about"
    )
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)


class _Warnings(logging.Handler):
    """Keeps the messages of WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []
        self.expected: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(f"{record.name}: {record.getMessage()}")

    def expect(self, *parts: str) -> None:
        self.expected.extend(parts)

    def unannounced(self) -> list[str]:
        return [text for text in self.seen if not any(part in text for part in self.expected)]

    def missing(self) -> list[str]:
        return [part for part in self.expected if not any(part in text for text in self.seen)]


@pytest.fixture(autouse=True)
def _log_policing(request: pytest.FixtureRequest) -> Iterator[_Warnings]:
    """Fails a test for a WARNING it did not announce, and for one that it did and never came."""
    warnings = _Warnings()
    for marker in request.node.iter_markers("expect_warnings"):
        warnings.expect(*marker.args)
    root = logging.getLogger()
    root.addHandler(warnings)
    yield warnings
    root.removeHandler(warnings)
    assert [] == warnings.unannounced(), "a warning that no expect_warnings announced"
    assert [] == warnings.missing(), "an expected warning was not logged"


@pytest.fixture
def expect_warnings(_log_policing: _Warnings) -> Callable[..., None]:
    """`expect_warnings("part of the message", …)`: warnings that this test is about."""
    return _log_policing.expect


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    """Fails a test that leaves a thread behind (five seconds are given to end)."""
    before = set(threading.enumerate())
    served = any(thread.name == SERVER for thread in before)
    others = (SHARED, *POOLS) if served else (SHARED,)
    yield

    def left() -> list[str]:
        return [
            thread.name
            for thread in threading.enumerate()
            if thread not in before and not thread.name.startswith(others)
        ]

    try:
        wait_for(lambda: not left(), deadline=5.0)
    except AssertionError:
        pytest.fail(f"threads left behind: {', '.join(left())}")
