"""Verification finds all that was done to a cache, drops it, and nothing else."""

from __future__ import annotations

import hashlib
import os
import random
import threading
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
SMALL = 5000
HEADER = 24  # of a map; a token of eight bytes follows, which may be anything


class Stocked:
    """A cache with contents of each kind, and where their files are."""

    def __init__(self, make_cache: Callable[..., BlockCache], directory: Path) -> None:
        self._make = make_cache
        self.directory = directory
        self.sources: dict[str, FakeSource] = {}
        cache = make_cache(workers=2)
        for name, size, known, part in (
            ("whole", SIZE, "md5", SIZE),
            ("whole too", SIZE, "sha256", SIZE),
            ("small", SMALL, "md5", SMALL),
            ("untold", SIZE, "", SIZE),
            ("half", SIZE, "md5", 2 * BLOCK),
            ("half too", SIZE, "md5", 2 * BLOCK),
        ):
            data = content(size, seed=len(name) * 256 + len(self.sources))
            source = FakeSource(data, digests(data, known) if known else Digests())
            self.sources[name] = source
            with cache.open(name, size, source.told, source) as file:
                file.fetch(0, part).result(WAIT)
                while part == 2 * BLOCK and file.read(0, part) is None:
                    file.fetch(0, part).result(WAIT)
        assert cache.settle(WAIT)
        cache.stop()
        self.cache = make_cache(workers=2)

    def path(self, name: str, suffix: str = "") -> Path:
        source = self.sources[name]
        key = self.cache.key_of(name, len(source.data), source.told)
        (found,) = (self.directory / "objects").rglob(key + suffix)
        return found

    def faults(self, *, is_dry: bool = False) -> list[tuple[str, str]]:
        keys = {
            self.cache.key_of(name, len(source.data), source.told): name
            for name, source in self.sources.items()
        }
        found = self.cache.verify(is_dry=is_dry).faults
        return [(keys.get(each.key) or each.key.partition("/")[0], each.what) for each in found]

    @property
    def log(self) -> Path:
        """Where it is kept what the file without digests turned out to be."""
        (found,) = [path for path in (self.directory / "digests").iterdir() if path.stat().st_size]
        return found

    def read(self, name: str) -> bytes:
        source = self.sources[name]
        with self.cache.open(name, len(source.data), source.told, source) as file:
            return file.fetch(0, len(source.data)).result(WAIT)


@pytest.fixture
def stocked(make_cache: Callable[..., BlockCache], directory: Path) -> Stocked:
    return Stocked(make_cache, directory)


