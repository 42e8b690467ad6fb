"""The little of the kernel's FUSE protocol that libfuse 2.9 does not know: pure packing.

libfuse 2.9 speaks protocol 7.19 and is frozen; the kernel has learned since. What we want of the
newer protocol is a different answer to INIT, and a few fields of the answers to LOOKUP, GETATTR,
OPEN and OPENDIR, patched in place; of the old one, to know which files are open, and to have the
kernel drop what it has of one. Layouts:
`include/uapi/linux/fuse.h` of Linux 6.9.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from modelfs.fs.tree import Place

# len, opcode, unique, nodeid, uid, gid, pid, padding
IN_HEADER = struct.Struct("=IIQQIIII")
# len, error, unique
OUT_HEADER = struct.Struct("=IiQ")

# major, minor, max_readahead, flags, flags2
_INIT_IN = struct.Struct("=IIIII")
_INIT_IN_OLD = struct.Struct("=IIII")
# major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran,
# max_pages, map_alignment, flags2, max_stack_depth, unused
_INIT_OUT = struct.Struct("=IIIIHHIIHHII24x")
assert _INIT_OUT.size == 64  # noqa: S101 - the kernel refuses any other size


class Op(enum.IntEnum):
    """The opcodes that the session loop treats on its own."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    MKDIR = 9
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    RELEASE = 18
    GETXATTR = 22
    LISTXATTR = 23
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    IOCTL = 39
    BATCH_FORGET = 42
    READDIRPLUS = 44


class InitFlag(enum.IntFlag):
    """Capabilities negotiated at INIT; bits 32 and up travel in `flags2`."""

    ASYNC_READ = 1 << 0
    BIG_WRITES = 1 << 5
    DO_READDIRPLUS = 1 << 13
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    HANDLE_KILLPRIV_V2 = 1 << 28
    INIT_EXT = 1 << 30
    PASSTHROUGH = 1 << 37


class OpenFlag(enum.IntFlag):
    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    NOFLUSH = 1 << 5
    PASSTHROUGH = 1 << 7


# We were written against this minor version of the kernel's protocol and claim no newer one.
_MINOR = 40
_PAGE = 4096
_MAX_PAGES = 256

# One request carries at most this many bytes: 256 pages, the kernel's own default limit.
MAX_REQUEST = _MAX_PAGES * _PAGE
# Room for the headers before the data of a WRITE; libfuse takes a page as well.
BUFFER_SIZE = MAX_REQUEST + _PAGE

# Read-ahead requests are "background" to the kernel: with its default of 12, a dozen stalled ones
# hold up the read-ahead of every other file. The kernel's own cap for a non-root mount is lower.
MAX_BACKGROUND = 512
_CONGESTION = MAX_BACKGROUND * 3 // 4

# READDIRPLUS always, not only where the kernel would (READDIRPLUS_AUTO): find and du read all names
# first, and then ask for each.
_WANTED = InitFlag.ASYNC_READ | InitFlag.BIG_WRITES | InitFlag.PARALLEL_DIROPS | InitFlag.MAX_PAGES
_WANTED |= InitFlag.DO_READDIRPLUS
# The kernel asks before each write whether it takes a right away with it, unless that is our
# business: then a write that is passed through would wait for us after all.
_WANTED_TO_PASS = InitFlag.PASSTHROUGH | InitFlag.HANDLE_KILLPRIV_V2


class Request(NamedTuple):
    """The head of one request of the kernel."""

    length: int
    opcode: int
    unique: int
    # What it is about, by the kernel's number.
    node: int
    # Who asks, and his thread.
    uid: int
    pid: int

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview) -> Request:
        length, opcode, unique, node, uid, _, pid, _ = IN_HEADER.unpack_from(buffer)
        return cls(length, opcode, unique, node, uid, pid)


@dataclass(frozen=True, slots=True)
class Init:
    """What the kernel offers at INIT."""

    minor: int
    max_readahead: int
    flags: int

    @classmethod
    def parse(cls, buffer: bytes | bytearray | memoryview, length: int) -> Init:
        """The body of an INIT request of `length` bytes, header included."""
        if length >= IN_HEADER.size + _INIT_IN.size:
            _, minor, ahead, low, high = _INIT_IN.unpack_from(buffer, IN_HEADER.size)
        else:
            _, minor, ahead, low = _INIT_IN_OLD.unpack_from(buffer, IN_HEADER.size)
            high = 0
        flags = low | (high << 32 if low & InitFlag.INIT_EXT else 0)
        return cls(minor, ahead, flags)

    @property
    def has_passthrough(self) -> bool:
        return bool(self.flags & InitFlag.PASSTHROUGH)

    def reply(self, unique: int, *, is_passing: bool) -> bytes:
        """Our answer: as much as both sides know, of what we want (`is_passing`: PASSTHROUGH)."""
        wanted = _WANTED | _WANTED_TO_PASS if is_passing else _WANTED
        flags = int(wanted) & self.flags
        if self.flags & InitFlag.INIT_EXT:
            flags |= InitFlag.INIT_EXT
        body = _INIT_OUT.pack(
            7,
            min(self.minor, _MINOR),
            max(self.max_readahead, MAX_REQUEST),
            flags & 0xFFFFFFFF,
            MAX_BACKGROUND,
            _CONGESTION,
            MAX_REQUEST,
            1,  # time stamps are in nanoseconds
            _MAX_PAGES,
            0,
            flags >> 32,
            1 if flags & InitFlag.PASSTHROUGH else 0,  # backing files lie on a plain file system
        )
        return OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique) + body


