"""What is held in memory on its way has one total, and nobody waits for himself."""

from __future__ import annotations

import random
import threading

import pytest

from modelfs.buffers import Buffers, Loan
from modelfs.errors import DeadlinePassed
from polling import wait_for

MIB = 1 << 20


def test_what_is_taken_is_counted_until_it_is_given_back() -> None:
    buffers = Buffers(8 * MIB)
    with buffers.take(MIB, "a"), buffers.take(2 * MIB, "b") as loan:
        assert 2 * MIB == loan.size
        assert 3 * MIB == buffers.gauges.held
    assert (0, 3 * MIB, 8 * MIB, 0) == _told(buffers)


def test_a_loan_ends_once_and_at_the_latest_with_its_last_reference() -> None:
    buffers = Buffers(8 * MIB)
    loan = buffers.take(MIB)
    loan.close()
    loan.close()
    assert 0 == buffers.gauges.held
    loan = buffers.take(MIB)
    del loan
    assert 0 == buffers.gauges.held


def test_a_place_gets_what_it_leaves_to_others_and_waits_beyond() -> None:
    buffers = Buffers(8 * MIB)
    held = [buffers.take(MIB, "a") for _ in range(4)]
    with pytest.raises(DeadlinePassed, match="no memory for buffers"):
        buffers.take(1, "a", deadline=0.01)
    assert 2 * MIB == buffers.take(2 * MIB, "b", deadline=0).size
    held.pop().close()
    assert MIB == buffers.take(MIB, "a", deadline=0).size


def test_every_other_place_gets_some_however_many_want_all() -> None:
    buffers = Buffers(64 * MIB)
    held: list[Loan] = []
    for n in range(7):
        held += _all_for(buffers, str(n))
    assert buffers.gauges.held < 64 * MIB
    assert MIB // 4 == buffers.take(MIB // 4, "other", deadline=0).size


def test_what_is_convenient_leaves_room_for_what_is_needed() -> None:
    buffers = Buffers(8 * MIB)
    kept: list[Loan] = []
    while loan := buffers.spare(MIB // 4, "a"):
        kept.append(loan)
    assert 2 * MIB == buffers.gauges.held
    assert 2 * MIB == buffers.take(2 * MIB, "a", deadline=0).size


def test_a_loan_grows_while_there_is_plenty() -> None:
    buffers = Buffers(8 * MIB)
    loan = buffers.take(MIB // 4, "a")
    assert MIB == loan.grow(MIB)
    assert MIB == loan.grow(4 * MIB)
    assert MIB == loan.grow(MIB // 2)
    assert MIB == buffers.gauges.held
    loan.close()
    assert 0 == buffers.gauges.held


def test_a_loan_gives_back_what_it_needs_no_more() -> None:
    buffers = Buffers(8 * MIB)
    with buffers.take(MIB, "a") as loan:
        loan.shrink(2 * MIB)
        assert MIB == buffers.gauges.held
        loan.shrink(MIB // 4)
        assert MIB // 4 == loan.size == buffers.gauges.held
    assert 0 == buffers.gauges.held


def test_who_comes_back_gets_what_is_needed_or_nothing() -> None:
    buffers = Buffers(8 * MIB)
    held = [buffers.take(MIB, "a") for _ in range(4)]
    assert buffers.at_once(1, "a") is None
    held.pop().close()
    loan = buffers.at_once(MIB, "a")
    assert loan is not None
    assert 4 * MIB == buffers.gauges.held


def test_what_no_place_can_have_counts_as_all_that_one_can() -> None:
    buffers = Buffers(8 * MIB)
    assert 4 * MIB == buffers.take(100 * MIB, deadline=0).size


def test_who_waits_goes_on_when_somebody_gives_back() -> None:
    buffers = Buffers(8 * MIB)
    held = buffers.take(4 * MIB, "a")
    got: list[int] = []
    waiting = threading.Thread(target=lambda: got.append(buffers.take(MIB, "a", 30).size))
    waiting.start()
    wait_for(lambda: buffers.gauges.waiting == 1)
    held.close()
    waiting.join(30)
    assert [MIB] == got


def test_many_threads_that_take_and_grow_all_come_to_their_end() -> None:
    buffers = Buffers(8 * MIB)
    ended: list[int] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(50):
            with buffers.take(rng.choice((1, MIB // 4, MIB)), str(seed % 3), 60) as loan:
                loan.grow(rng.randrange(2 * MIB))
                kept = buffers.spare(MIB // 2, str(seed % 3))
                assert buffers.gauges.held <= 8 * MIB
            del kept
        ended.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert list(range(16)) == sorted(ended)
    assert 0 == buffers.gauges.held
    assert buffers.gauges.most <= 8 * MIB


def _all_for(buffers: Buffers, place: str) -> list[Loan]:
    """As many blocks as one place can have."""
    held: list[Loan] = []
    try:
        while True:
            held.append(buffers.take(MIB // 4, place, deadline=0))
    except DeadlinePassed:
        return held


def _told(buffers: Buffers) -> tuple[int, int, int, int]:
    gauges = buffers.gauges
    return gauges.held, gauges.most, gauges.total, gauges.waiting
