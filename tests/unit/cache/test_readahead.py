"""How far is read ahead: tables of reads and of what they cost."""

from __future__ import annotations

import random

import pytest

from modelfs.cache.blockmap import BLOCK
from modelfs.cache.readahead import ELSEWHERE, FIRST, FORWARD, FROM_FIRST, MOST, ReadAhead, Stretch

MIB = 1 << 20
PIECE = 128 << 10


class Fetched:
    """What is fetched ahead of reads, at once and all of it."""

    def __init__(self, size: int) -> None:
        self.policy = ReadAhead(size)
        self.requests: list[tuple[int, int]] = []

    def read(self, start: int, size: int) -> None:
        if (stretch := self.policy.note(start, start + size)) is not None:
            while stretch.first < stretch.stop:
                self.requests.append((stretch.first * BLOCK, stretch.stop * BLOCK))
                stretch.advance(stretch.stop)

    def read_all(self, reads: list[tuple[int, int]]) -> Fetched:
        for start, size in reads:
            self.read(start, size)
        return self

    @property
    def total(self) -> int:
        return sum(stop - start for start, stop in self.requests)

    @property
    def end(self) -> int:
        return max((stop for _, stop in self.requests), default=0)


def in_order(start: int, stop: int, piece: int = PIECE) -> list[tuple[int, int]]:
    return [(offset, min(piece, stop - offset)) for offset in range(start, stop, piece)]


@pytest.mark.parametrize("start", [0, 40 * MIB])
def test_one_read_brings_nothing_more(start: int) -> None:
    assert [] == Fetched(100 * MIB).read_all([(start, 8 * MIB)]).requests


@pytest.mark.parametrize("size", [8 << 10, 60 << 10, 200 << 10])
def test_a_header_brings_nothing_more(size: int) -> None:
    reads = [(0, 8), *in_order(8, size, 32 << 10)]
    assert [] == Fetched(1 << 30).read_all(reads).requests


@pytest.mark.parametrize("piece", [128 << 10, 256 << 10, 1 << 20])
def test_who_reads_from_the_first_byte_has_many_connections_busy_after_some_mib(
    piece: int,
) -> None:
    fetched = Fetched(1 << 40).read_all(in_order(0, 6 * MIB, piece))
    assert fetched.end >= 64 * MIB


def test_from_the_first_byte_the_distance_is_the_square_of_what_was_read() -> None:
    for read in (512 << 10, MIB, 2 * MIB, 4 * MIB):
        end = Fetched(1 << 40).read_all(in_order(0, read)).end
        assert read + read * read // FROM_FIRST // 2 < end <= read + read * read // FROM_FIRST


@pytest.mark.parametrize("start", [0, 100 * MIB])
def test_there_is_a_most_that_is_ahead(start: int) -> None:
    fetched = Fetched(1 << 40)
    for offset, size in in_order(start, start + 1500 * MIB, MIB):
        fetched.read(offset, size)
        assert fetched.end <= offset + size + MOST + BLOCK
    assert fetched.end >= start + 1500 * MIB + MOST // 2


def test_requests_ahead_follow_each_other_without_gap() -> None:
    fetched = Fetched(1 << 40).read_all(in_order(0, 300 * MIB))
    assert all(
        before[1] == after[0]
        for before, after in zip(fetched.requests, fetched.requests[1:], strict=False)
    )
    assert len(fetched.requests) < 30