@dataclass(slots=True)
class Reply:
    """What the file system wants changed in the answer to the request at hand.

    `valid` is for how many seconds the kernel may keep a name and its attributes (None: what
    libfuse says); `flags` are OpenFlags to add; `offer` is a descriptor that has all bytes of the
    file that is opened, `backing` what the kernel calls it if it takes the offer; whether it does
    is told to `answered`, before anybody has the file open.
    """

    # What is asked about, by the kernel's number.
    node: int = 0
    # Is it the link of that name that is asked about? Told by the loop; for a LOOKUP, to it.
    is_link: bool = False
    # Is a name asked for, whatever it is?
    is_lookup: bool = False
    valid: int | None = None
    flags: int = 0
    # Does the kernel take offers? And who opens it, as rights of his are then ours to see to.
    is_passing: bool = False
    uid: int = 0
    offer: int | None = None
    answered: Callable[[bool], None] | None = None
    backing: int = 0
    # The published version whose directory a LOOKUP has found.
    published: Place | None = None


# In the kernel's numbers of links: one that was a directory before (a draft that became a version)
# must have another number than that, which some process may still be in.
_LINK = 1 << 62

# Where fields lie in the body that follows the out header.
_ENTRY_VALID = struct.Struct("=QQII")  # entry_valid, attr_valid and their nanoseconds
_ENTRY_VALID_AT = 16
_ENTRY_SIZE = 128
# Of a file that was made only the attributes are valid: its name may go without the kernel.
_NEW_VALID = struct.Struct("=Q")
_NEW_VALID_AT = 24
_ATTR_VALID = struct.Struct("=QI")
_ATTR_SIZE = 104
_OPEN_FLAGS = struct.Struct("=II")  # open_flags, backing_id (padding to libfuse 2.9)
_OPEN_FLAGS_AT = 8
_OPEN_SIZE = 16
_NUMBER = struct.Struct("=Q")
_NODE_AT = 16
# A message that nobody asked for has no request's number, and its kind where errors are told; this
# one is about an inode, from an offset on, so many bytes (0: all).
_NOTIFY_INVAL_INODE = 2
_INVAL_INODE = struct.Struct("=Qqq")
# The body of a GETATTR: is there a handle, and which.
_GETATTR_FILE = struct.Struct("=IIQ")


def patch(opcode: int, body: memoryview, reply: Reply) -> None:
    """Write what `reply` wants into the body of an answer, in place."""
    if opcode == Op.LOOKUP and reply.is_link and len(body) == _ENTRY_SIZE:
        (node,) = _NUMBER.unpack_from(body)
        _NUMBER.pack_into(body, 0, node | _LINK)
    if opcode == Op.LOOKUP and reply.valid is not None and len(body) == _ENTRY_SIZE:
        _ENTRY_VALID.pack_into(body, _ENTRY_VALID_AT, reply.valid, reply.valid, 0, 0)
    if opcode == Op.CREATE and reply.valid is not None and len(body) == _ENTRY_SIZE + _OPEN_SIZE:
        _NEW_VALID.pack_into(body, _NEW_VALID_AT, reply.valid)
    if opcode == Op.GETATTR and reply.valid is not None and len(body) == _ATTR_SIZE:
        _ATTR_VALID.pack_into(body, 0, reply.valid, 0)
    elif opcode in (Op.OPEN, Op.CREATE) and reply.backing:
        # The kernel takes none of the flags about its cache with this one.
        flags = OpenFlag.PASSTHROUGH | reply.flags & OpenFlag.NOFLUSH
        place = _OPEN_FLAGS_AT if opcode == Op.OPEN else _ENTRY_SIZE + _OPEN_FLAGS_AT
        _OPEN_FLAGS.pack_into(body, place, flags, reply.backing)
    elif opcode in (Op.OPEN, Op.OPENDIR) and reply.flags and len(body) == _OPEN_SIZE:
        flags, _ = _OPEN_FLAGS.unpack_from(body, _OPEN_FLAGS_AT)
        _OPEN_FLAGS.pack_into(body, _OPEN_FLAGS_AT, flags | reply.flags, 0)


