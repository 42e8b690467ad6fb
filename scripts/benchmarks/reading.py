"""Ways of reading that both sides of a case share, and of forgetting what was read before."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

PIECE = 1 << 20


def in_order(path: Path) -> float:
    """Seconds to read all of a file, a piece after the other, as `cat` and `cp` do."""
    buffer = memoryview(bytearray(PIECE))
    begin = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - begin


def whole(path: Path) -> float:
    """Seconds to read all of a file into memory that was not used before, as loaders do."""
    begin = time.perf_counter()
    path.read_bytes()
    return time.perf_counter() - begin


def at_random(path: Path, size: int, count: int) -> float:
    """Seconds for `count` reads of `size` bytes at places spread over the file."""
    places = random.Random(1)
    blocks = path.stat().st_size // size
    offsets = [places.randrange(blocks) * size for _ in range(count)]
    buffers = [memoryview(bytearray(size))]
    with path.open("rb", buffering=0) as file:
        fd = file.fileno()
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        begin = time.perf_counter()
        for offset in offsets:
            os.preadv(fd, buffers, offset)
        return time.perf_counter() - begin


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget(path: Path) -> None:
    """Drop the kernel's pages of one file; on a mount the daemon's own file keeps its pages."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    except OSError:
        pass  # a mount has nothing to write
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
