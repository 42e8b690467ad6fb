"""A cache directory that an older or a newer version of this program has used as well.

Names and lines that this one does not know stay as they are; a layout of its own files that it does
not know is not believed; and every byte that is read is right.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache
from modelfs.cache.blockmap import BLOCK
from modelfs.model import Digests

WAIT = 60.0
SIZE = 3 * BLOCK + 1000
DATA = content(SIZE)
HALF = content(SIZE, seed=1)
UNTOLD = content(SIZE, seed=2)
LONG_AGO = 1_000_000_000


def read(cache: BlockCache, name: str, data: bytes, *, part: int = SIZE) -> FakeSource:
    source = FakeSource(data, Digests() if data is UNTOLD else digests(data, "md5"))
    with cache.open(name, SIZE, source.told, source) as file:
        assert data[:part] == file.fetch(0, part).result(WAIT)
    return source


@pytest.fixture
def filled(make_cache: Callable[..., BlockCache], directory: Path) -> Path:
    """A directory with a whole file, a half one, and one whose digest was not told."""
    cache = make_cache(workers=2)
    read(cache, "whole", DATA)
    read(cache, "half", HALF, part=2 * BLOCK)
    read(cache, "untold", UNTOLD)
    assert cache.settle(WAIT)
    cache.stop()
    return directory


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def foreign(directory: Path) -> dict[Path, bytes]:
    """What a newer or an older program may keep beside our files; and what it holds."""
    key = f"md5-{digests(DATA, 'md5').md5}-{SIZE}"
    shard = directory / "objects" / digests(DATA, "md5").md5[:2]
    other = f"sha3-{'e' * 64}-100"
    paths = [
        directory / "FORMAT",
        directory / "objects/index.db",
        directory / "objects" / key,  # not in a shard
        directory / "objects.v2/ab/data",
        directory / "digests/index",
        directory / "digests/ab.v2",
        directory / "pins" / f"{other}@somebody",
        shard / f"{key}.v2.part",
        shard / f"{key}.lz4",
        shard / f"{key}.v2.map",
        shard / f"{key}.v2.new",
        shard / other,
        shard / f"{other}.part",
        shard / f"{other}.map",
        shard / f"{other}.new",
    ]
    return {put(path, path.name.encode()): path.name.encode() for path in paths}


def test_what_another_version_keeps_in_the_directory_stays(
    make_cache: Callable[..., BlockCache], filled: Path
) -> None:
    kept = foreign(filled)
    cache = make_cache(workers=2)
    for name, data in (("whole", DATA), ("half", HALF), ("untold", UNTOLD)):
        read(cache, name, data)
    assert cache.settle(WAIT)
    cache.sweep()
    assert () == cache.verify().faults
    assert 3 == cache.usage().files == len(cache.contents())
    cache.evict(1 << 40)
    assert 0 == cache.usage().files
    assert kept == {path: path.read_bytes() for path in kept}


def test_what_cannot_be_removed_keeps_nothing_else(
    make_cache: Callable[..., BlockCache], filled: Path
) -> None:
    left = []
    for first in "0", "8", "f":
        key = f"md5-{first * 32}-100"
        shard = filled / "objects" / (first * 2)
        (shard / f"{key}.map" / "held").mkdir(parents=True)
        os.utime(shard / f"{key}.map", (LONG_AGO, LONG_AGO))
        left.append(put(shard / f"md5-{first * 31}e-100.map", b"left"))
    make_cache(workers=2).sweep()
    assert [] == [path for path in left if path.exists()]


def test_a_file_that_was_finished_stays_so_whatever_is_beside_it(
    make_cache: Callable[..., BlockCache], filled: Path
) -> None:
    foreign(filled)
    assert 0 == read(make_cache(), "whole", DATA).delivered


def _rewritten(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


LAYOUTS: dict[str, Callable[[bytearray], None]] = {
    "an older version": lambda data: data.__setitem__(slice(8, 12), (0).to_bytes(4, "little")),
    "a newer version": lambda data: data.__setitem__(slice(8, 12), (2).to_bytes(4, "little")),
    "larger blocks": lambda data: data.__setitem__(slice(12, 16), (1 << 20).to_bytes(4, "little")),
    "longer records": lambda data: data.extend(bytes(8 * 4)),
    "no header": lambda data: data.__delitem__(slice(0, 32)),
    "text": lambda data: data.__setitem__(slice(None), json.dumps({"blocks": [0, 1]}).encode()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_map_of_another_layout_is_not_believed(
    make_cache: Callable[..., BlockCache], filled: Path, layout: str
) -> None:
    (path,) = (filled / "objects").rglob("*.map")
    _rewritten(path, LAYOUTS[layout])
    # The bytes it is about may mean something else as well.
    part = path.with_suffix(".part")
    part.write_bytes(bytes(SIZE))
    cache = make_cache(workers=2)
    assert read(cache, "half", HALF).delivered >= SIZE
    assert cache.settle(WAIT)
    assert () == cache.verify().faults
    assert 0 == read(cache, "half", HALF).delivered


def test_a_line_with_more_in_it_is_no_fault_and_stays(
    make_cache: Callable[..., BlockCache], filled: Path
) -> None:
    (log,) = [path for path in (filled / "digests").iterdir() if path.stat().st_size]
    text = log.read_bytes().split()
    newer = b" ".join([text[0], b"another", *text[1:5], b"field"])
    line = b"\n%s %08x\n" % (newer, google_crc32c.value(newer))
    log.write_bytes(log.read_bytes() + line)
    cache = make_cache(workers=2)
    assert () == cache.verify().faults
    read(cache, "untold", UNTOLD)
    cache.stop()
    assert line in log.read_bytes()
    # And one by the older that says nothing of the bytes: they are what they were.
    log.write_bytes(line)
    read(make_cache(workers=2), "untold", UNTOLD)
