"""A cache that hands out nothing before all of a file agrees with its digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache
from modelfs.cache.blockmap import BLOCK
from modelfs.errors import Corrupt, Unavailable

WAIT = 10.0
SIZE = 9 * BLOCK + 100
DATA = content(SIZE)


@pytest.fixture
def cache(make_cache) -> BlockCache:
    return make_cache(is_proven_first=True)


def test_a_byte_is_handed_out_when_all_are_here_and_right(cache: BlockCache) -> None:
    source = FakeSource(DATA, digests(DATA, "md5"))
    with cache.open("f", SIZE, source.told, source) as file:
        assert DATA[100:110] == file.fetch(100, 10).result(WAIT)
        assert file.is_verified
        assert DATA[-5:] == file.read(SIZE - 5, 100)
        assert file.readable_fd(0, SIZE) is not None
    assert SIZE == source.delivered


def test_while_a_byte_is_missing_there_is_nothing(cache: BlockCache) -> None:
    source = FakeSource(DATA, digests(DATA, "md5"))
    source.breaks_at, source.error = SIZE - 10, Unavailable("gone")
    with cache.open("f", SIZE, source.told, source) as file:
        with pytest.raises(Unavailable):
            file.fetch(0, 10).result(WAIT)
        assert file.read(0, 10) is None
        assert file.readable_fd(0, 10) is None
        source.breaks_at = None
        assert DATA[:10] == file.fetch(0, 10).result(WAIT)


@pytest.mark.parametrize("at", [0, 5 * BLOCK, SIZE - 1])
@pytest.mark.parametrize("told", ["md5", "crc32c", "sha256"])
def test_of_a_wrong_file_nobody_gets_a_byte(cache: BlockCache, told: str, at: int) -> None:
    wrong = bytearray(DATA)
    wrong[at] ^= 1
    source = FakeSource(bytes(wrong), digests(DATA, told))
    with cache.open("f", SIZE, source.told, source) as file:
        for place in (0, 5 * BLOCK, SIZE - 5):
            with pytest.raises(Corrupt):
                file.fetch(place, 5).result(WAIT)
            assert file.read(place, 5) is None
    source.data = DATA
    with cache.open("f", SIZE, source.told, source) as file:
        assert DATA[:10] == file.fetch(0, 10).result(WAIT)


def test_many_who_wait_download_it_once(cache: BlockCache) -> None:
    source = FakeSource(DATA, digests(DATA, "md5"))
    source.gate.clear()
    with cache.open("f", SIZE, source.told, source) as file:
        futures = [file.fetch(n * BLOCK, 10) for n in range(9)]
        source.gate.set()
        assert [DATA[n * BLOCK :][:10] for n in range(9)] == [each.result(WAIT) for each in futures]
    assert SIZE == source.delivered


def test_what_an_earlier_run_left_is_proven_before_it_is_read(make_cache, directory: Path) -> None:
    source = FakeSource(DATA, digests(DATA, "md5"))
    early = make_cache()
    with early.open("f", SIZE, source.told, source) as file:
        file.fetch(0, 3 * BLOCK).result(WAIT)
    early.stop()
    begun = source.delivered
    cache = make_cache(is_proven_first=True)
    with cache.open("f", SIZE, source.told, source) as file:
        assert file.read(0, 10) is None
        assert DATA[:10] == file.fetch(0, 10).result(WAIT)
    assert SIZE == source.delivered
    assert begun < SIZE


def test_what_cannot_be_kept_is_an_error(make_cache) -> None:
    cache = make_cache(is_proven_first=True, budget=SIZE // 2)
    source = FakeSource(DATA, digests(DATA, "md5"))
    with (
        cache.open("f", SIZE, source.told, source) as file,
        pytest.raises(Unavailable, match="cannot be kept"),
    ):
        file.fetch(0, 10).result(WAIT)
