"""What is in a cache: every content, how much of it is here, when it was last used.

Looks and changes nothing, not even times of use. Raises no OSError: what goes meanwhile is left
out. No state, no lock.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from modelfs.cache.blockmap import BlockMap, length
from modelfs.cache.directory import FILE, Directory, entries
from modelfs.cache.evict import Stored
from modelfs.cache.keys import is_key, size_of
from modelfs.cache.mapfiles import MAP
from modelfs.cache.store import PART


@dataclass(frozen=True, slots=True)
class CacheState:
    """How much of a file is in the cache. Verified: complete, and agrees with its digest."""

    here: int
    size: int
    is_verified: bool

    @property
    def is_complete(self) -> bool:
        return self.here >= self.size


@dataclass(frozen=True, slots=True)
class Kept:
    """One content: its bytes, how many of them are here, and what they take up on the disk."""

    key: str
    size: int
    here: int
    allocated: int
    used_at: float
    is_complete: bool
    is_pinned: bool

    @property
    def stored(self) -> Stored:
        return Stored(self.key, self.allocated, self.used_at, self.is_complete)


def contents(directory: Directory) -> Iterator[Kept]:
    """All of them; one that is complete and has an older half is there once."""
    pinned = directory.pinned()
    for shard in directory.shards():
        names = dict(entries(shard))
        for name, found in names.items():
            key, is_part = name.removesuffix(PART), name.endswith(PART)
            if not is_key(key) or not stat.S_ISREG(found.st_mode) or (is_part and key in names):
                continue
            size = size_of(key)
            here = _recorded(f"{shard}/{key}{MAP}", size) if is_part else min(size, found.st_size)
            allocated = found.st_blocks * 512
            yield Kept(key, size, here, allocated, found.st_atime, not is_part, key in pinned)


def _recorded(path: str, size: int) -> int:
    """How many bytes the map at `path` says are here."""
    try:
        fd = os.open(path, os.O_RDONLY | FILE)
    except OSError:
        return 0
    try:
        block_map = BlockMap(fd, size)
        blocks = block_map.recorded_blocks() if block_map.is_sound() else []
    except OSError:
        return 0
    finally:
        os.close(fd)
    return length(blocks, size)
