"""Threads that rest and are called back."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

from modelfs.mount.spares import Spares
from polling import wait_for

WAIT = 10.0


def test_nobody_is_called_where_nobody_rests() -> None:
    assert not Spares().call()


def test_who_rests_is_called_back_once() -> None:
    spares = Spares(patience=WAIT)
    with ThreadPoolExecutor(1) as threads:
        resting = threads.submit(spares.rest)
        wait_for(spares.call)
        assert resting.result(WAIT)
        assert not spares.call()


def test_who_is_not_called_leaves() -> None:
    spares = Spares(patience=0.01)
    assert not spares.rest()
    assert not spares.call()


def test_only_so_many_rest() -> None:
    spares = Spares(most=1, patience=WAIT)
    outcomes: list[Future[bool]] = []
    with ThreadPoolExecutor(2) as threads:
        outcomes = [threads.submit(spares.rest) for _ in range(2)]
        wait_for(lambda: any(outcome.done() for outcome in outcomes))
        wait_for(spares.call)
        found = Counter(outcome.result(WAIT) for outcome in outcomes)
    assert Counter({True: 1, False: 1}) == found


def test_every_call_reaches_somebody_also_when_patience_ends() -> None:
    spares = Spares(most=4, patience=0.001)
    is_over = threading.Event()

    def rest() -> int:
        count = 0
        while not is_over.is_set():
            count += spares.rest()
        return count

    with ThreadPoolExecutor(4) as threads:
        resting = [threads.submit(rest) for _ in range(4)]
        called = sum(spares.call() for _ in range(50_000))
        is_over.set()
        assert called == sum(future.result(WAIT) for future in resting)
