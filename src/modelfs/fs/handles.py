"""Open files: what `open` decided once, so that `read` parses no path and walks no tree.

Owns the table of open handles, and the knowledge whose bytes are not proven yet. What the kernel
has of a file is dropped through a callable.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from modelfs.cache.backing import Backing
from modelfs.cache.blocks import BlockCache
from modelfs.cache.opened import CachedFile
from modelfs.cache.waiters import Reader
from modelfs.errors import Error, Interrupted, WrongState
from modelfs.fs.nodes import Node, Origin
from modelfs.waiting import Clock, Wait

# The kernel does not tell a reader that its read-ahead failed, but reads the first page again at
# once: if that waited as well, the reader would wait twice.
_SAID_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes [offset, offset + size) of an open descriptor, for whoever can take them from there."""

    fd: int
    offset: int
    size: int


class Handle(Protocol):
    """One open file."""

    def stat(self) -> Node | os.stat_result:
        """What it is now: as it was when it was opened, or what the disk says."""
        ...

    def whole_fd(self) -> int | None:
        """A descriptor that has all bytes of the file, verified and for ever, if there is one."""
        ...

    def read(self, size: int, offset: int) -> bytes | FileSlice:
        """The bytes from `offset` on, at most `size` and fewer only at the end of the file."""
        ...

    @property
    def is_proven(self) -> bool:
        """True if all bytes that were read of it are known to be right."""
        ...

    @property
    def is_proven_soon(self) -> bool:
        """True if that is being found out; `Handles.proved` is told."""
        ...

    def close(self) -> None: ...


class TextHandle:
    """A small file, as it was when it was opened."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._content = node.content or b""

    def stat(self) -> Node:
        return self._node

    def whole_fd(self) -> None:
        """Its bytes are in no file."""

    def read(self, size: int, offset: int) -> bytes | FileSlice:
        return self._content[offset : offset + size]

    @property
    def is_proven(self) -> bool:
        return True

    @property
    def is_proven_soon(self) -> bool:
        return False

    def close(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a read of [start, stop) ended in, and until when it is not tried again."""

    start: int
    stop: int
    error: Error
    until: float


class PublishedHandle:
    """A published file, read through the cache."""

    def __init__(self, node: Node, cached: CachedFile, wait: Wait, clock: Clock) -> None:
        self._node = node
        self._cached = cached
        self._wait = wait
        self._clock = clock
        self._failure: _Failure | None = None

    def stat(self) -> Node:
        return self._node

    def whole_fd(self) -> int | None:
        cached = self._cached
        return cached.readable_fd(0, cached.size) if cached.is_verified else None

    def read(self, size: int, offset: int) -> bytes | FileSlice:
        size = min(size, self._cached.size - offset)
        if size <= 0:
            return b""
        fd = self._cached.readable_fd(offset, size)
        if fd is not None:
            return FileSlice(fd, offset, size)
        failed = self._failure
        if failed and failed.start <= offset < failed.stop and self._clock() < failed.until:
            raise failed.error
        try:
            return self._wait(self._cached.fetch(offset, size))
        except Interrupted:
            raise
        except Error as exc:
            self._failure = _Failure(offset, offset + size, exc, self._clock() + _SAID_AGAIN)
            raise

    @property
    def is_proven(self) -> bool:
        return self._cached.is_verified and not self._cached.is_misled

    @property
    def is_proven_soon(self) -> bool:
        return self._cached.is_proven_soon

    def close(self) -> None:
        self._failure = None  # its frames hold us
        self._cached.close()


@dataclass(slots=True, eq=False)
class _Openings:
    """How often an inode is open, and what has been read of it by all who have it open."""

    inode: int
    reader: Reader
    count: int = 0
    # Set once the kernel is to drop what it has of the inode; done when it has.
    dropped: Future[None] | None = None


# Have the kernel drop all it has of an inode, on another thread, which then calls back.
Drop = Callable[[int, Callable[[], None]], None]


