"""The nodes of one published version as the kernel is told of them: packed once, then copied.

A version may have 100,000 files. So there is no object for a node: a directory is one block of
bytes, the answer to a READDIRPLUS of all of it, and the answers to LOOKUP and GETATTR are pieces of
that. Directories are packed when they are first asked for; some 190 bytes for each name, and as
much again once a name in the directory was looked up. Layouts: `include/uapi/linux/fuse.h`.

Owns the packed directories of one version. Knows no kernel and no registry. One lock, so that a
directory is packed once: its names have one number each.
"""

from __future__ import annotations

import os
import struct
import threading
from array import array
from bisect import bisect_right
from dataclasses import dataclass

from modelfs.fs.nodes import Kind
from modelfs.fs.versions import Child, VersionTree

# For how long the kernel may keep what can never change. A day, so that even then a version that
# was deleted on the registry goes away some time.
FOREVER = 86400

# struct fuse_entry_out: nodeid, generation, entry_valid, attr_valid and their nanoseconds.
_ENTRY = "QQQQII"
# struct fuse_attr: ino, size, blocks, atime, mtime, ctime and their nanoseconds, mode, nlink, uid,
# gid, rdev, blksize, flags.
_ATTR = "QQQQQQIIIIIIIIII"
# struct fuse_dirent: ino, off, namelen, type. The name follows, padded.
_DIRENT = "QQII"

_DIRENTPLUS = struct.Struct(f"={_ENTRY}{_ATTR}{_DIRENT}")
ENTRY_SIZE = struct.calcsize(f"={_ENTRY}{_ATTR}")
_ATTR_AT = struct.calcsize(f"={_ENTRY}")
# struct fuse_attr_out, less the attributes: attr_valid and its nanoseconds, padding.
_ATTR_HEAD = struct.pack("=QII", FOREVER, 0, 0)
# What a LOOKUP of a name is answered with that there is not and never will be.
NOTHING = struct.pack(f"={_ENTRY}{_ATTR}", 0, 0, FOREVER, *(0,) * 19)
_NAME_SIZE = struct.Struct("=I")
_NAME_SIZE_AT = ENTRY_SIZE + struct.calcsize("=QQ")

# "." and ".." come before what a directory holds.
_DOTS = 2

# Numbers of the kernel's that are ours, not libfuse's: this bit, whose tree, which node in it.
# The bit below is taken (see wire).
OURS = 1 << 63
_TREE_SHIFT = 32
_INDEX = (1 << _TREE_SHIFT) - 1
SERIALS = 1 << 29


def serial_of(node: int) -> int:
    """Which tree a number of ours belongs to."""
    return node >> _TREE_SHIFT & (SERIALS - 1)


@dataclass(frozen=True, slots=True)
class Look:
    """How all nodes look that the registry does not decide."""

    uid: int
    gid: int
    umask: int


class Packed:
    """A directory: its names with their attributes, in the form that the kernel is given.

    `first` is the index of its first name, those of the others follow; `places` is where they
    begin in `block`, with those of "." and ".." before them and the end of all after them.
    """

    __slots__ = ("_positions", "block", "first", "path", "places")

    def __init__(self, path: str, first: int, block: bytes, places: array[int]) -> None:
        self.path = path
        self.first = first
        self.block = memoryview(block)
        self.places = places
        self._positions: dict[bytes, int] | None = None

    def __len__(self) -> int:
        return len(self.places) - 1 - _DOTS

    def entries(self, place: int, size: int) -> tuple[memoryview, int]:
        """What a READDIRPLUS is answered with, and how many nodes that tells the kernel of."""
        begin = bisect_right(self.places, place) - 1
        end = bisect_right(self.places, self.places[begin] + size) - 1
        told = max(end, _DOTS) - max(begin, _DOTS)
        return self.block[self.places[begin] : self.places[end]], told

    def names(self, place: int, size: int) -> bytes:
        """The same for a READDIR, which tells of no node."""
        found, total = [], 0
        for position in range(bisect_right(self.places, place) - 1, len(self.places) - 1):
            start, stop = self.places[position] + ENTRY_SIZE, self.places[position + 1]
            total += stop - start
            if total > size:
                break
            found.append(self.block[start:stop])
        return b"".join(found)

    def entry(self, name: bytes) -> memoryview | None:
        """What a LOOKUP is answered with, if there is that name."""
        positions = self._positions
        if positions is None:
            count = range(_DOTS, _DOTS + len(self))
            positions = self._positions = {self._name(position): position for position in count}
        position = positions.get(name)
        if position is None:
            return None
        start = self.places[position]
        return self.block[start : start + ENTRY_SIZE]

    def attributes(self, index: int) -> bytes:
        """What a GETATTR is answered with."""
        start = self.places[index - self.first + _DOTS]
        return _ATTR_HEAD + self.block[start + _ATTR_AT : start + ENTRY_SIZE]

    def path_of(self, index: int) -> str:
        """The path in the version of one of its names."""
        name = os.fsdecode(self._name(index - self.first + _DOTS))
        return f"{self.path}/{name}" if self.path else name

    def _name(self, position: int) -> bytes:
        start = self.places[position]
        (size,) = _NAME_SIZE.unpack_from(self.block, start + _NAME_SIZE_AT)
        start += _DIRENTPLUS.size
        return bytes(self.block[start : start + size])