@pytest.mark.parametrize("begin", [0, 3])
@pytest.mark.parametrize("size", [1, 1 * MIB, 10 * MIB, 1 << 30])
def test_a_reader_of_half_gets_the_rest(size: int, begin: int) -> None:
    start = begin * size // 8
    fetched = Fetched(size).read_all(in_order(start, start + size // 2 + PIECE))
    assert max(fetched.end, start + size // 2 + PIECE) >= size


@pytest.mark.parametrize("size", [4 << 10, 64 << 10, PIECE])
@pytest.mark.parametrize("seed", range(5))
def test_random_reads_bring_nothing_more(seed: int, size: int) -> None:
    rng = random.Random(seed)
    reads = [(rng.randrange(0, 1 << 40), size) for _ in range(500)]
    assert [] == Fetched(1 << 40).read_all(reads).requests


def test_small_random_reads_of_a_file_of_some_mib_bring_next_to_nothing_more() -> None:
    rng = random.Random(1)
    reads = [(rng.randrange(0, 256 * MIB, 4 << 10), 4 << 10) for _ in range(1000)]
    assert Fetched(256 * MIB).read_all(reads).total <= 4 * MIB


def test_pieces_of_one_read_ahead_may_come_in_any_order() -> None:
    rng = random.Random(1)
    reads = []
    for start in range(0, 32 * MIB, MIB):
        pieces = in_order(start, start + MIB)
        rng.shuffle(pieces)
        reads += pieces
    fetched = Fetched(1 << 30).read_all(reads)
    # As many as in order.
    assert 32 * MIB + MOST // 2 <= fetched.end
    assert fetched.total <= 32 * MIB + MOST


@pytest.mark.parametrize(("jump", "is_same_run"), [(FORWARD, True), (FORWARD + 4 * MIB, False)])
def test_a_far_jump_starts_anew(jump: int, is_same_run: bool) -> None:
    fetched = Fetched(1 << 40).read_all(in_order(0, 200 * MIB))
    before = fetched.total
    fetched.read(200 * MIB + MOST + jump - MOST, PIECE)
    assert is_same_run == (fetched.total > before)


def test_who_has_read_little_may_skip_little() -> None:
    fetched = Fetched(1 << 40).read_all([*in_order(8 * MIB, 8 * MIB + 64 * 1024)])
    fetched.read_all([(8 * MIB + 4 * MIB, PIECE), (8 * MIB + 8 * MIB, PIECE)])
    assert [] == fetched.requests


def test_threads_of_one_loader_are_followed_at_once() -> None:
    streams = [in_order(base, base + 4 * MIB) for base in range(1 << 30, 5 << 30, 1 << 30)]
    reads = [read for step in zip(*streams, strict=True) for read in step]
    assert 4 * 4 * MIB <= Fetched(1 << 40).read_all(reads).total <= 4 * 6 * MIB


@pytest.mark.parametrize("piece", [64 << 10, 128 << 10, 256 << 10])
def test_one_tensor_of_some_mib_costs_little_more_than_itself(piece: int) -> None:
    start = (3 << 30) + 6216
    fetched = Fetched(1 << 40).read_all([(0, 256 << 10), *in_order(start, start + 4 * MIB, piece)])
    assert fetched.end <= start + 4 * MIB + FIRST + BLOCK


def test_one_tensor_costs_at_most_half_more_than_itself() -> None:
    for size in (2 * MIB, 20 * MIB, 100 * MIB):
        start = 3 << 30
        end = Fetched(1 << 40).read_all(in_order(start, start + size)).end
        assert end <= start + size + max(size // 2, FIRST) + BLOCK


def test_many_tensors_in_order_are_read_ahead_like_one_file() -> None:
    assert MOST // 2 < Fetched(1 << 40).read_all(in_order(MIB, 400 * MIB)).end - 400 * MIB
    assert ELSEWHERE > FROM_FIRST


def test_a_stretch_is_fetched_by_one_at_a_time_and_may_grow_meanwhile() -> None:
    stretch = Stretch()
    assert stretch.extend(2, 10)
    assert not stretch.extend(3, 20)
    assert (3, 20) == (stretch.first, stretch.stop)
    assert stretch.advance(10)
    assert not stretch.advance(20)
    assert stretch.extend(15, 30)
    assert (20, 30) == (stretch.first, stretch.stop)
    stretch.pause()
    assert stretch.extend(16, 31)
    assert (20, 31) == (stretch.first, stretch.stop)


def test_nobody_wants_any_more_of_a_file_that_was_closed() -> None:
    policy = ReadAhead(1 << 30)
    policy.note(0, MIB)
    stretch = policy.note(MIB, 2 * MIB)
    assert stretch is not None
    policy.close()
    assert not stretch.advance(stretch.first)
    assert not stretch.extend(10, 100)


def test_of_a_run_that_nobody_goes_on_with_nothing_more_is_fetched() -> None:
    policy = ReadAhead(1 << 40)
    policy.note(0, MIB)
    stretch = policy.note(MIB, 2 * MIB)
    assert stretch is not None
    for place in range(1, 6):
        policy.note(place << 30, (place << 30) + PIECE)
    assert stretch.first == stretch.stop
