"""What the session loop does where the system has no more for it; the rest is seen in mounts."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelfs.mount import wire
from modelfs.mount.loop import SessionLoop
from modelfs.mount.passthrough import Choice, Passthrough
from polling import wait_for

WAIT = 20.0


@pytest.fixture
def loop(tmp_path: Path) -> SessionLoop:
    library: Any = None  # nothing here gets as far as that
    return SessionLoop(library, Passthrough(Choice.OFF, tmp_path))


def test_a_request_waits_also_where_no_other_thread_can_be_started(
    loop: SessionLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    coming: Future[int] = Future()

    def come() -> None:
        wait_for(lambda: loop.gauges["requests_waiting"], WAIT)
        coming.set_result(3)

    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result(WAIT)  # its thread is there
        monkeypatch.setattr(threading.Thread, "start", _refuse)
        executor.submit(come)
        loop._current.begin(wire.Request(40, wire.Op.READ, 7, 2, 0, 1))
        assert 3 == loop.wait(coming)
    assert (0, 0) == (loop.gauges["requests_waiting"], loop.gauges["request_threads"])


def _refuse(thread: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
