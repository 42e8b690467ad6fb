"""How far is read ahead: tables of reads and of what they cost."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from modelfs.cache.readahead import FIRST, FORWARD, MOST, ReadAhead

MIB = 1 << 20
PIECE = 128 << 10


def asked(policy: ReadAhead, reads: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found = (policy.note(start, start + size) for start, size in reads)
    return [ahead for ahead in found if ahead]


def in_order(start: int, stop: int, piece: int = PIECE) -> list[tuple[int, int]]:
    return [(offset, min(piece, stop - offset)) for offset in range(start, stop, piece)]


def test_one_read_asks_for_nothing_ahead() -> None:
    assert [] == asked(ReadAhead(100 * MIB), [(0, PIECE)])


def test_the_second_read_asks_for_a_little() -> None:
    assert [(2 * PIECE, 2 * PIECE + FIRST)] == asked(ReadAhead(100 * MIB), in_order(0, 2 * PIECE))


def test_what_is_ahead_never_exceeds_what_was_read() -> None:
    policy = ReadAhead(1 << 40)
    for start, size in in_order(0, 300 * MIB):
        if ahead := policy.note(start, start + size):
            read = start + size
            assert ahead[1] - read <= min(max(read, FIRST), MOST)


def test_requests_ahead_follow_each_other_without_gap() -> None:
    ranges = asked(ReadAhead(1 << 40), in_order(0, 300 * MIB))
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert len(ranges) < 25


@pytest.mark.parametrize("size", [1, 1 * MIB, 10 * MIB, 1 << 30])
def test_a_reader_of_half_gets_the_rest(size: int) -> None:
    policy = ReadAhead(size)
    ranges = asked(policy, in_order(0, size // 2 + PIECE))
    covered = ranges[-1][1] if ranges else size // 2 + PIECE
    assert covered >= size


@pytest.mark.parametrize("seed", range(5))
def test_random_reads_ask_for_nothing(seed: int) -> None:
    rng = random.Random(seed)
    reads = [(rng.randrange(0, 1 << 40), PIECE) for _ in range(500)]
    assert [] == asked(ReadAhead(1 << 40), reads)


def test_pieces_of_one_read_ahead_may_come_in_any_order() -> None:
    rng = random.Random(1)
    reads = []
    for start in range(0, 32 * MIB, MIB):
        pieces = in_order(start, start + MIB)
        rng.shuffle(pieces)
        reads += pieces
    policy = ReadAhead(1 << 30)
    total = sum(stop - start for start, stop in asked(policy, reads))
    assert 30 * MIB <= total <= 64 * MIB


@pytest.mark.parametrize(("jump", "is_same_run"), [(FORWARD, True), (FORWARD + 4 * MIB, False)])
def test_a_far_jump_starts_anew(jump: int, is_same_run: bool) -> None:
    policy = ReadAhead(1 << 40)
    asked(policy, in_order(0, 8 * MIB))
    assert is_same_run == bool(policy.note(8 * MIB + jump, 8 * MIB + jump + PIECE))


def test_threads_of_one_loader_are_followed_at_once() -> None:
    policy = ReadAhead(1 << 40)
    streams = [in_order(base, base + 4 * MIB) for base in range(0, 4 << 30, 1 << 30)]
    reads = [read for step in zip(*streams, strict=True) for read in step]
    total = sum(stop - start for start, stop in asked(policy, reads))
    assert 4 * 2 * MIB <= total <= 4 * 8 * MIB


def test_one_tensor_costs_at_most_twice_itself() -> None:
    for size in (2 * MIB, 20 * MIB, 100 * MIB):
        start = 3 << 30
        ranges = asked(ReadAhead(1 << 40), in_order(start, start + size))
        assert max(stop for _, stop in ranges) <= start + 2 * size
