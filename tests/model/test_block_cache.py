"""The block cache against a plain byte string: whatever happens, right bytes or an error.

Random reads, several readers at once, evictions, restarts, sources that fail, lie or stop short,
changed files on disk. A reader never gets a byte that differs, never waits for ever, and once the
source is sound again, reads what it wants.
"""

from __future__ import annotations

import contextlib
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache, CachedFile
from modelfs.cache.blockmap import BLOCK
from modelfs.errors import Error, Unavailable
from modelfs.model import Digests

WAIT = 20.0
SIZES = (1, BLOCK, BLOCK + 1, 5 * BLOCK + 1234)


class BlockCacheMachine(RuleBasedStateMachine):
    """Two caches on one directory (as two processes would be), a few files, readers of them."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.caches: list[BlockCache] = []
        self.readers: list[tuple[CachedFile, int]] = []
        self.data: list[bytes] = []
        self.sources: list[FakeSource] = []
        self.known: list[Digests] = []

    @initialize(
        sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=3),
        told=st.sampled_from(["md5", "sha256", "crc32c"]),
        is_late=st.booleans(),
        budget=st.sampled_from([0, 3 * BLOCK, 1 << 40]),
    )
    def begin(self, sizes: list[int], told: str, is_late: bool, budget: int) -> None:
        self.budget = budget
        for seed, size in enumerate(sizes):
            data = content(size, seed)
            self.data.append(data)
            self.sources.append(FakeSource(data, digests(data, told)))
            self.known.append(Digests() if is_late else digests(data, told))
        self.caches = [self._start(), self._start()]

    def _start(self) -> BlockCache:
        path = Path(self.directory.name) / "cache"
        cache = BlockCache(path, budget=self.budget, floor=0, workers=3)
        cache.start()
        return cache

    def _read(self, file: CachedFile, number: int, offset: int, size: int) -> bool:
        """True if the read gave bytes, which are right then."""
        try:
            data = file.read(offset, size)
            if data is None:
                data = file.fetch(offset, size).result(WAIT)
        except Error:
            return False
        assert self.data[number][offset : offset + size] == data
        return True

    @rule(number=st.integers(0, 2), which=st.integers(0, 1))
    def open_file(self, number: int, which: int) -> None:
        number %= len(self.data)
        file = self.caches[which].open(
            f"f{number}", len(self.data[number]), self.known[number], self.sources[number]
        )
        self.readers.append((file, number))

    @precondition(lambda self: self.readers)
    @rule(which=st.integers(0, 100))
    def close_file(self, which: int) -> None:
        file, _ = self.readers.pop(which % len(self.readers))
        file.close()

    @precondition(lambda self: self.readers)
    @rule(
        which=st.integers(0, 100),
        offset=st.integers(0, 6 * BLOCK),
        size=st.one_of(st.integers(1, 300), st.integers(1, 3 * BLOCK)),
    )
    def read(self, which: int, offset: int, size: int) -> None:
        file, number = self.readers[which % len(self.readers)]
        self._read(file, number, offset, size)

    @precondition(lambda self: self.readers)
    @rule(seed=st.integers(0, 100))
    def read_all_at_once(self, seed: int) -> None:
        with ThreadPoolExecutor(6) as pool:
            running: list[Future[bool]] = []
            for turn in range(12):
                file, number = self.readers[(seed + turn) % len(self.readers)]
                offset = (seed * 7919 + turn * 104729) % (6 * BLOCK)
                running.append(pool.submit(self._read, file, number, offset, 128 << 10))
            for future in running:
                future.result(WAIT)

    @rule(number=st.integers(0, 2), fault=st.sampled_from(["refuse", "cut", "end", "long"]))
    def break_source(self, number: int, fault: str) -> None:
        source = self.sources[number % len(self.sources)]
        if fault == "refuse":
            source.refusal = Unavailable("refused")
        elif fault == "cut":
            source.breaks_at, source.error = len(source.data) // 2, Unavailable("cut")
        elif fault == "end":
            source.breaks_at, source.error = len(source.data) // 2, None
        elif fault == "long":
            source.surplus = 1

    @rule()
    def mend_sources(self) -> None:
        for source in self.sources:
            source.refusal = source.breaks_at = source.error = None
            source.surplus = 0

    @rule(which=st.integers(0, 1))
    def evict(self, which: int) -> None:
        self.caches[which].evict(1 << 40)

    @rule(which=st.integers(0, 1))
    def settle(self, which: int) -> None:
        assert self.caches[which].settle(WAIT)

    @rule(position=st.integers(0, 1 << 30), bit=st.integers(0, 7), which=st.integers(0, 100))
    def change_a_byte_on_disk(self, position: int, bit: int, which: int) -> None:
        """Of a file that nobody has open: what is open and trusted is not looked at again."""
        self._close_all()
        objects = Path(self.directory.name) / "cache"
        paths = sorted(path for path in objects.rglob("*") if path.is_file())
        if not paths:
            return
        path = paths[which % len(paths)]
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            size = file.seek(0, 2)
            if size:
                position %= size
                file.seek(position)
                byte = file.read(1)[0]
                file.seek(position)
                file.write(bytes([byte ^ 1 << bit]))

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self._close_all()
        self.caches[which].stop()
        self.caches[which] = self._start()

    @invariant()
    def every_file_can_be_read_when_its_source_is_sound(self) -> None:
        for number, source in enumerate(self.sources):
            if source.refusal or source.breaks_at is not None or source.surplus:
                continue
            size = len(self.data[number])
            with self.caches[0].open(f"f{number}", size, self.known[number], source) as file:
                assert self._read(file, number, size // 2, 1000)

    def _close_all(self) -> None:
        for file, _ in self.readers:
            file.close()
        self.readers.clear()
        # Threads may be landing blocks that were read ahead.
        for cache in self.caches:
            cache.stop()
        self.caches = [self._start() for _ in self.caches]

    def teardown(self) -> None:
        for file, _ in self.readers:
            file.close()
        for cache in self.caches:
            cache.stop()
        self.directory.cleanup()


TestBlockCache = BlockCacheMachine.TestCase
TestBlockCache.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