def put(path: Path, position: int, data: bytes) -> None:
    """Change bytes as a bad disk does: no time shows it."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.seek(position)
        file.write(data)
    os.utime(path, ns=times)


def flip(path: Path, position: int, bit: int) -> None:
    with path.open("rb") as file:
        file.seek(position)
        byte = file.read(1)[0]
    put(path, position, bytes([byte ^ 1 << bit]))


def resize(path: Path, size: int) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    os.truncate(path, size)
    os.utime(path, ns=times)


def swap(one: Path, other: Path) -> None:
    """Exchange bytes, and leave each name its times."""
    first, second = one.read_bytes(), other.read_bytes()
    put(one, 0, second)
    put(other, 0, first)


def replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


DAMAGE: dict[str, tuple[Callable[[Stocked], None], set[str]]] = {
    "a bit of a whole file": (lambda s: flip(s.path("whole"), SIZE - 1, 7), {"whole"}),
    "a bit of a small file": (lambda s: flip(s.path("small"), 0, 0), {"small"}),
    "a bit of a file without digests": (lambda s: flip(s.path("untold"), 9, 3), {"untold"}),
    "a whole file cut": (lambda s: resize(s.path("whole"), SIZE - 1), {"whole"}),
    "a whole file longer": (lambda s: resize(s.path("whole"), SIZE + 1), {"whole"}),
    "a whole file empty": (lambda s: resize(s.path("whole"), 0), {"whole"}),
    "whole files swapped": (
        lambda s: swap(s.path("whole"), s.path("whole too")),
        {"whole", "whole too"},
    ),
    "a link in place of a file": (
        lambda s: replace_by_link(s.path("small")),
        {"small"},
    ),
    "a bit of a half file": (lambda s: flip(s.path("half", ".part"), BLOCK, 1), {"half"}),
    "a half file cut": (lambda s: resize(s.path("half", ".part"), 2 * BLOCK), {"half"}),
    "a half file longer": (lambda s: resize(s.path("half", ".part"), SIZE + 1), {"half"}),
    "half files swapped": (
        lambda s: swap(s.path("half", ".part"), s.path("half too", ".part")),
        {"half", "half too"},
    ),
    "a record": (lambda s: flip(s.path("half", ".map"), HEADER + 8 + 9, 2), {"half"}),
    "a record in the wrong place": (
        lambda s: put(
            s.path("half", ".map"), HEADER + 8 + 16, s.path("half", ".map").read_bytes()[32:40]
        ),
        {"half"},
    ),
    "a record of nothing": (
        lambda s: put(s.path("half", ".map"), HEADER + 8 + 16, b"\1" * 8),
        {"half"},
    ),
    "the head of a map": (lambda s: flip(s.path("half", ".map"), 3, 0), {"half"}),
    "a map cut": (lambda s: resize(s.path("half", ".map"), 40), {"half"}),
    "a map empty": (lambda s: resize(s.path("half", ".map"), 0), {"half"}),
    "a map longer": (lambda s: resize(s.path("half", ".map"), 4096), {"half"}),
    "a map gone": (lambda s: s.path("half", ".map").unlink(), {"half"}),
    "maps swapped": (
        lambda s: swap(s.path("half", ".map"), s.path("half too", ".map")),
        {"half", "half too"},
    ),
    "a bit of what was told": (lambda s: flip(s.log, 70, 4), {"digests"}),
    "what was told cut": (lambda s: resize(s.log, s.log.stat().st_size - 9), {"digests"}),
    "what was told longer": (
        lambda s: put(s.log, s.log.stat().st_size, b"\0" * 100),
        {"digests"},
    ),
    "something else in place of what was told": (
        lambda s: put(s.log, 0, os.urandom(s.log.stat().st_size)),
        {"digests"},
    ),
}


def test_a_sound_cache_has_no_faults(stocked: Stocked) -> None:
    times = {kept.key: kept.used_at for kept in stocked.cache.contents()}
    found = stocked.cache.verify()
    assert (6, (), ()) == (found.checked, found.faults, found.unproven)
    assert times == {kept.key: kept.used_at for kept in stocked.cache.contents()}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_repaired(kind: str, stocked: Stocked) -> None:
    damage, expected = DAMAGE[kind]
    damage(stocked)
    assert expected == {name for name, _ in stocked.faults(is_dry=True)}
    assert expected == {name for name, _ in stocked.faults()}
    assert [] == stocked.faults()
    before = {name: source.delivered for name, source in stocked.sources.items()}
    for name, source in stocked.sources.items():
        assert source.data == stocked.read(name)
        missing = SIZE - 2 * BLOCK if name.startswith("half") else 0
        assert name in expected or missing == source.delivered - before[name]


@pytest.mark.parametrize("seed", range(3))
def test_every_flipped_bit_is_found(seed: int, stocked: Stocked) -> None:
    random_ = random.Random(seed)
    for _ in range(60):
        name, suffix = random_.choice(
            [("whole", ""), ("untold", ""), ("small", ""), ("half", ".part"), ("half", ".map")]
        )
        path = stocked.path(name, suffix)
        if suffix == ".map":
            place = random_.choice([*range(HEADER), *range(HEADER + 8, path.stat().st_size)])
        else:
            place = random_.randrange(2 * BLOCK if suffix else path.stat().st_size)
        bit = random_.randrange(8)
        flip(path, place, bit)
        assert {name} == {found for found, _ in stocked.faults(is_dry=True)}, (name, place, bit)
        flip(path, place, bit)
    assert [] == stocked.faults()


def test_every_flipped_bit_of_what_was_told_is_found(stocked: Stocked) -> None:
    whole = stocked.log.read_bytes()
    for place in range(len(whole)):
        flip(stocked.log, place, place % 8)
        found = {name for name, _ in stocked.faults(is_dry=True)}
        # In front of a line one break is as good as two.
        assert found == {"digests"} or not place, place
        put(stocked.log, 0, whole)
    assert [] == stocked.faults()


def test_what_was_told_besides_a_damaged_line_stays(
    make_cache: Callable[..., BlockCache], stocked: Stocked
) -> None:
    log = stocked.log
    name, line = log.name, log.read_bytes()
    # As a newer program may write it: fields that this one does not know.
    newer = b"a line of 7 fields, of which no more is known"
    newer += b" %08x\n" % google_crc32c.value(newer)
    put(log, len(line), b"\n" + newer + b"damaged\n")
    assert [("digests", "lines that are damaged: 1")] == stocked.faults()
    assert log.read_bytes() == line + b"\n" + newer + b"\n" * 8
    assert name == stocked.log.name
    assert stocked.sources["untold"].data == stocked.read("untold")


def test_only_the_wrong_block_is_dropped(stocked: Stocked) -> None:
    flip(stocked.path("half", ".part"), BLOCK + 5, 0)
    assert [("half", "block 1: it differs from its checksum")] == stocked.faults()
    source = stocked.sources["half"]
    before = source.delivered
    assert source.data == stocked.read("half")
    assert SIZE - BLOCK == source.delivered - before


def test_bytes_that_somebody_has_open_are_left_to_him(stocked: Stocked) -> None:
    path, source = stocked.path("whole"), stocked.sources["whole"]
    with stocked.cache.open("whole", SIZE, source.told, source) as file:
        flip(path, 0, 0)
        wrong = file.read(0, 10)
        assert ["whole"] == [name for name, _ in stocked.faults()]
        assert not path.exists()
        assert wrong == file.read(0, 10)
    assert source.data == stocked.read("whole")


def test_files_that_come_and_go_are_no_findings(
    make_cache: Callable[..., BlockCache], stocked: Stocked
) -> None:
    stop = threading.Event()
    other = make_cache(workers=4)

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            data = content(SIZE if number % 3 else SMALL, seed=number % 7)
            source = FakeSource(data, digests(data, "sha256"))
            name = hashlib.sha256(data).hexdigest()
            with other.open(name, len(data), source.told, source) as file:
                assert data == file.fetch(0, len(data)).result(WAIT)
            if number % 5 == 0:
                other.evict(1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(30):
            assert () == stocked.cache.verify().faults
    finally:
        stop.set()
        thread.join()


def test_the_inventory_tells_how_much_is_here(stocked: Stocked) -> None:
    found = {kept.key: kept for kept in stocked.cache.contents()}
    source = stocked.sources["half"]
    half = found[stocked.cache.key_of("half", SIZE, source.told)]
    assert (SIZE, 2 * BLOCK, False, False) == (
        half.size,
        half.here,
        half.is_complete,
        half.is_pinned,
    )
    stocked.cache.pin("whole", SIZE, stocked.sources["whole"].told)
    pinned = [kept for kept in stocked.cache.contents() if kept.is_pinned]
    assert [stocked.path("whole").name] == [kept.key for kept in pinned]
    assert (SIZE, SIZE, True) == (pinned[0].size, pinned[0].here, pinned[0].is_complete)


def test_what_is_open_is_not_dropped(stocked: Stocked) -> None:
    source = stocked.sources["whole"]
    (kept,) = [k for k in stocked.cache.contents() if k.key == stocked.path("whole").name]
    with stocked.cache.open("whole", SIZE, source.told, source):
        assert not stocked.cache.drop(kept)
    assert stocked.cache.drop(kept)
    assert source.data == stocked.read("whole")
