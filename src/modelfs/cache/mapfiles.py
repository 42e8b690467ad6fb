"""The files of block maps: found if they make sense, made if there is none.

Maps of several processes are one: who makes it holds a lock of the content's file for that moment.
Raises OSError. No state.
"""

from __future__ import annotations

import errno
import os
import stat

from modelfs.cache import locks
from modelfs.cache.blockmap import BlockMap, blank
from modelfs.cache.directory import FILE, Directory, remove, temporary
from modelfs.cache.keys import size_of

MAP = ".map"


def opened(directory: Directory, shard: int, key: str, fd: int, size: int) -> BlockMap:
    """The map of a file; a new one if it has none, or none that makes sense."""
    if found := sound(key, shard, size):
        return found
    for _ in locks.attempts():
        if locks.claim_map(fd):
            break
    else:
        raise OSError(errno.EAGAIN, "map is being made by a process that does not go on")
    try:
        if found := sound(key, shard, size):
            return found
        name = temporary(key)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | FILE
        map_fd = os.open(name, flags, 0o600, dir_fd=shard)
        try:
            directory.share(map_fd)
            _write_all(map_fd, blank(size))
            os.replace(name, key + MAP, src_dir_fd=shard, dst_dir_fd=shard)
        except OSError:
            os.close(map_fd)
            remove(name, shard)
            raise
        return BlockMap(map_fd, size)
    finally:
        locks.release_map(fd)


def sound(key: str, shard: int, size: int, mode: int = os.O_RDWR) -> BlockMap | None:
    """The map of `key` if there is one that is a map of a file of that size."""
    try:
        fd = os.open(key + MAP, mode | FILE, dir_fd=shard)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return None
        raise
    found = BlockMap(fd, size)
    if stat.S_ISREG(os.fstat(fd).st_mode) and found.is_sound():
        return found
    os.close(fd)
    return None


def token(key: str, shard: int) -> bytes:
    """What the map that `key` has now alone has; empty if there is none."""
    block_map = sound(key, shard, size_of(key), os.O_RDONLY)
    if block_map is None:
        return b""
    try:
        return block_map.token()
    finally:
        os.close(block_map.fd)


def _write_all(fd: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.write(fd, data[written:])