class Nodes:
    """The nodes of `version`, under numbers with `serial`.

    `top` is the number of the version's own directory, which is libfuse's, and `above` the inode
    that it lies in. `told` is how often the kernel was told of nodes, less what it has forgotten;
    the owner counts.
    """

    def __init__(self, version: VersionTree, serial: int, top: int, look: Look, above: int) -> None:
        self.version = version
        self.serial = serial
        self.top = top
        self.told = 0
        self._base = OURS | serial << _TREE_SHIFT
        self._look = look
        self._above = above
        self._lock = threading.Lock()
        self._packed: list[Packed] = []  # in the order of `first`
        self._firsts: list[int] = []
        self._by_index: dict[int, Packed] = {}
        self._next = 1

    def directory(self, node: int) -> Packed:
        """What is in the directory that is called `node`."""
        index = node & _INDEX if node & OURS else 0
        packed = self._by_index.get(index)
        if packed is None:
            with self._lock:
                packed = self._by_index.get(index)
                if packed is None:
                    packed = self._by_index[index] = self._pack(self.path(index))
        return packed

    def attributes(self, node: int) -> bytes:
        index = node & _INDEX
        return self._holder(index).attributes(index)

    def path(self, node: int) -> str:
        """The path of a node in the version; the version's own index is 0."""
        index = node & _INDEX
        return self._holder(index).path_of(index) if index else ""

    def _holder(self, index: int) -> Packed:
        """The directory that holds the name with that index."""
        return self._packed[bisect_right(self._firsts, index) - 1]

    def _pack(self, path: str) -> Packed:
        version, first = self.version, self._next
        parent = path.rpartition("/")[0]
        over = version.ino(parent) if path else self._above
        pack = self._direntplus
        mtime, kind = version.mtime, Kind.DIRECTORY
        # The kernel takes no number with the two that every directory has.
        dot = pack(0, (".", kind, version.ino(path), 0, mtime), 0)
        dots = pack(0, ("..", kind, over, 0, mtime), len(dot))
        pieces, places, size = [dot, dots], array("I", (0, len(dot))), len(dot) + len(dots)
        for node, child in enumerate(version.children(path), self._base + first):
            places.append(size)
            piece = pack(node, child, size)
            pieces.append(piece)
            size += len(piece)
        places.append(size)
        packed = Packed(path, first, b"".join(pieces), places)
        self._next += len(packed)
        # In this order: `_holder` looks without the lock, by what is in the second list.
        self._packed.append(packed)
        self._firsts.append(first)
        return packed

    def _direntplus(self, node: int, child: Child, place: int) -> bytes:
        """One name of a directory; its end is by what the kernel asks on."""
        look = self._look
        name, kind, ino, size, mtime = child
        encoded = name.encode("utf-8", "surrogateescape")
        length = len(encoded)
        padded = length + 7 & ~7
        seconds, nanos = divmod(int(mtime * 1e9), 10**9)
        seconds %= 1 << 64  # before 1970
        return (
            _DIRENTPLUS.pack(
                node, 0, FOREVER, FOREVER, 0, 0,
                ino, size, size + 511 >> 9, seconds, seconds, seconds, nanos, nanos, nanos,
                # 1 link for directories too: see Ops.
                kind & ~look.umask, 1, look.uid, look.gid, 0, 4096, 0,
                ino, place + _DIRENTPLUS.size + padded, length, kind >> 12,
            )
            + encoded.ljust(padded, b"\0")
        )  # fmt: skip
