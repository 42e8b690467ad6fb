"""The map beside a file that is not complete: which blocks are here, with what checksum.

A record per block, eight bytes: the crc32c of the block's bytes and the same again, disguised by
the block's number, so that neither zeros nor a changed byte nor a record in the wrong place is
taken for one. A block is "here" when its record says so *and* its bytes agree; that is asked once
in each process, before the first use, so neither a torn write nor a lost one nor a flipped bit can
pass. No state but the descriptor, and no lock: a record is written by whoever holds the block.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterable, Sequence

import google_crc32c

# The granularity of presence, not of requests (those are runs of blocks): a safetensors header
# and one tensor should cost little more than themselves, and two of the kernel's default
# read-aheads (128 KiB) fit. At this size the map takes 1/32768 of the file.
BLOCK = 1 << 18

_HEADER = struct.Struct("<8sIIQ")
# Random: file systems give a number of a removed file (inode) to the next one at once.
_TOKEN = 8
_START = _HEADER.size + _TOKEN
_RECORD = struct.Struct("<II")
_MAGIC = b"modelfs\n"
_VERSION = 1
# The library wants bytes, so they are copied: so many at a time that no memory is asked of the
# system for that, and given back, for each block.
_COPIED = 1 << 16
# Any constant that no block number comes near: no record is then all zeros.
_DISGUISE = 0x9E3779B9


def block_count(size: int) -> int:
    return -(-size // BLOCK)


def length(blocks: Iterable[int], size: int) -> int:
    """How many bytes these blocks of a file of `size` bytes are."""
    return sum(min(BLOCK, size - block * BLOCK) for block in blocks)


def checksum(data: bytes | memoryview) -> int:
    value = 0
    view = memoryview(data)
    for at in range(0, len(view), _COPIED):
        value = google_crc32c.extend(value, bytes(view[at : at + _COPIED]))
    return int(value)


class Joined:
    """The checksum of all blocks in a row, put together from theirs: no byte is read again.

    A block more turns the sum s of those before it into shift(s) ^ (that block's), and the shift,
    by a block of zeros, is linear: the sum of the shifts of the bits of s.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._sums: dict[int, int] = {}
        self._next = 0
        self._value = 0

    def add(self, block: int, crc: int) -> None:
        """The checksum of `block`, in any order; taken once."""
        self._sums[block] = crc
        while (found := self._sums.pop(self._next, None)) is not None:
            length = min(BLOCK, self._size - self._next * BLOCK)
            self._value = _shift(self._value, length) ^ found
            self._next += 1

    @property
    def value(self) -> int | None:
        """The checksum of all; None while one is missing."""
        return self._value if self._next == block_count(self._size) else None


def _shift(crc: int, length: int) -> int:
    if length < BLOCK:  # the last one
        return _after_zeros(crc, length)
    table = _block_shift()
    return (
        table[0][crc & 255]
        ^ table[1][crc >> 8 & 255]
        ^ table[2][crc >> 16 & 255]
        ^ table[3][crc >> 24]
    )


def _after_zeros(crc: int, length: int) -> int:
    """What `crc` adds to the checksum of what stands before `length` bytes."""
    zeros = bytes(length)
    return int(google_crc32c.extend(crc, zeros)) ^ checksum(zeros)


@functools.cache
def _block_shift() -> list[list[int]]:
    """By each byte of a checksum, and each value of it: its shift by a block."""
    table = []
    for place in range(0, 32, 8):
        row = [0]
        for bit in range(place, place + 8):
            shifted = _after_zeros(1 << bit, BLOCK)
            row += [value ^ shifted for value in row]
        table.append(row)
    return table


def blank(size: int) -> bytes:
    """The map of a file of `size` bytes of which nothing is here."""
    return _header(size) + os.urandom(_TOKEN) + bytes(_RECORD.size * block_count(size))


def _header(size: int) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, BLOCK, size)


class BlockMap:
    """The map of a file of `size` bytes, open at `fd`."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self._size = size

    def is_sound(self) -> bool:
        """True if this is a map, of this version, of a file of this size."""
        length = _START + _RECORD.size * block_count(self._size)
        return os.fstat(self.fd).st_size == length and os.pread(
            self.fd, _HEADER.size, 0
        ) == _header(self._size)

    def token(self) -> bytes:
        """What this map alone has."""
        return os.pread(self.fd, _TOKEN, _HEADER.size)

    def recorded(self, block: int) -> int | None:
        """The checksum that is recorded for `block`; None if the block is not here."""
        data = os.pread(self.fd, _RECORD.size, _START + _RECORD.size * block)
        if len(data) < _RECORD.size:
            return None
        crc, proof = _RECORD.unpack(data)
        return crc if proof == _proof(block, crc) else None

    def recorded_blocks(self) -> list[int]:
        """All blocks that have a record; their bytes have not been looked at."""
        data = os.pread(self.fd, _RECORD.size * block_count(self._size), _START)
        data = data[: len(data) // _RECORD.size * _RECORD.size]
        return [
            block
            for block, (crc, proof) in enumerate(_RECORD.iter_unpack(data))
            if proof == _proof(block, crc)
        ]

    def is_blank(self, first: int, stop: int) -> bool:
        """True if there is nothing where the records of the blocks [first, stop) would be."""
        size = _RECORD.size * (stop - first)
        return os.pread(self.fd, size, _START + _RECORD.size * first) == bytes(size)

    def forget(self, block: int) -> None:
        """Say that `block` is not here."""
        os.pwrite(self.fd, bytes(_RECORD.size), _START + _RECORD.size * block)

    def record(self, first: int, crcs: Sequence[int]) -> None:
        """Say that the blocks from `first` on are here; their bytes have been written before."""
        records = (_RECORD.pack(crc, _proof(at, crc)) for at, crc in enumerate(crcs, first))
        os.pwrite(self.fd, b"".join(records), _START + _RECORD.size * first)


def _proof(block: int, crc: int) -> int:
    return crc ^ _DISGUISE ^ (block & 0xFFFFFFFF)


def runs(blocks: Iterable[int]) -> Iterable[tuple[int, int]]:
    """Ascending block numbers as half-open runs."""
    first = stop = -1
    for block in blocks:
        if block != stop:
            if first >= 0:
                yield first, stop
            first = block
        stop = block + 1
    if first >= 0:
        yield first, stop
