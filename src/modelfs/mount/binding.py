"""The one place that knows the FUSE binding: fusepy on libfuse 2.9, driven by a loop of ours.

fusepy turns calls of the kernel into calls of an operations object; here it is taught what it
lacks: attributes packed once, answers to reads by file descriptor (the bytes never enter Python),
names that are not UTF-8, flags per open file. `docs/decisions/0001-binding.md` says why it is
fusepy. Another binding would be a second module with the same `serve`.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from modelfs.errors import Error
from modelfs.fs.handles import FileSlice
from modelfs.fs.local import ino as local_ino
from modelfs.mount.loop import SessionLoop
from modelfs.mount.passthrough import Passthrough


class FuseMissing(Error):
    """The FUSE userspace library is not installed."""

    hint = "install it: apt install libfuse2 fuse (Debian), dnf install fuse-libs (Fedora)"


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to an open: our number for the handle, and how the kernel may cache it."""

    handle: int
    keep_cache: bool = False
    direct_io: bool = False


class Operations(Protocol):
    """What `serve` needs: called with the name of an operation and its arguments.

    May raise OSError with a positive errno and nothing else. Operations are present or absent as
    attributes; an absent one is answered with ENOSYS by libfuse, without waking us.
    """

    def __call__(self, operation: str, *args: Any) -> Any: ...


@cache
def load() -> Any:
    """The FUSE binding; raises FuseMissing with what to install."""
    try:
        with warnings.catch_warnings():
            # fusepy 3.0.1 has invalid escapes that newer Pythons warn about when compiling it.
            warnings.simplefilter("ignore")
            import fuse
    except OSError as exc:
        raise FuseMissing("libfuse 2 is not installed") from exc
    return fuse


