"""Files of versions into the cache, and out of it into a directory.

What was fetched stays in the cache, so a download that was broken off goes on where it was. Many
files at once, on threads of a crew; a target gets its name when all its bytes are in it and right.
No lock of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path

from modelfs.api.places import Wanted
from modelfs.api.progress import Tally, Tell
from modelfs.api.targets import Target, copy
from modelfs.cache.blocks import BlockCache
from modelfs.cache.crew import Crew
from modelfs.cache.keys import Check, digests_of
from modelfs.cache.opened import CachedFile
from modelfs.errors import Exists, Interrupted, NoSpace, Unavailable
from modelfs.fs.batches import Batch
from modelfs.fs.nodes import identity
from modelfs.model import Digests
from modelfs.registry.base import Registry
from modelfs.waiting import wait

# Files at once; the cache has more threads than that for their bytes.
LANES = 8
# How often a caller is told how far it is.
_LOOK_UP = 0.1
# Fetched in one go: a slow line gets that much across before the deadline.
_STEP = 1 << 20
# For files that are on their way when a call ends early.
_STOP = 5.0
# Before a file that came to a halt goes on.
_PAUSE = 0.5


def open_file(registry: Registry, cache: BlockCache, wanted: Wanted) -> CachedFile:
    ref, file = wanted.ref, wanted.file
    return cache.open(
        identity(registry.traits.identity, ref, file.path),
        file.size,
        file.digests,
        lambda start, stop: registry.open(ref, file, start, stop),
    )


class Transfers:
    """Moves many files for one call of a client."""

    def __init__(self, registry: Registry, cache: BlockCache, crew: Crew) -> None:
        self._registry = registry
        self._cache = cache
        self._crew = crew

    def warm(self, wanted: Iterable[Wanted], progress: Tell | None) -> None:
        """Have all bytes of the files in the cache; NoSpace if one cannot be kept there."""

        def work(each: Wanted, pull: _Pull) -> None:
            with open_file(self._registry, self._cache, each) as cached:
                if not pull.run(cached):
                    raise NoSpace(f"the cache has no room for {each}: {each.file.size} bytes")

        self._run(list(wanted), work, progress)

    def download(
        self,
        wanted: Iterable[Wanted],
        directory: Path,
        progress: Tell | None,
        *,
        is_forced: bool,
        is_replacing: bool,
        is_linked: bool,
    ) -> None:
        """Have the files in `directory`, under their paths."""

        def work(each: Wanted, pull: _Pull) -> None:
            with (
                Target(directory, each.file.path) as target,
                open_file(self._registry, self._cache, each) as cached,
            ):
                if target.size is not None and not is_forced:
                    if target.size == each.file.size and _is_same(target, cached, each):
                        return
                    if not is_replacing:
                        raise Exists(f"there already, and not the same: {each.file.path}")
                is_here = pull.run(cached)
                if is_here and is_linked and (fd := cached.readable_fd(0, cached.size)) is not None:
                    target.link(fd)
                    return
                with target.new() as fd:
                    copy(cached, fd, pull.check_over)
                    if not cached.is_verified:
                        target.check(fd, Check.strongest(_digests(cached, each.file.digests)))
                    target.put(fd, each.file.mtime)

        self._run(list(wanted), work, progress)

    def _run(
        self,
        wanted: list[Wanted],
        work: Callable[[Wanted, _Pull], None],
        progress: Tell | None,
    ) -> None:
        """`work` for each file, the first error ends it."""
        tally = Tally("downloading", len(wanted), sum(each.file.size for each in wanted))
        over: Future[None] = Future()
        running = _Running()

        def attempt(each: Wanted, _: memoryview) -> float | None:
            pull = _Pull(str(each), tally, over.done)
            try:
                with running:
                    work(each, pull)
            except Unavailable as exc:
                # The registry's client has tried for long; only what moves is worth another try.
                if over.done() or not pull.has_moved:
                    raise
                tally.failed(str(exc))
                return _PAUSE
            tally.finished(str(each), each.file.size)
            return None

        batch = Batch(self._crew, LANES, wanted, attempt)
        batch.start()
        try:
            while not batch.wait(_LOOK_UP):
                if progress is not None:
                    progress(tally.told())
        finally:
            batch.end()
            over.set_result(None)
            running.wait(_STOP)
        if progress is not None:
            progress(tally.told())


class _Running:
    """Counts what is being done, so that a call which fails leaves nothing behind."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> None:
        with self._changed:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._count, seconds)


class _Pull:
    """Brings the bytes of one file into the cache."""

    def __init__(self, name: str, tally: Tally, is_over: Callable[[], bool]) -> None:
        self._name = name
        self._tally = tally
        self._is_over = is_over
        self.has_moved = False

    def run(self, cached: CachedFile) -> bool:
        """Fetch what is missing; False if the cache cannot keep it."""
        for at in range(0, cached.size, _STEP):
            self.check_over()
            size = min(_STEP, cached.size - at)
            if cached.readable_fd(at, size) is None:
                wait(cached.fetch(at, size))
                self.has_moved = True
                if cached.readable_fd(at, size) is None:
                    return False
            self._tally.moved(self._name, at + size)
        return cached.is_verified or cached.is_complete

    def check_over(self) -> None:
        if self._is_over():
            raise Interrupted("the transfer was ended")


def _is_same(target: Target, cached: CachedFile, wanted: Wanted) -> bool:
    """True if the file that is there, of the right size, has the right bytes."""
    if not cached.size:
        return True
    told = _digests(cached, wanted.file.digests)
    return bool(told) and target.has(Check.strongest(told))


def _digests(cached: CachedFile, listed: Digests) -> Digests:
    """What the bytes must be; a registry that lists no digests tells them with the first bytes."""
    if listed:
        return listed
    if not cached.key and cached.size:
        wait(cached.fetch(0, 1))
    return digests_of(cached.key) if cached.key else Digests()
