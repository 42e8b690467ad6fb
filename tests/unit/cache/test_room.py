"""Budget, floor and eviction, and disks that do not take what they should."""

from __future__ import annotations

import itertools
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache
from modelfs.cache.blockmap import BLOCK
from modelfs.errors import Error, Unavailable
from polling import wait_for

WAIT = 60.0
SIZE = 4 * BLOCK


def load(cache: BlockCache, name: str, size: int = SIZE, seed: int = 0) -> FakeSource:
    """Read a whole file through the cache, in pieces as the kernel asks for them."""
    data = content(size, seed)
    source = FakeSource(data, digests(data, "md5"))
    with cache.open(name, size, source.told, source) as file:
        for offset in range(0, size, 128 << 10):
            found = file.read(offset, 128 << 10)
            if found is None:
                found = file.fetch(offset, 128 << 10).result(WAIT)
            assert data[offset : offset + (128 << 10)] == found
    return source


def is_here(cache: BlockCache, seed: int, size: int = SIZE) -> bool:
    return cache.status("any", size, digests(content(size, seed), "md5")).is_complete


def age(directory: Path, seed: int, seconds: float, size: int = SIZE) -> None:
    """Make a content look as if it had not been used for a while."""
    digest = digests(content(size, seed), "md5").md5
    for path in (directory / "objects").rglob(f"*{digest}*"):
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns - int(seconds * 1e9), found.st_mtime_ns))


def test_the_coldest_files_go_first(make_cache, directory: Path) -> None:
    cache = make_cache(budget=3 * SIZE + BLOCK)
    for seed in range(3):
        load(cache, f"f{seed}", seed=seed)
        assert cache.settle(WAIT)
    for seed, seconds in ((0, 1000), (1, 3000), (2, 2000)):
        age(directory, seed, seconds)
    load(cache, "f3", seed=3)
    assert cache.settle(WAIT)
    assert [True, False, True, True] == [is_here(cache, seed) for seed in range(4)]
    assert cache.usage().used <= 3 * SIZE + BLOCK


def test_opening_a_file_makes_it_warm(make_cache, directory: Path) -> None:
    cache = make_cache(budget=2 * SIZE + BLOCK)
    for seed in range(2):
        load(cache, f"f{seed}", seed=seed)
        assert cache.settle(WAIT)
        age(directory, seed, 5000 - seed)
    load(cache, "f0", seed=0)
    load(cache, "f2", seed=2)
    assert cache.settle(WAIT)
    assert [True, False, True] == [is_here(cache, seed) for seed in range(3)]


def test_open_files_stay_and_others_are_read_past_the_cache(make_cache, directory: Path) -> None:
    cache = make_cache(budget=SIZE + BLOCK)
    other = make_cache(budget=SIZE + BLOCK)  # shares the directory, as another process would
    data = content(SIZE)
    source = FakeSource(data, digests(data, "md5"))
    with cache.open("open", SIZE, source.told, source) as file:
        assert data == file.fetch(0, SIZE).result(WAIT)
        age(directory, 0, 5000)
        load(cache, "large", seed=1)
        load(other, "large", seed=1)
        assert not is_here(cache, 1)
        assert data == file.read(0, SIZE)
        other.evict(1 << 40)
        assert is_here(other, 0)
        assert data == file.read(0, SIZE)
    assert cache.settle(WAIT)
    wait_for(lambda: other.evict(1 << 40) >= SIZE)
    assert 0 == cache.usage().files


def test_pinned_files_stay(make_cache, directory: Path) -> None:
    cache = make_cache(budget=SIZE + BLOCK)
    source = load(cache, "pinned")
    assert cache.settle(WAIT)
    age(directory, 0, 5000)
    assert cache.pin("pinned", SIZE, source.told)
    assert cache.pin("same bytes", SIZE, source.told)
    load(cache, "large", seed=1)
    assert is_here(cache, 0)
    cache.unpin("pinned")
    cache.evict(1 << 40)
    assert is_here(cache, 0)
    cache.unpin("same bytes")
    assert cache.evict(1) >= SIZE
    assert not is_here(cache, 0)


def test_the_floor_leaves_room_to_others(make_cache) -> None:
    cache = make_cache(floor=1 << 60)
    load(cache, "f")
    assert cache.usage().used < BLOCK


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=60", "none", str(path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_fails_no_read(make_cache, small_disk: Path) -> None:
    cache = make_cache(directory=small_disk / "cache")
    for seed in range(4):
        load(cache, f"f{seed}", size=6 * BLOCK, seed=seed)
    (small_disk / "filler").write_bytes(b"")
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        filler.writelines(itertools.repeat(bytes(4096)))
    load(cache, "g", seed=9)


