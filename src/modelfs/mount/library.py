"""What the session loop drives of libfuse 2.9, the library: its session and its channels.

Through the public low-level calls that one's own loop needs (`fuse_lowlevel.h`). Owns the memory
that libfuse keeps addresses of. No lock: a session takes requests from several threads.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

from modelfs.mount import wire


class _Buffer(ctypes.Structure):
    """`struct fuse_buf`."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("mem", ctypes.c_void_p),
        ("fd", ctypes.c_int),
        ("pos", ctypes.c_int64),
    ]


class _Slice(ctypes.Structure):
    """`struct iovec`."""

    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


_SEND = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Slice), ctypes.c_size_t, use_errno=True
)


class _ChannelOps(ctypes.Structure):
    """`struct fuse_chan_ops`; we only ever send."""

    _fields_ = [("receive", ctypes.c_void_p), ("send", _SEND), ("destroy", ctypes.c_void_p)]


# Given what `pieces` makes an answer of, sends that; 0, or the errno as a negative number.
Send = Callable[[Any, int], int]


class Session:
    """libfuse's side of one mount: it is handed requests, and answers them on a channel.

    `channel` is its own one to the kernel. What it says by `patched` goes through `send` instead.
    """

    def __init__(self, library: ctypes.CDLL, session: Any, channel: Any, send: Send) -> None:
        self._library = library
        self._session = session
        self.plain = channel
        self.fd: int = library.fuse_chan_fd(channel)
        # Kept: libfuse holds only its address.
        self._ops = _ops(send)
        self.patched = self._channel(self._ops, self.fd)

    def answer(self, memory: Any, length: int, channel: Any) -> None:
        """Have libfuse answer the request in `memory` on that channel."""
        buffer = _Buffer(length, 0, ctypes.addressof(memory), -1, 0)
        self._library.fuse_session_process_buf(self._session, ctypes.byref(buffer), channel)

    def show(self, memory: Any, length: int) -> None:
        """Have libfuse see a request, whose answer nobody hears."""
        sink = os.open(os.devnull, os.O_WRONLY)
        try:
            ops = _ops(lambda slices, count: 0)
            channel = self._channel(ops, sink)
            self.answer(memory, length, channel)
            self._library.fuse_chan_destroy(channel)
        finally:
            os.close(sink)

    def _channel(self, ops: _ChannelOps, fd: int) -> Any:
        return self._library.fuse_chan_new(ctypes.byref(ops), fd, wire.BUFFER_SIZE, None)


def pieces(slices: Any, count: int) -> list[memoryview]:
    """The memory that an answer of libfuse is in."""
    return [
        memoryview((ctypes.c_char * item.size).from_address(item.base)).cast("B")
        for item in slices[:count]
    ]


def _ops(send: Send) -> _ChannelOps:
    return _ChannelOps(None, _SEND(lambda _, slices, count: send(slices, count)), None)
