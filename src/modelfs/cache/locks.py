"""Locks between processes: byte ranges of open file descriptions.

They belong to the open file, not to the process (as POSIX record locks do), and the kernel gives
them back when the last descriptor is closed: after `kill -9` nothing is left to clean up. None of
these calls waits; who wants to makes several `attempts`.
"""

from __future__ import annotations

import errno
import fcntl
import struct
import time
from collections.abc import Iterator

# struct flock with 64-bit offsets; the process id must be 0 for locks of open files.
_FLOCK = struct.Struct("@hhqqi4x")

# File systems that do not know such locks have one process per cache, so a lock is always given.
_UNKNOWN = frozenset({errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})

# Another process holds those on files and maps for a few system calls.
_PATIENCE, _PAUSE = 2.0, 0.002

# Far behind any data, so that a lock on a block is never a lock on its bytes.
_BLOCKS = 1 << 62
_USE = 1 << 61
_MAP = _USE + 1


def claim_block(fd: int, block: int) -> bool:
    """True if the block is ours to fetch: nobody else holds it."""
    return try_lock(fd, _BLOCKS + block)


def claim_blocks(fd: int, first: int, stop: int) -> bool:
    """The same of the blocks [first, stop), all or none."""
    return _set(fd, fcntl.F_WRLCK, _BLOCKS + first, stop - first)


def release_block(fd: int, block: int) -> None:
    unlock(fd, _BLOCKS + block)


def release_blocks(fd: int, first: int, stop: int) -> None:
    _set(fd, fcntl.F_UNLCK, _BLOCKS + first, stop - first)


def mark_used(fd: int) -> bool:
    """Shared: the file is in use. False if it is being dropped at this moment."""
    return _set(fd, fcntl.F_RDLCK, _USE)


def claim_all(fd: int) -> bool:
    """True if nobody uses the file and from now on nobody can; it may be dropped."""
    return _set(fd, fcntl.F_WRLCK, _USE)


def claim_map(fd: int) -> bool:
    """True if it is on us to make the file's map."""
    return try_lock(fd, _MAP)


def release_map(fd: int) -> None:
    unlock(fd, _MAP)


def try_lock(fd: int, position: int) -> bool:
    return _set(fd, fcntl.F_WRLCK, position)


def unlock(fd: int, position: int) -> None:
    _set(fd, fcntl.F_UNLCK, position)


def _set(fd: int, kind: int, position: int, length: int = 1) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, 0, position, length, 0))
    except OSError as exc:
        if exc.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if exc.errno not in _UNKNOWN:
            raise
    return True


def attempts() -> Iterator[None]:
    """As many as fit into the patience we have with another process."""
    end = time.monotonic() + _PATIENCE
    yield None
    while time.monotonic() < end:
        time.sleep(_PAUSE)
        yield None
