"""Local files that were published: taken into the cache, so that nothing is downloaded back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache
from modelfs.cache.blockmap import BLOCK
from modelfs.model import Digests

WAIT = 10.0
SIZE = 3 * BLOCK + 17
DATA = content(SIZE)
OURS = digests(DATA, "md5", "sha256")


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "weights.bin"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("told", [(), ("md5",), ("sha256",), ("md5", "sha256"), ("crc32c",)])
def test_an_adopted_file_is_read_without_its_source(
    cache: BlockCache, local: Path, told: tuple[str, ...]
) -> None:
    listed = digests(DATA, *told)
    assert cache.adopt("f", SIZE, OURS, local, listed)
    source = FakeSource(DATA, digests(DATA, "md5", "crc32c"))
    with cache.open("f", SIZE, listed, source) as file:
        assert file.is_verified
        assert DATA == file.read(0, SIZE)
    assert [] == source.requests


def test_what_was_adopted_is_there_after_a_restart(
    make_cache: Callable[..., BlockCache], local: Path
) -> None:
    first = make_cache()
    assert first.adopt("f", SIZE, OURS, local)
    first.stop()
    local.unlink()
    source = FakeSource(DATA)
    with make_cache().open("f", SIZE, Digests(), source) as file:
        assert DATA == file.read(0, SIZE)
    assert [] == source.requests


def test_an_adopted_file_is_found_by_another_version_that_has_the_same_bytes(
    cache: BlockCache, local: Path
) -> None:
    assert cache.adopt("f", SIZE, OURS, local)
    source = FakeSource(DATA, digests(DATA, "md5", "crc32c"))
    with cache.open("g", SIZE, Digests(), source) as file:
        assert DATA == file.fetch(0, SIZE).result(WAIT)
    assert 0 == source.delivered


def test_removing_the_local_file_leaves_the_cache_its_bytes(cache: BlockCache, local: Path) -> None:
    assert cache.adopt("f", SIZE, OURS, local)
    local.unlink()
    with cache.open("f", SIZE, Digests(), FakeSource(b"")) as file:
        assert DATA == file.read(0, SIZE)


def test_a_file_with_a_second_name_is_copied(cache: BlockCache, local: Path) -> None:
    other = local.with_name("other")
    os.link(local, other)
    assert cache.adopt("f", SIZE, OURS, local)
    other.write_bytes(b"changed behind the cache's back")
    with cache.open("f", SIZE, Digests(), FakeSource(b"")) as file:
        assert DATA == file.read(0, SIZE)


def test_two_files_of_the_same_bytes_are_adopted_once(cache: BlockCache, local: Path) -> None:
    twin = local.with_name("twin")
    twin.write_bytes(DATA)
    assert cache.adopt("f", SIZE, OURS, local)
    assert cache.adopt("g", SIZE, OURS, twin)
    assert 1 == cache.usage().files


@pytest.mark.parametrize("kind", ["missing", "cut", "link", "directory"])
def test_what_is_not_that_file_is_not_adopted(cache: BlockCache, local: Path, kind: str) -> None:
    if kind == "cut":
        local.write_bytes(DATA[:-1])
    else:
        target = local.rename(local.with_name("target"))
        if kind == "link":
            local.symlink_to(target)
        elif kind == "directory":
            local.mkdir()
    assert not cache.adopt("f", SIZE, OURS, local)
    assert 0 == cache.usage().files


def test_what_is_larger_than_the_budget_is_not_adopted(
    make_cache: Callable[..., BlockCache], local: Path
) -> None:
    cache = make_cache(budget=SIZE - 1)
    assert not cache.adopt("f", SIZE, OURS, local)
    assert 0 == cache.usage().files


def test_what_is_adopted_counts_for_the_budget(
    make_cache: Callable[..., BlockCache], local: Path
) -> None:
    cache = make_cache(budget=2 * SIZE)
    other = content(SIZE, seed=1)
    for name, data in (("a", content(SIZE, seed=2)), ("b", other)):
        with cache.open(name, SIZE, Digests(), FakeSource(data)) as file:
            assert data == file.fetch(0, SIZE).result(WAIT)
    assert cache.settle(WAIT)
    assert cache.adopt("f", SIZE, OURS, local)
    third = content(SIZE, seed=3)
    with cache.open("c", SIZE, Digests(), FakeSource(third)) as file:
        assert third == file.fetch(0, SIZE).result(WAIT)
    assert cache.usage().used <= 2 * SIZE + 4096 * 4


def test_an_adopted_file_that_is_written_to_afterwards_is_not_believed(
    cache: BlockCache, local: Path
) -> None:
    assert cache.adopt("f", SIZE, OURS, local)
    with local.open("r+b") as file:
        file.write(b"oops")
    source = FakeSource(DATA, digests(DATA, "md5"))
    with cache.open("f", SIZE, Digests(), source) as opened:
        assert DATA == opened.fetch(0, SIZE).result(WAIT)


def test_an_empty_file_needs_nothing(cache: BlockCache, tmp_path: Path) -> None:
    assert cache.adopt("f", 0, digests(b"", "md5", "sha256"), tmp_path / "none")
