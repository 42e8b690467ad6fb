"""A published file as Python's file object: read through the cache, what is missing on demand.

Positions belong to the object, bytes to the cache. `BufferedReader` around it has the lock that
makes it safe for many threads.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

from modelfs.cache.opened import CachedFile
from modelfs.errors import DeadlinePassed
from modelfs.waiting import wait

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# What is waited for in one go: a slow line gets that much across before the deadline.
STEP = 1 << 20
# Larger than Python's own, as each read of ours is a system call and some look-ups.
BUFFER = 1 << 17


class CachedReader(io.RawIOBase):
    """The bytes of `cached`, which is closed with it."""

    def __init__(self, cached: CachedFile, name: str) -> None:
        self.name = name
        self.mode = "rb"
        self._cached = cached
        self._position = 0

    @property
    def size(self) -> int:
        return self._cached.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        if whence not in bases:
            raise ValueError(f"not a way to seek: {whence}")
        position = bases[whence] + offset
        if position < 0:
            raise ValueError(f"a position before the file: {position}")
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._check_open()
        view = memoryview(buffer).cast("B")
        count = self._read(self._position, view)
        self._position += count
        return count

    def readall(self) -> bytes:
        self._check_open()
        content = bytearray(max(0, self.size - self._position))
        view, filled = memoryview(content), 0
        while count := self._read(self._position, view[filled:]):
            self._position += count
            filled += count
        return bytes(content)

    def _read(self, offset: int, view: memoryview) -> int:
        """Bytes from `offset` into `view`, at most a step of them; 0 at the end."""
        size = min(len(view), STEP, self.size - offset)
        if size <= 0:
            return 0
        fd = self._cached.readable_fd(offset, size)
        if fd is not None and (count := os.preadv(fd, [view[:size]], offset)):
            return count
        data = self._cached.read(offset, size)
        if data is None:
            try:
                data = wait(self._cached.fetch(offset, size))
            except DeadlinePassed as exc:
                raise DeadlinePassed(f"{self.name}: {exc}") from exc
        view[: len(data)] = data
        return len(data)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def close(self) -> None:
        if not self.closed:
            self._cached.close()
        super().close()
