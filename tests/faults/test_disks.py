"""The cache's disk fails at any call with any errno: every read gives the right bytes.

`EVERY` is 1 for all calls, as `scripts/crashes disks` sets it; otherwise each so many-th.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cache_sources import FakeSource, content, digests
from faults.disks import FAILURES, Disk
from modelfs.cache import BlockCache
from modelfs.cache.blockmap import BLOCK
from modelfs.model import Digests
from modelfs.refs import Ref
from modelfs.registry.shelf import Shelf

EVERY = int(os.environ.get("FAULTS_EVERY", "17"))
WAIT = 60.0
# A file of several blocks, one that is one small file in the cache, one whose digest is not told.
FILES = {"large": (5 * BLOCK + 77, "md5"), "small": (3000, "sha256"), "untold": (BLOCK + 5, "")}
DATA = {name: content(size, seed) for seed, (name, (size, _)) in enumerate(FILES.items())}
REF = Ref(("alice", "bert"))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[Path], BlockCache]]:
    made: list[BlockCache] = []

    def start(directory: Path) -> BlockCache:
        cache = BlockCache(directory, budget=1 << 40, floor=0, workers=3)
        cache.start()
        made.append(cache)
        return cache

    yield start
    for cache in made:
        cache.stop()


def source_of(name: str) -> FakeSource:
    known = FILES[name][1]
    return FakeSource(DATA[name], digests(DATA[name], known) if known else Digests())


def read(cache: BlockCache, name: str, source: FakeSource) -> bytes:
    """All of a file, in pieces as the kernel asks for them."""
    found = []
    with cache.open(name, len(source.data), source.told, source) as file:
        for offset in range(0, len(source.data), BLOCK // 2):
            piece = file.read(offset, BLOCK // 2)
            found.append(
                piece if piece is not None else file.fetch(offset, BLOCK // 2).result(WAIT)
            )
    return b"".join(found)


def use(cache: BlockCache, shelf: Shelf) -> None:
    """Fill, read again, drop, fill again; every read has to be right."""
    for name in FILES:
        assert DATA[name] == read(cache, name, source_of(name)), name
    cache.settle(0.5)
    for name in FILES:
        assert DATA[name] == read(cache, name, source_of(name)), f"{name}, again"
    try:
        cache.evict(6 * BLOCK)
    except OSError:
        pass  # a command that says so
    for name in FILES:
        assert DATA[name] == read(cache, name, source_of(name)), f"{name}, after dropping"
    shelf.write("listing", REF, ["one", "two"])
    assert shelf.read("listing", REF) in (["one", "two"], None)


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", FAILURES, ids=lambda number: errno.errorcode[number])
@pytest.mark.timeout(900)
def test_a_disk_that_fails_at_any_call_fails_no_read(
    make: Callable[[Path], BlockCache], tmp_path: Path, number: int, lasts: bool
) -> None:
    at, failures = 1 + number % EVERY, 0
    while True:
        directory = tmp_path / f"{at}"
        cache = make(directory / "blocks")
        with Disk(directory, number, at, lasts=lasts) as disk:
            use(cache, Shelf(directory / "metadata", "test"))
        failures += len(disk.failed)
        # And once the disk is well again, so is the cache, after what it keeps away from it.
        for name in FILES:
            assert DATA[name] == read(cache, name, source_of(name)), f"{name}, later"
        cache.stop()
        again = make(directory / "blocks")
        again.verify()
        assert () == again.verify(is_dry=True).faults
        for name in FILES:
            assert DATA[name] == read(again, name, source_of(name)), f"{name}, restarted"
        again.stop()
        shutil.rmtree(directory)
        if disk.calls < at:
            break
        at += EVERY
    assert failures


@pytest.mark.timeout(900)
def test_a_thousand_changed_bytes_are_never_read(
    make: Callable[[Path], BlockCache], tmp_path: Path
) -> None:
    """In data, maps, digests and lists, of finished and half files; each alone."""
    directory = tmp_path / "cache"
    cache = make(directory / "blocks")
    for name in FILES:
        read(cache, name, source_of(name))
    assert cache.settle(WAIT)
    half = source_of("large")
    half.data = content(4 * BLOCK, 99)
    half.told = digests(half.data, "md5")
    with cache.open("half", len(half.data), half.told, half) as file:
        file.fetch(0, 2 * BLOCK).result(WAIT)
    Shelf(directory / "metadata", "test").write("listing", REF, ["one", "two"])
    cache.stop()
    whole = tmp_path / "whole"
    shutil.copytree(directory, whole)
    paths = [path for path in whole.rglob("*") if path.is_file() and path.stat().st_size]
    assert {".map", ".part", ".json"} <= {path.suffix for path in paths}
    rng = random.Random(11)
    for _ in range(1000 // EVERY + 1):
        shutil.rmtree(directory)
        shutil.copytree(whole, directory)
        victim = rng.choice(paths)
        path = directory / victim.relative_to(whole)
        place = rng.randrange(path.stat().st_size)
        with path.open("r+b") as file:
            file.seek(place)
            old = file.read(1)[0]
            file.seek(place)
            file.write(bytes([old ^ rng.randrange(1, 256)]))
        cache = make(directory / "blocks")
        for name in FILES:
            assert DATA[name] == read(cache, name, source_of(name)), (path, place)
        fresh = FakeSource(half.data, half.told)
        assert half.data == read(cache, "half", fresh), (path, place)
        found = Shelf(directory / "metadata").read("listing", REF)
        assert found in (["one", "two"], None), (path, place)
        cache.stop()
