"""Open files that are written to: a draft's, and the metadata documents of what is published.

A close is where a trigger is recognised and an error can still be told: `close(2)` reports what
`flush` raises, and nobody hears what `release` has to say. A shell's `echo x > NOTES` comes as
flush (empty), write, flush, release; so what counts is a flush of something that was written since
the flush before. No lock: the kernel's calls for one descriptor come one after the other, and two
that race tell the same thing twice.
"""

from __future__ import annotations

import os
from typing import Protocol


class Watcher(Protocol):
    """Is told what happens to a file that is open for writing."""

    def writing(self) -> None:
        """Bytes or the length are about to change. Raises WrongState if that may not be."""
        ...

    def written(self) -> None:
        """They have changed."""
        ...

    def flushed(self, size: int) -> None:
        """Somebody closes it, written to since the last time; its caller is told what is raised."""
        ...

    def closed(self) -> None:
        """The last descriptor is gone."""
        ...


class LocalHandle:
    """An open local file; `watcher` is told of changes, if it is open for writing."""

    def __init__(self, fd: int, watcher: Watcher | None) -> None:
        self._fd = fd
        self._watcher = watcher
        self._is_dirty = False

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def write(self, data: bytes, offset: int) -> int:
        self._changing()
        written = 0
        # The disk may take a part and refuse the rest: the next call says why.
        while written < len(data):
            written += os.pwrite(self._fd, memoryview(data)[written:], offset + written)
        self._changed()
        return written

    def truncate(self, length: int) -> None:
        self._changing()
        os.ftruncate(self._fd, length)
        self._changed()

    def stat(self) -> os.stat_result:
        return os.fstat(self._fd)

    def whole_fd(self) -> None:
        """It changes."""

    def sync(self, is_data_only: bool) -> None:
        (os.fdatasync if is_data_only else os.fsync)(self._fd)

    def flush(self) -> None:
        """A descriptor of it is closed; raises what the watcher has to say about that."""
        if self._watcher is not None and self._is_dirty:
            self._is_dirty = False
            self._watcher.flushed(os.fstat(self._fd).st_size)

    @property
    def is_proven_soon(self) -> bool:
        return False

    @property
    def is_proven(self) -> bool:
        return True

    def close(self) -> None:
        os.close(self._fd)
        if self._watcher is not None:
            self._watcher.closed()

    def _changing(self) -> None:
        if self._watcher is not None:
            self._watcher.writing()

    def _changed(self) -> None:
        self._is_dirty = True
        if self._watcher is not None:
            self._watcher.written()


def is_written(flags: int) -> bool:
    """True if a file opened with `flags` can be written to."""
    return flags & os.O_ACCMODE != os.O_RDONLY
