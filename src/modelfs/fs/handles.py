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
from modelfs.cache.opened import CachedFile
from modelfs.errors import Error, Interrupted, WrongState
from modelfs.fs.nodes import Node, Origin
from modelfs.waiting import Clock, Wait

# The kernel does not tell a reader that its read-ahead failed, but reads the first page again at
# once: if that waited as well, the reader would wait twice.
_SAID_AGAIN = 1.0

# No handle has this number.
_CLOSED = 0


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


class Handles:
    """The open files of one mount, by number; and of which inodes the kernel may keep the bytes.

    Bytes that were read before a file was verified may turn out wrong. The kernel has them then,
    and would give them to the next reader: an inode of which somebody has read such bytes, and has
    not seen them proven, loses what the kernel has of it with every open. One lock.
    """

    def __init__(self, cache: BlockCache, wait: Wait, clock: Clock = time.monotonic) -> None:
        self._cache = cache
        self._wait = wait
        self._clock = clock
        self._numbers = itertools.count(1)
        self._open: dict[int, tuple[Handle, int]] = {}
        self._lock = threading.Lock()
        # Inode -> handles that may have given unproven bytes; _CLOSED stands for those of the past.
        self._doubts: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, node: Node) -> tuple[int, bool]:
        """The number of a new handle, and whether what the kernel has of the file may stay."""
        handle: Handle
        if node.origin is not None:
            cached = self._cached(node.origin)
            handle = PublishedHandle(node, cached, self._wait, self._clock)
        else:
            handle = TextHandle(node)
        number = self.add(handle, node.ino)
        with self._lock:
            doubts = self._doubts.setdefault(node.ino, set())
            may_stay = node.is_fixed and not doubts
            doubts.discard(_CLOSED)
            if not handle.is_proven:
                doubts.add(number)
            self._settle(node.ino)
        return number, may_stay

    def add(self, handle: Handle, ino: int = 0) -> int:
        """The number of an open file, whose inode number matters if it is a published one."""
        number = next(self._numbers)
        self._open[number] = handle, ino
        return number

    def __getitem__(self, number: int) -> Handle:
        try:
            return self._open[number][0]
        except KeyError:
            raise WrongState(f"not an open file: {number}") from None

    def close(self, number: int) -> None:
        handle, ino = self._open.pop(number)
        is_proven = handle.is_proven
        handle.close()
        with self._lock:
            doubts = self._doubts.get(ino, set())
            if number in doubts:
                doubts.remove(number)
                if not is_proven:
                    doubts.add(_CLOSED)
                self._settle(ino)

    def _settle(self, ino: int) -> None:
        if not self._doubts[ino]:
            del self._doubts[ino]

    def _cached(self, origin: Origin) -> CachedFile:
        registry, ref, file = origin.registry, origin.ref, origin.file
        return self._cache.open(
            origin.identity,
            file.size,
            file.digests,
            lambda start, stop: registry.open(ref, file, start, stop),
        )


def cached_bytes(cache: BlockCache, origin: Origin) -> int:
    """How many bytes of a published file are in `cache`."""
    return cache.status(origin.identity, origin.file.size, origin.file.digests).here