class Handles:
    """The open files of one mount, by number; and of which inodes the kernel may keep the bytes.

    Bytes that are read before a file is verified may turn out wrong, and the kernel has them then,
    for whoever reads next. So all who have an inode open at one time are one reader: if one of
    them was given wrong bytes, all are told, and the kernel drops the inode's bytes at once. It
    also does with the last close of an inode that was not proven until then, unless all bytes are
    being compared at that moment: then with the end of that, if it is a bad one. Who opens an inode
    meanwhile waits until that is done. It never has to wait for a read that takes long: in the
    one case nobody reads, in the other all reads fail at once.

    Who was given wrong bytes must not come to the end with right ones, of which the kernel asks
    nobody. So none are kept by it as long as he has the inode open.

    Inodes are the kernel's, as it keeps bytes by them. One lock, for the two tables of them.
    """

    def __init__(
        self, cache: BlockCache, wait: Wait, drop: Drop, clock: Clock = time.monotonic
    ) -> None:
        self._cache = cache
        self._wait = wait
        self._drop = drop
        self._clock = clock
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Handle, _Openings | None]] = {}
        self._lock = threading.Lock()
        self._openings: dict[int, _Openings] = {}
        # How often inodes are open by those who were given wrong bytes.
        self._misled: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, node: Node, inode: int, *, is_stale: bool = False) -> tuple[int, bool]:
        """The number of a new handle, and whether the kernel may keep bytes that it reads.

        What it has of a published file may stay. `is_stale`: it may be bytes of something else,
        which was there before.
        """
        if node.origin is None:
            return self.add(TextHandle(node)), node.is_fixed
        openings = self._join(inode, is_stale)
        cached = self._cached(node.origin, openings.reader)
        handle = PublishedHandle(node, cached, self._wait, self._clock)
        return self.add(handle, openings), node.is_fixed and not self._misled[inode]

    def add(self, handle: Handle, openings: _Openings | None = None) -> int:
        """The number of an open file."""
        number = next(self._numbers)
        self._open[number] = handle, openings
        return number

    def __getitem__(self, number: int) -> Handle:
        try:
            return self._open[number][0]
        except KeyError:
            raise WrongState(f"not an open file: {number}") from None

    def close(self, number: int) -> None:
        handle, openings = self._open.pop(number)
        is_dropped = openings is not None and self._leave(openings, handle)
        handle.close()
        if openings is not None and is_dropped:
            self._begin_drop(openings)

    def _leave(self, openings: _Openings, handle: Handle) -> bool:
        """Count one opening less; True if the kernel has to drop what it has of the inode."""
        with self._lock:
            openings.count -= 1
            if self._openings.get(openings.inode) is not openings:
                self._misled -= Counter((openings.inode,))
                return False
            if openings.count or openings.dropped or handle.is_proven_soon:
                return False
            if handle.is_proven:
                del self._openings[openings.inode]
                return False
            openings.dropped = Future()
            return True

    def proved(self, backing: Backing) -> None:
        """The bytes of `backing`, of which all were here, have been compared, or cannot be."""
        with self._lock:
            closed = [
                openings
                for openings in self._openings.values()
                if openings.reader.served is backing
                and not openings.count
                and openings.dropped is None
            ]
            for openings in closed:
                if backing.is_whole:
                    del self._openings[openings.inode]
                else:
                    openings.dropped = Future()
        for openings in closed:
            if openings.dropped is not None:
                self._begin_drop(openings)

    def rejected(self, backing: Backing) -> None:
        """The bytes of `backing` are wrong: nobody reads them any more out of the kernel."""
        with self._lock:
            found = [
                openings
                for openings in self._openings.values()
                if openings.reader.served is backing and openings.dropped is None
            ]
            for openings in found:
                openings.dropped = Future()
        for openings in found:
            self._begin_drop(openings)

    def _join(self, inode: int, is_stale: bool) -> _Openings:
        """Count one opening of `inode` more, with those there are."""
        while True:
            with self._lock:
                openings = self._openings.get(inode)
                is_first = openings is None
                if openings is None:
                    openings = self._openings[inode] = _Openings(inode, Reader())
                    openings.dropped = Future() if is_stale else None
                dropped = openings.dropped
                if dropped is None:
                    openings.count += 1
                    return openings
            if is_first:
                self._begin_drop(openings)
            self._wait(dropped)
            is_stale = False

    def _begin_drop(self, openings: _Openings) -> None:
        def done() -> None:
            with self._lock:
                del self._openings[openings.inode]
                self._misled += Counter({openings.inode: openings.count})
            assert openings.dropped is not None  # noqa: S101 - who begins it has set it
            openings.dropped.set_result(None)

        self._drop(openings.inode, done)

    def _cached(self, origin: Origin, reader: Reader) -> CachedFile:
        registry, ref, file = origin.registry, origin.ref, origin.file
        return self._cache.open(
            origin.identity,
            file.size,
            file.digests,
            lambda start, stop: registry.open(ref, file, start, stop),
            reader,
            registry.traits.identity,
        )


def cached_bytes(cache: BlockCache, origin: Origin) -> int:
    """How many bytes of a published file are in `cache`."""
    return cache.status(origin.identity, origin.file.size, origin.file.digests).here
