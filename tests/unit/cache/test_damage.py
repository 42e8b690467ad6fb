"""Whatever happens to the files of the cache, no reader gets a wrong byte."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache, CachedFile
from modelfs.cache.blockmap import BLOCK
from modelfs.cache.directory import Directory
from modelfs.cache.keys import content_key
from modelfs.cache.store import Store
from modelfs.errors import Unavailable
from modelfs.model import Digests

WAIT = 60.0
SIZE = 3 * BLOCK + 1000


def read_all(file: CachedFile) -> bytes:
    pieces = []
    for offset in range(0, file.size, BLOCK):
        data = file.read(offset, BLOCK)
        pieces.append(data if data is not None else file.fetch(offset, BLOCK).result(WAIT))
    return b"".join(pieces)


def fill(make_cache, data: bytes, *, is_whole: bool, known: str = "md5") -> FakeSource:
    """Leave a content in the cache, finished or with two of its blocks here."""
    source = FakeSource(data, digests(data, known) if known else Digests())
    cache = make_cache(workers=2)
    with cache.open("f", len(data), source.told, source) as file:
        file.fetch(0, len(data) if is_whole else 2 * BLOCK).result(WAIT)
        if is_whole:
            assert cache.settle(WAIT)
    cache.stop()
    return source


def stored(directory: Path, suffix: str = "") -> Path:
    files = [path for path in (directory / "objects").rglob("*") if path.is_file()]
    found = [path for path in files if path.suffix == suffix]
    assert len(found) == 1, files
    return found[0]


def flip(path: Path, position: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def check(make_cache, data: bytes, source: FakeSource) -> None:
    cache: BlockCache = make_cache(workers=2)
    with cache.open("f", len(data), source.told, source) as file:
        assert data == read_all(file)
    cache.stop()


@pytest.mark.parametrize("position", [0, BLOCK - 1, BLOCK, 2 * BLOCK - 1])
def test_a_changed_byte_of_an_unfinished_file_is_fetched_again(
    make_cache, directory: Path, position: int
) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=False)
    before = source.delivered
    flip(stored(directory, ".part"), position)
    check(make_cache, data, source)
    assert before + BLOCK + (SIZE - 2 * BLOCK) == source.delivered


@pytest.mark.parametrize("block", [0, 1])
def test_a_block_whose_bytes_a_power_cut_took_is_fetched_again(
    make_cache, directory: Path, block: int
) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=False)
    with stored(directory, ".part").open("r+b") as file:
        file.seek(block * BLOCK)
        file.write(bytes(BLOCK))
    check(make_cache, data, source)


def test_a_file_that_was_replaced_is_not_finished(directory: Path) -> None:
    cache_directory = Directory(directory)
    cache_directory.prepare()
    store = Store(cache_directory)
    key = content_key(digests(content(10), "md5"), 10)
    backing = store.create(key)
    backing.write(0, memoryview(content(10)))
    os.utime(backing.fd, ns=(0, 0))
    instance = backing.instance()
    store.drop(key, backing.inode)
    del backing
    other = store.create(key)
    os.utime(other.fd, ns=(0, 0))
    # The number that has become free is given to the next one, in the same moment.
    store.finish(key, replace(instance, inode=other.inode))
    assert not store.is_finished(key)


def test_a_file_that_was_written_to_is_not_finished(directory: Path) -> None:
    cache_directory = Directory(directory)
    cache_directory.prepare()
    store = Store(cache_directory)
    key = content_key(digests(content(10), "md5"), 10)
    backing = store.create(key)
    backing.write(0, memoryview(content(10)))
    os.utime(backing.fd, ns=(0, 0))
    instance = backing.instance()
    flip(stored(directory, ".part"), 3)
    store.finish(key, instance)
    assert not store.is_finished(key)


@pytest.mark.parametrize("known", ["md5", "sha256", "crc32c", ""])
@pytest.mark.parametrize("position", [0, BLOCK + 5, SIZE - 1])
def test_a_changed_byte_of_a_finished_file_is_noticed(
    make_cache, directory: Path, position: int, known: str
) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=True, known=known)
    flip(stored(directory), position)
    check(make_cache, data, source)
    assert 2 * SIZE == source.delivered


@pytest.mark.parametrize("known", ["md5", "crc32c", ""])
def test_a_finished_file_that_was_only_touched_is_hashed_and_used(
    make_cache, directory: Path, known: str
) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=True, known=known)
    stored(directory).touch()
    source.refusal = Unavailable("offline")
    check(make_cache, data, source)
    with make_cache().open("f", SIZE, source.told, source) as file:
        assert file.is_verified  # sealed again


def test_every_byte_of_a_map_may_change(make_cache, directory: Path) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=False)
    path, part = stored(directory, ".map"), stored(directory, ".part")
    whole_map, whole_part = path.read_bytes(), part.read_bytes()
    cache = make_cache(workers=1)
    for position in range(len(whole_map)):
        for bit in (0, 7):
            path.write_bytes(whole_map)
            part.write_bytes(whole_part)
            flip(path, position, bit)
            with cache.open("f", SIZE, source.told, source) as file:
                assert data[: 3 * BLOCK] == file.fetch(0, 3 * BLOCK).result(WAIT)


@pytest.mark.parametrize("suffix", [".map", ".part", ""])
@pytest.mark.parametrize("change", [-1, 1, -BLOCK, 1 << 20, None])
def test_a_file_of_another_length_is_not_believed(
    make_cache, directory: Path, suffix: str, change: int | None
) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=not suffix)
    path = stored(directory, suffix)
    size = 0 if change is None else max(0, path.stat().st_size + change)
    os.truncate(path, size)
    check(make_cache, data, source)


@pytest.mark.parametrize("suffix", [".map", ".part", ""])
def test_planted_links_and_directories_are_not_followed(
    make_cache, directory: Path, tmp_path: Path, suffix: str
) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=not suffix)
    path = stored(directory, suffix)
    victim = tmp_path / "victim"
    for plant in ("link", "directory", "fifo"):
        victim.write_bytes(bytes(SIZE))
        path.unlink()
        if plant == "link":
            path.symlink_to(victim)
        elif plant == "directory":
            path.mkdir()
        else:
            os.mkfifo(path)
        check(make_cache, data, source)
        assert bytes(SIZE) == victim.read_bytes()
        if plant == "fifo":
            break
        for left in path.parent.iterdir():
            left.rmdir() if left.is_dir() else left.unlink()
        fill(make_cache, data, is_whole=not suffix)
        path = stored(directory, suffix)


def test_every_byte_of_a_digest_log_may_change(make_cache, directory: Path) -> None:
    data = content(100)
    source = fill(make_cache, data, is_whole=True, known="")
    source.told = digests(data, "md5")
    check_late = make_cache()
    with check_late.open("g", 100, Digests(), source) as file:
        assert data == file.fetch(0, 100).result(WAIT)
    check_late.stop()
    for log in (directory / "digests").iterdir():
        whole = log.read_bytes()
        for position in range(len(whole)):
            log.write_bytes(whole)
            flip(log, position)
            cache = make_cache(workers=1)
            for name in ("f", "g"):
                with cache.open(name, 100, Digests(), source) as file:
                    assert data == file.fetch(0, 100).result(WAIT)
            cache.stop()


def test_a_file_cut_while_it_is_open_is_read_again(make_cache, directory: Path) -> None:
    data = content(SIZE)
    source = fill(make_cache, data, is_whole=True)
    with make_cache().open("f", SIZE, source.told, source) as file:
        assert data[:10] == file.read(0, 10)
        os.truncate(stored(directory), BLOCK)
        assert file.read(BLOCK - 5, 10) is None  # of which a half is left
        assert file.read(2 * BLOCK, 10) is None
        assert data[2 * BLOCK : 2 * BLOCK + 10] == file.fetch(2 * BLOCK, 10).result(WAIT)
        assert data == read_all(file)


def test_verification_names_and_drops_what_is_wrong(make_cache, directory: Path) -> None:
    data = content(SIZE)
    fill(make_cache, data, is_whole=True)
    path = stored(directory)
    cache = make_cache()
    assert () == cache.verify().faults
    seal = path.stat().st_mtime_ns
    flip(path, 1000)
    os.utime(path, ns=(seal, seal))
    found = cache.verify()
    assert (1, [path.name]) == (found.checked, [fault.key for fault in found.faults])
    assert not path.exists()
