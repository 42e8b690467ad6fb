"""A directory shown again through fusepy, as its manual does it: what a mount in Python costs.

    python plainfuse.py DIRECTORY MOUNTPOINT

A rival of the benchmarks, nothing else: read-only, everything passed to the system as it comes.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import fuse


class Plain(fuse.Operations):  # type: ignore[misc]
    def __init__(self, root: str) -> None:
        self._root = root

    def _real(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._real(path))
        names = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_mtime")
        return {name: getattr(found, name) for name in names}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._real(path))]

    def open(self, path: str, flags: int) -> int:
        return os.open(self._real(path), flags)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)


if __name__ == "__main__":
    # What cannot change may stay in the kernel's memory, as with ours: the best it can do.
    keeping = {"kernel_cache": True, "attr_timeout": 3600, "entry_timeout": 3600}
    fuse.FUSE(Plain(os.path.abspath(sys.argv[1])), sys.argv[2], foreground=True, ro=True, **keeping)
