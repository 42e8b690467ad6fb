"""Answers what the kernel asks about published versions whose tree is in memory, past libfuse.

libfuse 2.9 has no READDIRPLUS, finds every name by building a path, and calls back into Python
through four layers. What is published never changes, so its nodes can be numbered and packed once
(`published.py`) and handed out by number. `docs/decisions/0006-published-nodes.md` says why.

A version's own directory stays a node of libfuse: it may be a draft a moment before, or gone a
moment later. What is below it is ours. What is asked about that is not answered here, all that
changes something above all, is asked about the version's directory instead, and libfuse goes on to
refuse it: so there is one place that decides what may change.

Owns which directories are versions, and the trees of which the kernel knows nodes. One lock, for
the counts of what it knows; never held across anything else.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelfs.fs.handles import FileSlice
from modelfs.fs.nodes import identity, inode
from modelfs.fs.tree import Place
from modelfs.fs.versions import VersionTree
from modelfs.fs.writing import is_written
from modelfs.model import RESERVED
from modelfs.mount import wire
from modelfs.mount.passthrough import Passthrough
from modelfs.mount.published import NOTHING, OURS, SERIALS, Look, Nodes, serial_of
from modelfs.mount.wire import Op, OpenFlag

if TYPE_CHECKING:
    from modelfs.mount.binding import Opened, Operations

# A body to answer with, or where in a file it lies; None: libfuse is to answer.
Answer = bytes | memoryview | FileSlice | None

_IN = wire.IN_HEADER.size
# fuse_read_in: fh, offset, size. A READDIR's is the same.
_READ = struct.Struct("=QQI")
_NUMBER = struct.Struct("=Q")
_COUNT = struct.Struct("=I")
_NODE_AT = 16
# The head of a BATCH_FORGET, and struct fuse_forget_one: nodeid, nlookup.
_COUNTS = 8
_FORGOTTEN = struct.Struct("=QQ")
_OPEN_OUT = struct.Struct("=QII")
_SIZE = struct.Struct("=II")
# The handle of every directory that is open here: there is nothing to remember about it. libfuse's
# are addresses, and never such.
_DIRECTORY = OURS
_OPENED_DIRECTORY = _OPEN_OUT.pack(_DIRECTORY, OpenFlag.KEEP_CACHE | OpenFlag.CACHE_DIR, 0)

_RESERVED = RESERVED.encode()

# The answer to what is not answered.
SILENCE = memoryview(b"")


@dataclass(slots=True)
class _Version:
    """A directory of libfuse's that is a published version."""

    place: Place
    # How often the kernel was told of it; and its tree, once somebody looked into it.
    told: int = 0
    nodes: Nodes | None = None


