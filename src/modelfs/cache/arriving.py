"""A content of one block on its way to its file: written only once it is whole and right.

Such a content needs no map. One process claims the file it will be (`objects/ab/<key>.new`), and
the bytes, hashed in memory, get the final name at once. They may not be on disk then, so the file
has no seal yet: whoever finds it so, after a crash too, hashes it before its first use. Raises
OSError. No lock of its own.
"""

from __future__ import annotations

import os
from types import TracebackType

from modelfs.cache import locks
from modelfs.cache.backing import Backing
from modelfs.cache.directory import FILE, Directory, inode_of, remove

ARRIVING = ".new"


class Arrival:
    """The file of `key` to be, claimed from other processes while the context lasts."""

    def __init__(self, directory: Directory, key: str) -> None:
        self._directory = directory
        self._key = key
        self._name = key + ARRIVING
        self._fd: int | None = None

    def claim(self) -> bool:
        """True if it is on us to bring the bytes; False if another process does."""
        with self._directory.shard(self._key, is_made=True) as shard:
            fd = os.open(self._name, os.O_RDWR | os.O_CREAT | FILE, 0o600, dir_fd=shard)
            try:
                is_ours = locks.claim_block(fd, 0)
                # Whoever had it may have given it its name, or removed it, just now.
                found = os.fstat(fd)
                if is_ours and inode_of(self._name, shard) == found.st_ino:
                    if not found.st_size:
                        self._directory.share(fd)
                    self._fd, fd = fd, -1
            finally:
                if fd >= 0:
                    os.close(fd)
        return self._fd is not None

    def land(self, data: memoryview) -> Backing:
        """Give the file these bytes, which are right, and its name."""
        fd, size = self._fd, len(data)
        assert fd is not None  # noqa: S101 - claimed
        written = 0
        while written < size:
            written += os.pwrite(fd, data[written:], written)
        os.ftruncate(fd, size)  # somebody who died here may have written more
        locks.mark_used(fd)
        with self._directory.shard(self._key) as shard:
            os.rename(self._name, self._key, src_dir_fd=shard, dst_dir_fd=shard)
        locks.release_block(fd, 0)
        self._fd = None
        return Backing(fd, size)

    def __enter__(self) -> Arrival:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd is None:
            return
        try:
            with self._directory.shard(self._key) as shard:
                remove(self._name, shard)
        except OSError:
            pass  # swept some day
        finally:
            os.close(self._fd)
            self._fd = None
