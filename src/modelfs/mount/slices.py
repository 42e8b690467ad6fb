"""Bytes of a file as the answer to a READ: through a pipe, or copied where that is faster.

Owns one pipe for each thread that needs one; no lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading

from modelfs.fs.handles import FileSlice
from modelfs.mount import wire

# From here on the copy that a pipe saves is dearer than its calls, and the page at its end.
_WORTH = 64 << 10
# What the kernel reads ahead as we ask it to, and the header; larger reads are copied. Pipes of all
# threads count against what the system allows a user.
_PIPE = 512 << 10
_LARGEST = _PIPE - 2 * 4096


class Slices(threading.local):
    """Sends slices to the kernel's connection, for the thread that asks."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None
        self._is_possible = True

    def send(self, fd: int, unique: int, found: FileSlice, buffer: memoryview) -> None:
        """Answer a READ; `buffer` has room for all of it.

        Raises OSError EIO if the file is shorter than it should be, and any other if the answer
        could not be sent.
        """
        header = wire.OUT_HEADER.pack(wire.OUT_HEADER.size + found.size, 0, unique)
        if _WORTH <= found.size <= _LARGEST and (pipe := self._opened()):
            self._splice(pipe, fd, header, found)
            return
        data = buffer[: found.size]
        if os.preadv(found.fd, [data], found.offset) != found.size:
            raise OSError(errno.EIO, "the file was cut")
        os.writev(fd, (header, data))

    def _splice(self, pipe: tuple[int, int], fd: int, header: bytes, found: FileSlice) -> None:
        source, sink = pipe
        try:
            os.write(sink, header)
            done = 0
            while done < found.size:
                place, left = found.offset + done, found.size - done
                count = os.splice(found.fd, sink, left, offset_src=place)
                if not count:
                    raise OSError(errno.EIO, "the file was cut")
                done += count
            os.splice(source, fd, len(header) + found.size)
        except OSError:
            self.close()  # what is left in it belongs to nobody
            raise

    def _opened(self) -> tuple[int, int] | None:
        if self._pipe is None and self._is_possible:
            source, sink = os.pipe()
            try:
                fcntl.fcntl(sink, fcntl.F_SETPIPE_SZ, _PIPE)
            except OSError:
                os.close(source)
                os.close(sink)
                self._is_possible = False  # this user has all the pipes that he may have
            else:
                self._pipe = source, sink
        return self._pipe

    def close(self) -> None:
        """The thread ends, or its pipe is of no use any more."""
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None
