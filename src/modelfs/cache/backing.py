"""One file of the cache, open: its descriptors and the blocks of it that this process trusts.

A block is trusted once this process has written it or has seen its bytes agree with their
checksum. Readers look at `trusted` and read, without a lock; a byte of it goes from 0 to 1 once
and a file that turns out to be bad gets a new Backing instead. Whoever reads holds a reference,
and the descriptors are closed with the last one: a number that has been closed, and stands for
another file by now, is never read from.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from modelfs.cache import locks
from modelfs.cache.blockmap import BLOCK, BlockMap, block_count, checksum, length

_TRUSTED = b"\1"


@dataclass(frozen=True, slots=True)
class Instance:
    """A file as it was at a moment: neither replaced nor written to since, if all is the same."""

    inode: int
    token: bytes
    mtime_ns: int


class Backing:
    """The file of a content of `size` bytes, open at `fd`; without a map it is a finished one."""

    __slots__ = ("fd", "inode", "is_bad", "is_suspect", "is_whole", "map", "size", "trusted")

    def __init__(self, fd: int, size: int, block_map: BlockMap | None = None) -> None:
        self.fd = fd
        self.size = size
        self.map = block_map
        self.inode = os.fstat(fd).st_ino
        # Complete and agreeing with its digest.
        self.is_whole = block_map is None
        # A finished file that somebody wrote to: hashed again before its first use.
        self.is_suspect = False
        # Its bytes do not have the digest they should have.
        self.is_bad = False
        self.trusted = bytearray(block_count(size))

    def has(self, first: int, stop: int) -> bool:
        """True if the blocks [first, stop) may be read."""
        return self.is_whole or self.trusted.find(b"\0", first, stop) < 0

    @property
    def here(self) -> int:
        """How many bytes may be read."""
        if self.is_whole:
            return self.size
        return length((block for block, state in enumerate(self.trusted) if state), self.size)

    def recorded(self, block: int) -> int | None:
        """The checksum of `block` if it is here, written by anybody, and agrees with it."""
        if self.map is None:
            return None
        expected = self.map.recorded(block)
        is_right = expected is not None and expected == checksum(self.read_block(block))
        return expected if is_right else None

    def read_block(self, block: int) -> bytes:
        return os.pread(self.fd, min(BLOCK, self.size - block * BLOCK), block * BLOCK)

    def write(self, first: int, data: memoryview) -> list[int]:
        """Put the bytes of the blocks from `first` on on disk, then say so; their checksums.

        The caller holds the blocks.
        """
        block_map = self.map
        if block_map is None:
            raise OSError(errno.EROFS, "file is finished")
        start = first * BLOCK
        written = 0
        while written < len(data):
            written += os.pwrite(self.fd, data[written:], start + written)
        crcs = [checksum(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
        block_map.record(first, crcs)
        return crcs

    def trust(self, block: int) -> None:
        self.trusted[block : block + 1] = _TRUSTED

    def instance(self) -> Instance:
        token = self.map.token() if self.map is not None else b""
        return Instance(self.inode, token, os.fstat(self.fd).st_mtime_ns)

    def claim(self, block: int) -> bool:
        return locks.claim_block(self.fd, block)

    def claim_blank(self, first: int, stop: int) -> bool:
        """True if the blocks [first, stop) are ours to bring; False if any of them may not be."""
        if self.map is None or not self.map.is_blank(first, stop):
            return False
        if not locks.claim_blocks(self.fd, first, stop):
            return False
        if self.map.is_blank(first, stop):
            return True
        self.release(first, stop)  # some have landed between the two
        return False

    def release(self, first: int, stop: int) -> None:
        locks.release_blocks(self.fd, first, stop)

    def __del__(self) -> None:
        os.close(self.fd)
        if self.map is not None:
            os.close(self.map.fd)