def pack_stat(
    *, mode: int, ino: int, nlink: int, uid: int, gid: int, size: int, mtime: float
) -> bytes:
    """`struct stat` of this platform."""
    stat = load().c_stat()
    stat.st_mode, stat.st_ino, stat.st_nlink = mode, ino, nlink
    stat.st_uid, stat.st_gid = uid, gid
    stat.st_size, stat.st_blksize, stat.st_blocks = size, 4096, -(-size // 512)
    seconds, nanoseconds = divmod(int(mtime * 1e9), 10**9)
    for spec in (stat.st_atimespec, stat.st_mtimespec, stat.st_ctimespec):
        spec.tv_sec, spec.tv_nsec = seconds, nanoseconds
    return bytes(stat)


def pack_status(status: os.stat_result, uid: int, gid: int) -> bytes:
    """`struct stat` of a file on a disk and of that owner; its number is told apart from ours."""
    stat = load().c_stat()
    stat.st_mode, stat.st_ino, stat.st_nlink = status.st_mode, local_ino(status), status.st_nlink
    stat.st_uid, stat.st_gid = uid, gid
    stat.st_size, stat.st_blksize, stat.st_blocks = status.st_size, 4096, status.st_blocks
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    specs = (stat.st_atimespec, stat.st_mtimespec, stat.st_ctimespec)
    for spec, nanoseconds in zip(specs, times, strict=True):
        spec.tv_sec, spec.tv_nsec = divmod(nanoseconds, 10**9)
    return bytes(stat)


def serve(
    operations: Operations,
    mountpoint: str,
    options: dict[str, str | bool],
    loop: SessionLoop,
    ready: Callable[[], None],
    ended: Callable[[], None],
) -> None:
    """Mount and serve until unmounted or `loop.end()`; `ready` is called once mounted.

    `ended` is called when nothing more is served; it unmounts and sees that requests at hand are
    done, for which libfuse's callbacks are needed: fusepy frees them afterwards. Raises Error if
    the kernel or its helper refused the mount; what it had to say is on standard error, in its
    own words. Raises what `loop.start` does.
    """
    fuse = load()
    library = fuse._libfuse
    failed = []

    def main(argc: int, argv: Any, ops: Any, size: int, _: Any) -> int:
        point, is_threaded = ctypes.c_char_p(), ctypes.c_int()
        handle = library.fuse_setup(
            argc, argv, ops, size, ctypes.byref(point), ctypes.byref(is_threaded), None
        )
        if not handle:
            failed.append(mountpoint)
            return 0
        session = library.fuse_get_session(handle)
        try:
            loop.start(session, library.fuse_session_next_chan(session, None))
            ready()
            loop.join()
        finally:
            ended()
        return 0

    library.fuse_main_real = main
    _kernel_class(fuse)(operations, mountpoint, foreground=True, encoding=_CODEC, **options)
    if failed:
        raise Error(f"cannot mount at {mountpoint}: the FUSE library refused")


def new_loop(passthrough: Passthrough) -> SessionLoop:
    """A session loop on this binding's library."""
    library = load()._libfuse
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    prototypes = {
        "fuse_setup": (
            pointer,
            [ctypes.c_int, pointer, pointer, size, pointer, pointer, pointer],
        ),
        "fuse_get_session": (pointer, [pointer]),
        "fuse_session_next_chan": (pointer, [pointer, pointer]),
        "fuse_session_process_buf": (None, [pointer, pointer, pointer]),
        "fuse_chan_new": (pointer, [pointer, ctypes.c_int, size, pointer]),
        "fuse_chan_fd": (ctypes.c_int, [pointer]),
        "fuse_chan_destroy": (None, [pointer]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return SessionLoop(library, passthrough)


# Names are bytes to the kernel; those that are not UTF-8 must survive the round trip.
_CODEC = "modelfs-name"


def _decode(data: bytes | memoryview, errors: str = "strict") -> tuple[str, int]:
    return os.fsdecode(bytes(data)), len(data)


def _encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
    return os.fsencode(text), len(text)


@codecs.register
def _find_codec(name: str) -> codecs.CodecInfo | None:
    if name.replace("_", "-") != _CODEC:
        return None
    return codecs.CodecInfo(_encode, _decode, name=_CODEC)  # type: ignore[arg-type]


# struct fuse_buf: flags.
_IS_FD = 1 << 1
_FD_SEEK = 1 << 2


class _BufferVector(ctypes.Structure):
    """`struct fuse_bufvec` of libfuse 2.9 with its one `struct fuse_buf`."""

    _fields_ = [
        ("count", ctypes.c_size_t),
        ("index", ctypes.c_size_t),
        ("offset", ctypes.c_size_t),
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("memory", ctypes.c_void_p),
        ("fd", ctypes.c_int),
        ("position", ctypes.c_int64),
    ]


# What the nanoseconds of a time say that is none (include/linux/stat.h).
_NOW, _OMIT = (1 << 30) - 1, (1 << 30) - 2


def _chosen_time(spec: Any) -> int | None:
    """Nanoseconds since the epoch; None for a time that stays."""
    if spec.tv_nsec == _OMIT:
        return None
    return time.time_ns() if spec.tv_nsec == _NOW else spec.tv_sec * 10**9 + spec.tv_nsec


def _longer(fuse: Any) -> Any:
    """fusepy's struct ends with ioctl; libfuse 2.9's goes on, and takes either length."""
    info = ctypes.POINTER(fuse.fuse_file_info)

    class ExtendedOperations(ctypes.Structure):
        _fields_ = [
            *fuse.fuse_operations._fields_,
            ("poll", ctypes.c_void_p),
            ("write_buf", ctypes.c_void_p),
            (
                "read_buf",
                ctypes.CFUNCTYPE(
                    ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p),
                    ctypes.c_size_t, ctypes.c_int64, info,
                ),
            ),
            ("flock", ctypes.c_void_p),
            ("fallocate", ctypes.c_void_p),
        ]  # fmt: skip

    return ExtendedOperations


def _vector(libc: Any, data: bytes | FileSlice) -> int:
    """The address of what libfuse answers with; it frees the vector and the memory, by `libc`."""
    address: int = libc.malloc(ctypes.sizeof(_BufferVector))
    vector = _BufferVector.from_address(address)
    if isinstance(data, FileSlice):
        flags = _IS_FD | _FD_SEEK
        vector.__init__(1, 0, 0, data.size, flags, None, data.fd, data.offset)  # type: ignore[misc]
    else:
        memory = libc.malloc(max(len(data), 1))
        ctypes.memmove(memory, data, len(data))
        vector.__init__(1, 0, 0, len(data), 0, memory, -1, 0)  # type: ignore[misc]
    return address


@cache
def _kernel_class(fuse: Any) -> Any:
    """fusepy's adapter, extended; made on demand, since importing fusepy loads libfuse."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    fuse.fuse_operations = _longer(fuse)

    class Kernel(fuse.FUSE):  # type: ignore[misc]
        """Calls of libfuse, as calls of the operations."""

        def fgetattr(self, path: bytes | None, buffer: Any, file: Any) -> int:
            handle = file.contents.fh if file else None
            packed = self.operations("getattr", self._decode_optional_path(path), handle)
            ctypes.memmove(buffer, packed, len(packed))
            return 0

        def open(self, path: bytes, file: Any) -> int:
            opened = self.operations("open", path.decode(self.encoding), file.contents.flags)
            file.contents.fh = opened.handle
            file.contents.keep_cache = opened.keep_cache
            file.contents.direct_io = opened.direct_io
            return 0

        def create(self, path: bytes, mode: int, file: Any) -> int:
            name = path.decode(self.encoding)
            opened = self.operations("create", name, mode, file.contents.flags)
            file.contents.fh = opened.handle
            return 0

        def utimens(self, path: bytes, times: Any) -> int:
            pair = times.contents
            chosen = (_chosen_time(pair.actime), _chosen_time(pair.modtime))
            return self.operations("utimens", path.decode(self.encoding), chosen) or 0

        def read_buf(
            self, path: bytes | None, result: Any, size: int, offset: int, file: Any
        ) -> int:
            data = self.operations("read", size, offset, file.contents.fh)
            result[0] = _vector(libc, data)
            return 0

        def readdir(
            self, path: bytes | None, buffer: Any, fill: Any, offset: int, file: Any
        ) -> int:
            stat = fuse.c_stat()
            entries: Iterable[tuple[str, int, int]]
            entries = self.operations("readdir", file.contents.fh)
            for name, mode, ino in entries:
                stat.st_mode, stat.st_ino = mode, ino
                if fill(buffer, os.fsencode(name), stat, 0):
                    break
            return 0

    return Kernel