class Overlay:
    """The published versions of one mount, as the session loop asks about them.

    `reply` gives what the operation at hand wants of the answer.
    """

    def __init__(
        self,
        operations: Operations,
        passthrough: Passthrough,
        reply: Callable[[], wire.Reply],
        look: Look,
    ) -> None:
        self._operations = operations
        self._passthrough = passthrough
        self._reply = reply
        self._look = look
        self._serials = itertools.count(1)
        self._lock = threading.Lock()
        # By the number that libfuse gave its directory.
        self._versions: dict[int, _Version] = {}
        # By serial: the trees of which the kernel knows a node.
        self._known: dict[int, Nodes] = {}
        # What is answered about nodes of ours, and in a version's directory.
        self._own: dict[int, Callable[[Nodes, int, memoryview], Answer]] = {
            Op.LOOKUP: self._lookup,
            Op.GETATTR: lambda nodes, node, _: nodes.attributes(node),
            Op.OPENDIR: lambda nodes, node, _: _OPENED_DIRECTORY,
            Op.READDIR: self._readdir,
            Op.READDIRPLUS: self._readdirplus,
            Op.RELEASEDIR: lambda nodes, node, _: b"",
            Op.FSYNCDIR: _refuse,
            Op.IOCTL: _refuse,
            Op.OPEN: self._open,
            Op.READ: self._read,
            Op.FLUSH: lambda nodes, node, _: b"",
            Op.RELEASE: self._release,
            Op.GETXATTR: self._getxattr,
            Op.LISTXATTR: self._listxattr,
        }

    def __len__(self) -> int:
        """Of how many versions' directories, and trees of them, the kernel knows something."""
        return len(self._versions) + len(self._known)

    def told(self, node: int, place: Place | None) -> None:
        """The kernel is about to hear from libfuse of `node`: that published version, or none."""
        if place is None and node not in self._versions:
            return
        with self._lock:
            if place is None:
                self._versions.pop(node, None)
                return
            version = self._versions.get(node)
            if version is None or version.place != place:
                version = self._versions[node] = _Version(place)
            version.told += 1

    def answer(self, opcode: int, node: int, request: memoryview) -> Answer:
        """What to answer a request; raises OSError with the errno that is the answer.

        May change the request into another one, for libfuse to answer.
        """
        if node & OURS:
            if opcode == Op.FORGET:
                return self._forget(node, _NUMBER.unpack_from(request, _IN)[0])
            known, act = self._nodes(node), self._own.get(opcode)
            if act is not None:
                return act(known, node, request)
            _NUMBER.pack_into(request, _NODE_AT, known.top)
        elif node in self._versions:
            if opcode == Op.FORGET:
                self._forget_version(node, _NUMBER.unpack_from(request, _IN)[0])
            elif self._is_ours_in_version(opcode, request) and (nodes := self._look_into(node)):
                return self._own[opcode](nodes, node, request)
        if opcode in (Op.LINK, Op.RENAME):
            # The other thing that they are about.
            (other,) = _NUMBER.unpack_from(request, _IN)
            if other & OURS:
                _NUMBER.pack_into(request, _IN, self._nodes(other).top)
        elif opcode == Op.BATCH_FORGET:
            return self._forget_many(request)
        return None

    # What the kernel knows.

    def _nodes(self, node: int) -> Nodes:
        """The tree that a node of ours is in."""
        try:
            return self._known[serial_of(node)]
        except KeyError:
            raise OSError(errno.ESTALE, "no such node") from None

    def _is_ours_in_version(self, opcode: int, request: memoryview) -> bool:
        """What is in a version is ours; not its directory itself, nor what tells of the cache."""
        if opcode == Op.LOOKUP:
            return _name(request) != _RESERVED
        if opcode in (Op.READDIR, Op.READDIRPLUS, Op.RELEASEDIR, Op.FSYNCDIR, Op.IOCTL):
            (handle,) = _NUMBER.unpack_from(request, _IN)
            return bool(handle == _DIRECTORY)
        return opcode == Op.OPENDIR

    def _look_into(self, node: int) -> Nodes | None:
        """The tree of a version, by its directory; None while the version may still change."""
        version = self._versions.get(node)
        if version is None:
            return None
        nodes = version.nodes
        if nodes is None:
            place = version.place
            tree: VersionTree = self._operations("version", place)
            if not tree.manifest.is_final:
                return None
            assert place.registry is not None  # noqa: S101 - a version is in one
            above = inode(identity(place.registry.traits.identity, place.ref.parent))
            nodes = Nodes(tree, next(self._serials) % SERIALS, node, self._look, above)
            version.nodes = nodes
        return nodes

    def _tell(self, nodes: Nodes, count: int) -> None:
        with self._lock:
            nodes.told += count
            self._known[nodes.serial] = nodes

    def _forget(self, node: int, count: int) -> memoryview:
        with self._lock:
            nodes = self._known.get(serial_of(node))
            if nodes is not None:
                nodes.told -= count
                if nodes.told <= 0:
                    # Its memory is of no use any more; who looks into the version has a new one.
                    del self._known[nodes.serial]
                    version = self._versions.get(nodes.top)
                    if version is not None and version.nodes is nodes:
                        version.nodes = None
        return SILENCE

    def _forget_version(self, node: int, count: int) -> None:
        with self._lock:
            version = self._versions.get(node)
            if version is not None:
                version.told -= count
                if version.told <= 0:
                    del self._versions[node]

    def _forget_many(self, request: memoryview) -> Answer:
        """Take what is ours out of a BATCH_FORGET, and leave libfuse the rest."""
        (count,) = _COUNT.unpack_from(request, _IN)
        first = _IN + _COUNTS
        end = first + count * _FORGOTTEN.size
        rest = []
        for node, times in _FORGOTTEN.iter_unpack(request[first:end]):
            if node & OURS:
                self._forget(node, times)
            else:
                if node in self._versions:
                    self._forget_version(node, times)
                rest.append(_FORGOTTEN.pack(node, times))
        _COUNT.pack_into(request, _IN, len(rest))
        left = b"".join(rest)
        request[first : first + len(left)] = left
        return None if rest else SILENCE

    # Names.

    def _lookup(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        entry = nodes.directory(node).entry(_name(request))
        if entry is None:
            return NOTHING
        self._tell(nodes, 1)
        return entry

    def _readdir(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        _, place, size = _READ.unpack_from(request, _IN)
        return nodes.directory(node).names(place, size)

    def _readdirplus(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        _, place, size = _READ.unpack_from(request, _IN)
        entries, count = nodes.directory(node).entries(place, size)
        if count:
            self._tell(nodes, count)
        return entries

    # Files.

    def _open(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        if is_written(_COUNT.unpack_from(request, _IN)[0]):
            _NUMBER.pack_into(request, _NODE_AT, nodes.top)
            return None
        opened: Opened = self._operations("open_published", nodes.version.node(nodes.path(node)))
        reply = self._reply()
        flags = int(reply.flags)
        if backing := self._passthrough.opened(node, reply.offer):
            flags = flags & OpenFlag.NOFLUSH | OpenFlag.PASSTHROUGH
        else:
            flags |= OpenFlag.KEEP_CACHE if opened.keep_cache else 0
            flags |= OpenFlag.DIRECT_IO if opened.direct_io else 0
        return _OPEN_OUT.pack(opened.handle, flags, backing)

    def _read(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        handle, offset, size = _READ.unpack_from(request, _IN)
        found: bytes | FileSlice = self._operations("read", size, offset, handle)
        return found

    def _release(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        self._passthrough.released(node)
        self._operations("release", None, _NUMBER.unpack_from(request, _IN)[0])
        return b""

    # Extended attributes.

    def _getxattr(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        size, _ = _SIZE.unpack_from(request, _IN)
        name = os.fsdecode(_name(request, _IN + _SIZE.size))
        path = nodes.path(node)
        return _sized(self._operations("xattr_published", nodes.version.node(path), name), size)

    def _listxattr(self, nodes: Nodes, node: int, request: memoryview) -> Answer:
        size, _ = _SIZE.unpack_from(request, _IN)
        found = self._operations("xattrs_published", nodes.version.node(nodes.path(node)))
        return _sized(b"".join(name.encode() + b"\0" for name in found), size)


def _refuse(nodes: Nodes, node: int, request: memoryview) -> Answer:
    """libfuse would take our word for an open directory for the address of one of its own."""
    raise OSError(errno.ENOSYS, "not served")


def _name(request: memoryview, start: int = _IN) -> bytes:
    """The name, up to the end of the request and the NUL that ends it."""
    (length,) = _COUNT.unpack_from(request)
    return bytes(request[start : length - 1])


def _sized(value: bytes, size: int) -> bytes:
    """An extended attribute for who has room for so many bytes; 0 asks for how many there are."""
    if not size:
        return _SIZE.pack(len(value), 0)
    if len(value) > size:
        raise OSError(errno.ERANGE, "the value is longer")
    return value