# struct fuse_direntplus is a fuse_entry_out, then a fuse_dirent: ino, off, namelen, type, the name.
_DIRENT = struct.Struct("=QQII")
_READDIR_SIZE = struct.Struct("=I")
_OPCODE_AT = 4


def without_attributes(buffer: bytearray | memoryview) -> None:
    """Make a READDIRPLUS, which libfuse does not know, a READDIR whose answer can be `widened`."""
    _READDIR_SIZE.pack_into(buffer, _OPCODE_AT, Op.READDIR)
    place = IN_HEADER.size + 16
    (size,) = _READDIR_SIZE.unpack_from(buffer, place)
    # With the shortest names, an answer gets five times as long.
    _READDIR_SIZE.pack_into(buffer, place, size // 5)


def widened(unique: int, names: memoryview) -> list[memoryview]:
    """The answer to a READDIR as one to READDIRPLUS that tells of no nodes (number 0)."""
    nothing = bytes(_ENTRY_SIZE)
    pieces: list[bytes | memoryview] = []
    place = 0
    while place + _DIRENT.size <= len(names):
        _, _, length, _ = _DIRENT.unpack_from(names, place)
        end = place + _DIRENT.size + -(-length // 8) * 8
        if end > len(names):
            break  # libfuse cuts what it has where the room ends; the kernel asks for it again
        pieces += (nothing, names[place:end])
        place = end
    body = b"".join(pieces)
    header = OUT_HEADER.pack(OUT_HEADER.size + len(body), 0, unique)
    return [memoryview(header), memoryview(body)]


def found(body: memoryview) -> int:
    """The node that a LOOKUP or MKDIR has found; 0 for none."""
    node: int = _NUMBER.unpack_from(body)[0]
    return node


def opened(request_node: int, body: memoryview) -> tuple[int, int]:
    """The node and the handle of a file, by the answer to its OPEN or CREATE."""
    if len(body) == _OPEN_SIZE:
        return request_node, _NUMBER.unpack_from(body)[0]
    return _NUMBER.unpack_from(body)[0], _NUMBER.unpack_from(body, _ENTRY_SIZE)[0]


def drop(node: int) -> bytes:
    """The notice that all the kernel has of a file's bytes and attributes is out of date."""
    body = _INVAL_INODE.pack(node, 0, 0)
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), _NOTIFY_INVAL_INODE, 0) + body


def outdated(node: int) -> bytes:
    """The notice that a file's attributes are no longer those that the kernel has."""
    body = _INVAL_INODE.pack(node, -1, 0)
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), _NOTIFY_INVAL_INODE, 0) + body


def linked(buffer: bytes | bytearray | memoryview) -> int:
    """The node that a LINK gives another name."""
    node: int = _NUMBER.unpack_from(buffer, IN_HEADER.size)[0]
    return node


def released(buffer: bytes | bytearray | memoryview) -> int:
    """The handle that a RELEASE gives back."""
    handle: int = _NUMBER.unpack_from(buffer, IN_HEADER.size)[0]
    return handle


def error(header: memoryview) -> int:
    """The errno of an answer, 0 for success."""
    return -int(OUT_HEADER.unpack_from(header)[1])


def fail(header: memoryview, number: int) -> None:
    """Let an answer that is an error be another one."""
    length, _, unique = OUT_HEADER.unpack_from(header)
    OUT_HEADER.pack_into(header, 0, length, -number, unique)


def name_handle(buffer: bytearray | memoryview, handle: int) -> None:
    """Let a GETATTR be about an open file."""
    _GETATTR_FILE.pack_into(buffer, IN_HEADER.size, 1, 0, handle)


def is_of_link(node: int) -> bool:
    """True for the number of a link."""
    return bool(node & _LINK)


def unmark(opcode: int, buffer: bytearray | memoryview) -> None:
    """Give libfuse its own numbers back in a request that may be about links."""
    places = [_NODE_AT]
    if opcode == Op.LINK:
        places.append(IN_HEADER.size)
    elif opcode == Op.BATCH_FORGET:
        (count,) = struct.unpack_from("=I", buffer, IN_HEADER.size)
        first = IN_HEADER.size + 8
        places += range(first, first + 16 * count, 16)
    for place in places:
        (node,) = _NUMBER.unpack_from(buffer, place)
        if node & _LINK:
            _NUMBER.pack_into(buffer, place, node & ~_LINK)
