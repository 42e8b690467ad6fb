"""Where the registry tells a crc32c beside the md5: the last bytes wait for that one alone."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_sources import WAIT, FakeSource, content, digests
from conftest import wait_for
from modelfs.cache import BlockCache
from modelfs.cache.blockmap import BLOCK, Joined, block_count
from modelfs.cache.keys import quick_sum
from modelfs.errors import Corrupt
from modelfs.model import Digests

SIZE = 5 * BLOCK + 1000
DATA = content(SIZE)
TOLD = digests(DATA, "md5", "crc32c")
WRONG_MD5 = Digests(md5="0" * 32, crc32c=TOLD.crc32c)


def read_all(cache: BlockCache, source: FakeSource) -> bytes:
    with cache.open("f", SIZE, source.told, source) as file:
        return file.fetch(0, SIZE).result(WAIT)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The digest of the whole is not worked out before it is set."""
    event = threading.Event()

    class LateHash:
        def __init__(self, name: str, **_: object) -> None:
            self._hash = getattr(hashlib, name)()

        def update(self, data: memoryview) -> None:
            assert event.wait(WAIT)
            self._hash.update(data)

        def hexdigest(self) -> str:
            return str(self._hash.hexdigest())

    monkeypatch.setattr(hashlib, "new", LateHash)
    return event


@settings(deadline=None)
@given(
    size=st.one_of(st.integers(1, 5 * BLOCK), st.integers(1, 5).map(lambda count: count * BLOCK)),
    seed=st.randoms(use_true_random=False),
)
def test_the_checksum_of_all_follows_from_those_of_the_blocks(size: int, seed: object) -> None:
    data = content(size)
    joined = Joined(size)
    blocks = list(range(block_count(size)))
    seed.shuffle(blocks)  # type: ignore[attr-defined]
    for block in blocks:
        assert joined.value is None
        joined.add(block, google_crc32c.value(data[block * BLOCK : (block + 1) * BLOCK]))
    assert google_crc32c.value(data) == joined.value


def test_a_stronger_digest_is_waited_for() -> None:
    assert quick_sum(TOLD) is not None
    assert quick_sum(digests(DATA, "crc32c")) is None
    assert quick_sum(digests(DATA, "md5")) is None
    assert quick_sum(digests(DATA, "md5", "crc32c", "sha256")) is None


def test_the_last_bytes_do_not_wait_for_the_md5(make_cache, gate: threading.Event) -> None:
    cache = make_cache(is_quick=True)
    source = FakeSource(DATA, TOLD)
    with cache.open("f", SIZE, TOLD, source) as file:
        assert file.fetch(0, SIZE).result(WAIT) == DATA
        assert file.is_complete
        assert not file.is_verified
        assert file.is_proven_soon
        gate.set()
        wait_for(lambda: file.is_verified)
        assert not file.is_proven_soon


def test_nothing_is_kept_for_ever_before_its_md5_is_right(
    make_cache, directory: Path, gate: threading.Event
) -> None:
    cache = make_cache(is_quick=True)
    source = FakeSource(DATA, TOLD)
    assert read_all(cache, source) == DATA
    assert cache.settle(WAIT)
    assert not cache.status("f", SIZE, TOLD).is_verified
    assert [] == [kept for kept in cache.contents() if kept.is_complete]
    gate.set()
    wait_for(lambda: cache.status("f", SIZE, TOLD).is_verified)
    assert cache.settle(WAIT)
    assert [True] == [kept.is_complete for kept in cache.contents()]


def test_who_opens_it_again_before_its_md5_is_known_has_the_same_bytes(
    make_cache, gate: threading.Event
) -> None:
    cache = make_cache(is_quick=True)
    source = FakeSource(DATA, TOLD)
    assert read_all(cache, source) == DATA
    count = len(source.requests)
    with cache.open("f", SIZE, TOLD, source) as file:
        assert file.read(0, SIZE) == DATA
        gate.set()
        wait_for(lambda: file.is_verified)
    assert count == len(source.requests)


def test_bytes_with_another_crc32c_never_reach_the_end(make_cache) -> None:
    cache = make_cache(is_quick=True)
    wrong = bytes([DATA[0] ^ 1]) + DATA[1:]
    source = FakeSource(wrong, TOLD)
    with cache.open("f", SIZE, TOLD, source) as file, pytest.raises(Corrupt):
        file.fetch(0, SIZE).result(WAIT)


def test_a_wrong_crc32c_of_right_bytes_only_costs_time(make_cache) -> None:
    told = Digests(md5=TOLD.md5, crc32c="00000000")
    with make_cache(is_quick=True).open("f", SIZE, told, FakeSource(DATA, told)) as file:
        assert file.fetch(0, SIZE).result(WAIT) == DATA
        assert file.is_verified


def test_who_read_what_has_another_md5_is_told(make_cache, gate: threading.Event) -> None:
    rejected, proved = [], []
    cache = make_cache(is_quick=True, on_reject=rejected.append, on_proof=proved.append)
    source = FakeSource(DATA, WRONG_MD5)
    with cache.open("f", SIZE, WRONG_MD5, source) as file:
        assert file.fetch(0, SIZE).result(WAIT) == DATA
        gate.set()
        wait_for(lambda: proved)
        assert rejected == proved
        assert file.is_misled
        with pytest.raises(Corrupt):
            file.read(0, 1)
    assert [] == [kept for kept in cache.contents() if kept.is_complete]


def test_it_is_compared_though_nobody_has_it_open_any_more(
    make_cache, gate: threading.Event
) -> None:
    rejected: list[object] = []
    cache = make_cache(is_quick=True, on_reject=rejected.append)
    assert read_all(cache, FakeSource(DATA, WRONG_MD5)) == DATA
    gate.set()
    wait_for(lambda: rejected)


def test_it_is_told_of_a_file_that_was_lost_meanwhile_and_fetched_again(
    make_cache, directory: Path, gate: threading.Event
) -> None:
    proved: list[object] = []
    cache = make_cache(is_quick=True, on_proof=proved.append)
    source = FakeSource(DATA, TOLD)
    with cache.open("f", SIZE, TOLD, source) as file:
        assert file.fetch(0, SIZE).result(WAIT) == DATA
        assert file.is_proven_soon
        [part] = directory.rglob("*.part")
        os.truncate(part, 0)
        assert file.read(0, SIZE) is None
        assert file.fetch(0, SIZE).result(WAIT) == DATA
        gate.set()
        wait_for(lambda: 2 == len(proved))
        assert file.is_verified


def test_a_death_before_the_md5_costs_a_hash_not_a_download(
    make_cache, gate: threading.Event
) -> None:
    cache = make_cache(is_quick=True)
    source = FakeSource(DATA, TOLD)
    assert read_all(cache, source) == DATA
    count = len(source.requests)
    other = make_cache(is_quick=True)  # knows what is on the disk, as after a death
    gate.set()
    with other.open("f", SIZE, TOLD, source) as file:
        assert file.fetch(0, SIZE).result(WAIT) == DATA
        wait_for(lambda: file.is_verified)
    assert count == len(source.requests)


def test_hashing_that_nobody_waits_for_leaves_the_processors_to_others(make_cache) -> None:
    seen: list[int] = []

    def note(_: object) -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    cache = make_cache(is_quick=True, on_proof=note)
    assert read_all(cache, FakeSource(DATA, TOLD)) == DATA
    wait_for(lambda: seen)
    assert max(os.getpriority(os.PRIO_PROCESS, os.getpid()), 10) == seen[0]
