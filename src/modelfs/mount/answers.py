"""Sends what the overlay answers; bytes of files through a pipe, or copied where that is faster.

Owns one pipe for each thread that needs one; no lock.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading

from modelfs.fs.handles import FileSlice
from modelfs.mount import wire
from modelfs.mount.overlay import SILENCE, Answer, Overlay

log = logging.getLogger(__name__)

# From here on the copy that a pipe saves is dearer than its calls, and the page at its end.
_WORTH = 64 << 10
# What the kernel reads ahead as we ask it to, and the header; larger reads are copied. Pipes of all
# threads count against what the system allows a user.
_PIPE = 512 << 10
_LARGEST = _PIPE - 2 * 4096


class Answers(threading.local):
    """What is sent by the thread that asks."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None
        self._is_possible = True

    def is_sent(
        self, fd: int, overlay: Overlay | None, request: wire.Request, view: memoryview
    ) -> bool:
        """Answer a request on the kernel's connection `fd`; False if libfuse has to."""
        if overlay is None:
            return False
        failure = 0
        found: Answer = b""
        try:
            found = overlay.answer(request.opcode, request.node, view)
            if isinstance(found, FileSlice):
                # The request has been read, so its memory is free.
                self._send(fd, request.unique, found, view)
                return True
        except OSError as exc:
            failure, found = exc.errno or errno.EIO, b""
        except Exception:
            log.exception("an answer failed in a way it should not")
            failure, found = errno.EIO, b""
        if found is None:
            return False
        if found is not SILENCE:
            size = wire.OUT_HEADER.size + len(found)
            header = wire.OUT_HEADER.pack(size, -failure, request.unique)
            try:
                os.writev(fd, (header, found))
            except OSError as exc:
                log.debug("nobody waits for an answer any more: %s", exc)
        return True

    def _send(self, fd: int, unique: int, found: FileSlice, buffer: memoryview) -> None:
        """Answer a READ; raises OSError if the file was cut, or if nobody waits any more."""
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
            try:
                self._pipe = os.pipe()
                fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, _PIPE)
            except OSError:
                self.close()
                self._is_possible = False  # there are as many as this user may have, or we
        return self._pipe

    def close(self) -> None:
        """The thread ends, or its pipe is of no use any more."""
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None