def test_a_disk_without_inodes_fails_no_read(make_cache, small_disk: Path) -> None:
    cache = make_cache(directory=small_disk / "cache")
    for seed in range(60):
        load(cache, f"f{seed}", size=1000, seed=seed)


def test_a_read_only_disk_fails_no_read(make_cache, small_disk: Path) -> None:
    cache = make_cache(directory=small_disk / "cache")
    load(cache, "before")
    assert cache.settle(WAIT)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    # A thread of the cache may not have let go of the file yet.
    wait_for(lambda: not subprocess.run(remount, check=False, capture_output=True).returncode, WAIT)
    source = load(cache, "f", seed=1)
    assert source.delivered >= SIZE
    assert 0 == load(cache, "before").delivered


def test_a_cache_directory_that_goes_away_fails_no_read(make_cache, directory: Path) -> None:
    cache = make_cache()
    data = content(SIZE)
    source = FakeSource(data, digests(data, "md5"))
    with cache.open("f", SIZE, source.told, source) as file:
        file.fetch(0, BLOCK).result(WAIT)
        shutil.rmtree(directory)
        assert data == file.fetch(0, SIZE).result(WAIT)
        load(cache, "g", seed=1)
    directory.mkdir()
    load(cache, "h", seed=2)
    wait_for(lambda: load(cache, "i", seed=3).delivered == SIZE and is_here(cache, 3))


def test_a_limit_on_file_sizes_fails_no_read(make_cache) -> None:
    cache = make_cache()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * BLOCK, before[1]))
    try:
        load(cache, "f")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_descriptors_reads_go_on_or_say_so_and_recover(make_cache) -> None:
    cache = make_cache()
    load(cache, "warm", seed=5)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 1, before[1]))
    try:
        load(cache, "f")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(taken[0])
    load(cache, "g", seed=1)
    assert cache.settle(WAIT)
    assert is_here(cache, 1)


def test_reading_past_the_cache_asks_once_for_the_pieces_of_one_read_ahead(make_cache) -> None:
    # One thread brings them in the order in which they are asked for.
    cache = make_cache(floor=1 << 60, workers=1)
    data = content(64 * BLOCK)
    source = FakeSource(data, digests(data, "md5"))
    piece = 128 << 10
    with cache.open("f", len(data), source.told, source) as file:
        futures = [file.fetch(offset, piece) for offset in range(0, len(data), piece)]
        assert data == b"".join(future.result(WAIT) for future in futures)
    # A little at first, then 4 MiB at a time.
    places = [0, BLOCK, *range(BLOCK + (4 << 20), len(data), 4 << 20)]
    assert list(zip(places, [*places[1:], len(data)], strict=True)) == source.requests


def test_pieces_of_a_read_ahead_that_come_in_any_order_past_the_cache_are_right(
    make_cache,
) -> None:
    cache = make_cache(floor=1 << 60)
    data = content(16 * BLOCK)
    source = FakeSource(data, digests(data, "md5"))
    piece = 128 << 10
    places = list(range(0, len(data), piece))
    random.Random(5).shuffle(places)
    with cache.open("f", len(data), source.told, source) as file:
        futures = {offset: file.fetch(offset, piece) for offset in places}
        for offset, future in futures.items():
            assert data[offset : offset + piece] == future.result(WAIT)


def test_failures_past_the_cache_reach_the_reader_once(make_cache) -> None:
    cache = make_cache(floor=1 << 60)
    data = content(SIZE)
    source = FakeSource(data, digests(data, "md5"))
    source.refusal = Unavailable("no answer")
    with cache.open("f", SIZE, source.told, source) as file:
        with pytest.raises(Error, match="no answer"):
            file.fetch(0, 10).result(WAIT)
        source.refusal = None
        assert data[:10] == file.fetch(0, 10).result(WAIT)


def test_a_thousand_open_files_are_fine_and_leave_no_descriptor(make_cache) -> None:
    cache = make_cache()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard[1]), hard[1]))
    before = len(os.listdir("/proc/self/fd"))
    files = []
    for number in range(1000):
        data = content(100, seed=number)
        source = FakeSource(data, digests(data, "md5"))
        file = cache.open(f"f{number}", 100, source.told, source)
        files.append((file, data, file.fetch(0, 100)))
    for file, data, future in files:
        assert data == future.result(WAIT)
        file.close()
    files.clear()
    del file, data, future, source
    assert cache.settle(WAIT)
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before + 3)
    resource.setrlimit(resource.RLIMIT_NOFILE, hard)
