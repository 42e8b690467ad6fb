"""Open files: what `open` decided once, so that `read` parses no path and walks no tree.

Owns the table of open handles, and the knowledge whose bytes are not proven yet.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from modelfs.cache.blocks import BlockCache
from modelfs.cache.content import Reader
from modelfs.cache.opened import CachedFile
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

    def close(self) -> None:
        self._cached.close()


@dataclass(slots=True)
class _Openings:
    """How often an inode is open, and what has been read of it by all who have it open."""

    reader: Reader
    count: int = 0


class Handles:
    """The open files of one mount, by number; and of which inodes the kernel may keep the bytes.

    Bytes that are read before a file is verified may turn out wrong, and the kernel has them then,
    for whoever reads next. So all who have an inode open at one time are one reader: if one of
    them was given wrong bytes, all are told. And an inode that was closed before it was proven
    loses what the kernel has of it with the next open; not while others have it open, as the
    kernel would wait for their reads then. One lock, for the two tables of inodes.
    """

    def __init__(self, cache: BlockCache, wait: Wait, clock: Clock = time.monotonic) -> None:
        self._cache = cache
        self._wait = wait
        self._clock = clock
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Handle, _Openings | None]] = {}
        self._lock = threading.Lock()
        self._openings: dict[int, _Openings] = {}
        self._unproven: set[int] = set()

    def __len__(self) -> int:
        return len(self._open)

    def open(self, node: Node) -> tuple[int, bool]:
        """The number of a new handle, and whether what the kernel has of the file may stay."""
        if node.origin is None:
            return self.add(TextHandle(node)), node.is_fixed
        with self._lock:
            openings = self._openings.get(node.ino)
            may_stay = node.ino not in self._unproven
            self._unproven.discard(node.ino)
            if openings is None or openings.reader.is_misled:
                may_stay = may_stay and openings is None
                openings = self._openings[node.ino] = _Openings(Reader())
            openings.count += 1
        cached = self._cached(node.origin, openings.reader)
        handle = PublishedHandle(node, cached, self._wait, self._clock)
        return self.add(handle, openings), may_stay and node.is_fixed

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
        is_proven = handle.is_proven
        handle.close()
        if openings is None or not isinstance(status := handle.stat(), Node):
            return
        with self._lock:
            openings.count -= 1
            if openings.count == 0:
                if self._openings.get(status.ino) is openings:
                    del self._openings[status.ino]
                if not is_proven:
                    self._unproven.add(status.ino)

    def _cached(self, origin: Origin, reader: Reader) -> CachedFile:
        registry, ref, file = origin.registry, origin.ref, origin.file
        return self._cache.open(
            origin.identity,
            file.size,
            file.digests,
            lambda start, stop: registry.open(ref, file, start, stop),
            reader,
        )


def cached_bytes(cache: BlockCache, origin: Origin) -> int:
    """How many bytes of a published file are in `cache`."""
    return cache.status(origin.identity, origin.file.size, origin.file.digests).here
