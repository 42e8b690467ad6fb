"""Open files that are written to: a draft's, and the metadata documents of what is published.

A close is where a trigger is recognised and an error can still be told: `close(2)` reports what
`flush` raises, and nobody hears what `release` has to say. A shell's `echo x > NOTES` comes as
flush (empty), write, flush, release; so what counts is a flush of something that was written since
the flush before. No lock: the kernel's calls for one descriptor come one after the other, and two
that race tell the same thing twice.

Where the kernel takes the writes to the disk by itself, we are asked about none of them. That a
file was written to is then seen by its attributes, when a descriptor of it is closed; as long as it
can be written to, `Unseen` knows of it.
"""

from __future__ import annotations

import os
import stat
from typing import Protocol

from modelfs.fs.journal import Stamp
from modelfs.fs.unseen import Unseen


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
    """An open local file; `watcher` is told of changes, if it is open for writing.

    `is_offered`: to the kernel, to read and write it by itself. `unseen` is told of what it may
    write.
    """

    def __init__(
        self,
        fd: int,
        watcher: Watcher | None,
        unseen: Unseen | None = None,
        *,
        is_offered: bool = False,
    ) -> None:
        self._fd = fd
        self._watcher = watcher
        self._unseen = unseen
        self._is_offered = is_offered
        self._is_dirty = False
        # What `unseen` knows it by, and what it was when it was closed last.
        self._shadow: int | None = None
        self._stamp: Stamp | None = None

    @property
    def offer(self) -> int | None:
        """A descriptor of it for the kernel; no matter how, it opens the file anew."""
        if not self._is_offered:
            return None
        return self._fd if self._shadow is None else self._shadow

    def expose(self) -> None:
        """The kernel may be writing to it from now on."""
        if self._unseen is not None and self._shadow is None:
            self._stamp = Stamp.of(os.fstat(self._fd))
            self._shadow = self._unseen.add(self._fd)

    def drop_rights(self) -> None:
        """Who is not root has it open: with a write of his, the rights to be another user go.

        They go at once: nobody may be there to see the write.
        """
        mode = os.fstat(self._fd).st_mode
        rights = stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0)
        if self._watcher is not None and mode & rights:
            os.fchmod(self._fd, stat.S_IMODE(mode) & ~rights)

    def answered(self, is_taken: bool) -> None:
        """The kernel reads and writes it by itself, or asks us each time."""
        if is_taken:
            self.expose()  # also what was not offered: what it is a name of may have been
        else:
            self._stamp = None
            self._hide()

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
        if self._stamp is not None and self._stamp != (now := Stamp.of(os.fstat(self._fd))):
            self._stamp = now
            self._changed()
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
        self._hide()
        if self._watcher is not None:
            self._watcher.closed()

    def _hide(self) -> None:
        if self._unseen is not None and self._shadow is not None:
            shadow, self._shadow = self._shadow, None
            self._unseen.remove(shadow)

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
