"""Reading through the cache: what is fetched, how often, and what is believed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache, CachedFile
from modelfs.cache.blockmap import BLOCK
from modelfs.errors import Corrupt, Unavailable
from modelfs.model import Digests
from polling import wait_for

WAIT = 10.0


def read(file: CachedFile, offset: int, size: int) -> bytes:
    data = file.read(offset, size)
    return data if data is not None else file.fetch(offset, size).result(WAIT)


def read_all(file: CachedFile, piece: int = 128 << 10) -> bytes:
    return b"".join(read(file, offset, piece) for offset in range(0, file.size, piece))


def test_a_read_of_missing_bytes_gives_nothing_and_fetches_nothing(cache: BlockCache) -> None:
    data = content(3 * BLOCK)
    source = FakeSource(data)
    with cache.open("f", len(data), digests(data, "sha256"), source) as file:
        assert file.read(0, 10) is None
    assert [] == source.requests


def test_a_fetched_range_costs_its_blocks_and_is_then_here(cache: BlockCache) -> None:
    data = content(10 * BLOCK)
    source = FakeSource(data)
    with cache.open("f", len(data), digests(data, "sha256"), source) as file:
        start = 3 * BLOCK + 100
        assert data[start : start + BLOCK] == file.fetch(start, BLOCK).result(WAIT)
        assert data[start : start + BLOCK] == file.read(start, BLOCK)
    assert [(3 * BLOCK, 5 * BLOCK)] == source.requests


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
@pytest.mark.parametrize("known", ["sha256", "md5", "crc32c", ""])
@pytest.mark.parametrize("is_told_late", [False, True])
def test_a_file_is_read_once_and_kept(
    cache: BlockCache, size: int, known: str, is_told_late: bool
) -> None:
    data = content(size)
    told = digests(data, known) if known else Digests()
    source = FakeSource(data, told)
    early = Digests() if is_told_late else told
    with cache.open("f", size, early, source) as file:
        assert data == read_all(file)
        assert file.is_complete
        wait_for(lambda: file.is_verified)
    assert size == source.delivered
    assert cache.settle(WAIT)
    wait_for(lambda: cache.status("f", size, early).is_verified)  # what it is has been written down
    with cache.open("f", size, early, source) as file:
        assert file.is_verified
        assert data == file.read(0, size)
        assert file.readable_fd(0, size) is not None
    assert size == source.delivered


def test_an_empty_file_needs_no_source(cache: BlockCache) -> None:
    source = FakeSource(b"")
    with cache.open("f", 0, Digests(), source) as file:
        assert b"" == file.read(0, 100)
        assert b"" == file.fetch(0, 100).result(WAIT)
        assert file.is_complete
        assert file.is_verified
    assert [] == source.requests


def test_reads_are_cut_at_the_end(cache: BlockCache) -> None:
    data = content(1000)
    with cache.open("f", 1000, Digests(), FakeSource(data)) as file:
        assert data[900:] == file.fetch(900, 500).result(WAIT)
        assert data[900:] == file.read(900, 500)
        assert b"" == file.read(1000, 1)
        assert b"" == file.read(5000, 1)


@pytest.mark.parametrize("is_known", [True, False])
def test_many_readers_fetch_each_byte_once(cache: BlockCache, is_known: bool) -> None:
    data = content(20 * BLOCK + 5)
    told = digests(data, "md5")
    source = FakeSource(data, told)
    with (
        cache.open("f", len(data), told if is_known else Digests(), source) as file,
        ThreadPoolExecutor(8) as pool,
    ):
        results = list(pool.map(lambda _: read_all(file), range(8)))
    assert [data] * 8 == results
    assert len(data) == source.delivered


def test_two_names_of_the_same_bytes_are_fetched_once(cache: BlockCache) -> None:
    data = content(4 * BLOCK)
    first, second = (FakeSource(data, digests(data, "md5")) for _ in range(2))
    for name, source in (("a", first), ("b", second)):
        with cache.open(name, len(data), Digests(), source) as file:
            assert data == read_all(file)
        assert cache.settle(WAIT)
    # The second has to ask once to learn that its bytes are here.
    assert 1 == len(second.requests)
    assert 0 == second.delivered
    assert 1 == cache.usage().files


@pytest.mark.parametrize("is_open", [False, True])
def test_who_gets_bytes_that_are_here_by_another_name_finds_them_here(
    make_cache, is_open: bool
) -> None:
    data = content(3 * BLOCK, 7)
    source = FakeSource(data, digests(data, "md5"))
    before = make_cache()
    with before.open("one", len(data), Digests(), source) as file:
        assert data == read(file, 0, len(data))
        wait_for(lambda: file.is_verified)
        if not is_open:
            before.stop()
        cache = before if is_open else make_cache()
        with cache.open("two", len(data), Digests(), source) as other:
            found: list[int | None] = []
            answer = other.fetch(0, BLOCK)
            answer.add_done_callback(lambda _: found.append(other.readable_fd(0, BLOCK)))
            assert data[:BLOCK] == answer.result(10)
            wait_for(lambda: bool(found))
            assert found[0] is not None


def test_a_digest_learned_once_is_known_after_a_restart(make_cache) -> None:
    data = content(2 * BLOCK)
    source = FakeSource(data, digests(data, "md5"))
    cache = make_cache()
    with cache.open("f", len(data), Digests(), source) as file:
        assert data == read_all(file)
    cache.stop()
    source.refusal = Unavailable("offline")
    with make_cache().open("f", len(data), Digests(), source) as file:
        assert data == read_all(file)


def test_a_failure_reaches_those_who_wait_and_not_the_next(cache: BlockCache) -> None:
    data = content(3 * BLOCK)
    source = FakeSource(data)
    source.refusal = Unavailable("no answer")
    with cache.open("f", len(data), digests(data, "md5"), source) as file:
        with pytest.raises(Unavailable, match="no answer"):
            file.fetch(0, 10).result(WAIT)
        source.refusal = None
        assert data[:10] == file.fetch(0, 10).result(WAIT)


@pytest.mark.parametrize("size", [10, 3 * BLOCK])
def test_a_failure_does_not_reach_who_has_the_bytes_from_elsewhere(
    cache: BlockCache, size: int
) -> None:
    data = content(size)
    told = digests(data, "md5")
    bad, good = FakeSource(data, told), FakeSource(data, told)
    bad.refusal = Unavailable("no answer")
    bad.gate.clear()
    bad.on_request = lambda _: bad.gate.wait(WAIT)
    with (
        cache.open("one", size, told, bad) as file,
        cache.open("same elsewhere", size, told, good) as other,
    ):
        failing = file.fetch(0, size)
        wait_for(lambda: bad.requests)
        waiting = other.fetch(0, size)
        bad.gate.set()
        with pytest.raises(Unavailable, match="no answer"):
            failing.result(WAIT)
        assert data == waiting.result(WAIT)


def test_what_landed_before_a_failure_stays(cache: BlockCache) -> None:
    data = content(4 * BLOCK)
    source = FakeSource(data)
    source.breaks_at, source.error = 2 * BLOCK + 100, Unavailable("cut")
    with cache.open("f", len(data), digests(data, "md5"), source) as file:
        with pytest.raises(Unavailable, match="cut"):
            file.fetch(0, len(data)).result(WAIT)
        source.breaks_at = None
        assert data[: 2 * BLOCK] == file.read(0, 2 * BLOCK)
        assert data == file.fetch(0, len(data)).result(WAIT)
    assert (2 * BLOCK, 4 * BLOCK) == source.requests[-1]


@pytest.mark.parametrize("fault", ["short", "long"])
def test_an_answer_of_another_length_is_an_error(cache: BlockCache, fault: str) -> None:
    data = content(4 * BLOCK)
    source = FakeSource(data)
    if fault == "short":
        source.breaks_at = BLOCK // 2
    else:
        source.surplus = 1
    with cache.open("f", len(data), digests(data, "md5"), source) as file:
        with pytest.raises(Corrupt):
            file.fetch(0, BLOCK).result(WAIT)
        source.breaks_at, source.surplus = None, 0
        assert data == read_all(file)


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "crc32c"])
@pytest.mark.parametrize("size", [100, BLOCK, 3 * BLOCK])
def test_wrong_bytes_once_are_fetched_again(cache: BlockCache, algorithm: str, size: int) -> None:
    data = content(size)
    wrong = content(size, seed=1)
    source = FakeSource(wrong)
    with cache.open("f", size, digests(data, algorithm), source) as file:
        source.on_request = lambda count: setattr(source, "data", data if count > 1 else wrong)
        assert data == file.fetch(0, size).result(WAIT)
        assert file.is_verified
    assert 2 == len(source.requests)


@pytest.mark.parametrize("size", [100, 3 * BLOCK])
def test_wrong_bytes_twice_are_an_error_until_the_file_is_opened_again(
    cache: BlockCache, size: int
) -> None:
    data = content(size)
    source = FakeSource(content(size, seed=1))
    with cache.open("f", size, digests(data, "md5"), source) as file:
        for _ in range(3):
            with pytest.raises(Corrupt, match="twice"):
                file.fetch(0, size).result(WAIT)
            assert 2 == len(source.requests)
        source.data = data
        with cache.open("f", size, digests(data, "md5"), source) as again:
            assert data == again.fetch(0, size).result(WAIT)
        with pytest.raises(Corrupt):
            file.fetch(0, size).result(WAIT)


def test_nobody_comes_to_the_end_of_a_wrong_file(cache: BlockCache) -> None:
    data = content(5 * BLOCK)
    source = FakeSource(content(5 * BLOCK, seed=1))
    with cache.open("f", len(data), digests(data, "md5"), source) as file:
        with pytest.raises(Corrupt):
            read_all(file)
        with pytest.raises(Corrupt):
            file.read(0, 10)
        # Somebody who has seen nothing of the wrong bytes gets the right ones.
        source.data = data
        with cache.open("f", len(data), digests(data, "md5"), source) as other:
            assert data == read_all(other)
        with pytest.raises(Corrupt):
            file.fetch(0, 10)


def test_a_registry_that_changes_its_mind_is_an_error(cache: BlockCache) -> None:
    data = content(2 * BLOCK)
    source = FakeSource(data, digests(data, "md5"))
    with cache.open("f", len(data), Digests(), source) as file:
        assert data[:10] == read(file, 0, 10)
        source.told = digests(b"other", "md5")
        with pytest.raises(Corrupt, match="md5"):
            file.fetch(BLOCK, 10).result(WAIT)


@pytest.mark.parametrize("blocks", [1, 3, 9])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_digest_that_was_told_wrongly_is_asked_for_again(
    make_cache, blocks: int, is_restarted: bool
) -> None:
    data = content(blocks * BLOCK)
    source = FakeSource(data, digests(b"other", "md5"))
    cache = make_cache()
    with cache.open("f", len(data), Digests(), source) as file, pytest.raises(Corrupt):
        read_all(file)
    source.told = digests(data, "md5")
    if is_restarted:
        cache = make_cache()
    with cache.open("f", len(data), Digests(), source) as file:
        assert data == read_all(file)


def test_a_digest_that_is_contested_once_is_asked_for_again(cache: BlockCache) -> None:
    data = content(9 * BLOCK)
    source = FakeSource(data, digests(data, "md5"))
    with cache.open("f", len(data), Digests(), source) as file:
        assert data[:10] == read(file, 0, 10)
        source.told = digests(b"other", "md5")
        with pytest.raises(Corrupt, match="md5"):
            file.fetch(5 * BLOCK, 10).result(WAIT)
        source.told = digests(data, "md5")
        with cache.open("f", len(data), Digests(), source) as other:
            assert data == read_all(other)
        assert data == read_all(file)


def test_a_reader_in_sequence_is_fetched_ahead_of(cache: BlockCache) -> None:
    data = content(64 * BLOCK)
    source = FakeSource(data)
    with cache.open("f", len(data), digests(data, "md5"), source) as file:
        for offset in range(0, 2 * BLOCK, 128 << 10):
            assert data[offset : offset + (128 << 10)] == read(file, offset, 128 << 10)
        wait_for(lambda: file.read(2 * BLOCK, 2 * BLOCK) is not None)
    # A MiB was read, so no more than four are ahead of it.
    assert source.delivered <= (4 + 16) * BLOCK


def test_stopping_fails_those_who_wait(make_cache) -> None:
    data = content(BLOCK)
    source = FakeSource(data)
    source.gate.clear()
    cache = make_cache(workers=1)
    with cache.open("f", len(data), digests(data, "md5"), source) as file:
        futures = [file.fetch(0, 10), file.fetch(10, 10)]
        wait_for(lambda: source.requests)
        source.refusal = Unavailable("end")
        import threading

        stopper = threading.Thread(target=cache.stop)
        stopper.start()
        source.gate.set()
        stopper.join(WAIT)
        assert not stopper.is_alive()
        for future in futures:
            assert future.done()
