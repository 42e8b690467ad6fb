"""Kernel calls in, package calls out: convert, call, convert back; and the errno boundary.

Every operation of the kernel is decided here on purpose: served, refused with EROFS, or left to
libfuse, which answers what we do not have. Nothing foreign gets past `__call__`.
"""

from __future__ import annotations

import errno
import itertools
import json
import logging
import os
import stat
from collections.abc import Callable
from typing import Any

from modelfs.cache.blocks import BlockCache
from modelfs.errors import Error, Interrupted, NotFound, NotPermitted, ReadOnly, Unsupported
from modelfs.fs.handles import FileSlice, Handles, cached_bytes
from modelfs.fs.nodes import Kind, Node
from modelfs.fs.tree import Listed, Place, Tree
from modelfs.fs.versions import VersionTree, file_xattrs
from modelfs.fs.writing import LocalHandle, is_written
from modelfs.mount.binding import Opened, pack_stat, pack_status
from modelfs.mount.changes import Changes
from modelfs.mount.published import FOREVER, Look
from modelfs.mount.records import GAUGES
from modelfs.mount.wire import OpenFlag, Reply

log = logging.getLogger(__name__)

# For how long the kernel may keep what changes seldom, and not by us alone.
_SHORTLY = 1

# What a disk answers all day about the files of drafts.
_ORDINARY = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}
_ORDINARY |= {errno.ENODATA, errno.ELOOP, errno.EXDEV}

# What every directory lists first. Not by number 0, with which the C library lists nothing; this
# one says, as libfuse's does, that the number is not told.
_NOT_TOLD = 0xFFFFFFFF
_DOTS = ((".", Kind.DIRECTORY, _NOT_TOLD), ("..", Kind.DIRECTORY, _NOT_TOLD))

_SERVED = {"getattr", "readlink", "opendir", "readdir", "releasedir", "open", "read_buf", "release"}
_SERVED |= {"flush", "fsync", "statfs", "getxattr", "listxattr", "init", "destroy"}
# The overlay's calls, about what it has found itself: version, open_published, xattrs_published,
# and read and release as they are.
# Find something by its name.
_LOOKING = {"getattr", "readlink", "opendir", "open", "getxattr", "listxattr"}
# Of `Changes`; refused with EROFS in a mount that changes nothing.
_CHANGES = {"mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link", "chmod", "chown"}
_CHANGES |= {"truncate", "utimens", "create", "write", "setxattr", "removexattr"}
# Answered by libfuse with ENOSYS, which the kernel then does itself or takes for success: access
# (modes are checked by the kernel: default_permissions), locks (one machine's are enough), bmap,
# ioctl, fsyncdir.
OPERATIONS = frozenset(_SERVED | _CHANGES)


class _Answer(OSError):
    """An errno that is the answer, not a failure: nobody needs to read of it in the log."""


class Ops:
    """The operations of one mount. `reply` gives what to change in the answer at hand."""

    use_ns = True
    # Operations on handles come without a path: libfuse need not build one.
    flag_nullpath_ok = True
    flag_nopath = True
    # Times may be omitted, or be "now".
    flag_utime_omit_ok = True

    def __init__(
        self,
        tree: Tree,
        handles: Handles,
        cache: BlockCache,
        changes: Changes,
        *,
        reply: Callable[[], Reply],
        look: Look,
        gauges: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self._tree = tree
        self._handles = handles
        self._cache = cache
        self._changes = changes
        self._reply = reply
        self._gauges = gauges
        self._owner = (look.uid, look.gid)
        self._daemon = (os.getuid(), os.getgid())
        self._mask = ~look.umask
        self._listings: dict[int, list[Listed]] = {}
        self._numbers = itertools.count(1)

    def __getattr__(self, name: str) -> str:
        """fusepy asks which operations there are by asking for attributes."""
        if name in OPERATIONS:
            return name
        raise AttributeError(name)

    def __call__(self, operation: str, *args: Any) -> Any:
        """Serve one call of the kernel; raises OSError with an errno and nothing else."""
        try:
            if operation in _CHANGES:
                return getattr(self._changes, operation)(*args)
            method = getattr(self, f"_{operation}")
            try:
                return method(*args)
            except FileNotFoundError:
                if operation not in _LOOKING:
                    raise
                return method(*args)  # what was local a moment ago may be published now
        except (NotFound, ReadOnly, NotPermitted, Unsupported, Interrupted) as exc:
            raise OSError(exc.errno, str(exc)) from exc
        except Error as exc:
            log.warning("%s: %s", operation, exc)
            number = exc.errno
            if operation == "rename" and number == errno.EINVAL:
                number = errno.EPERM  # EINVAL is, to mv(1), a directory on its way into itself
            raise OSError(number, str(exc)) from exc
        except _Answer:
            raise
        except OSError as exc:
            # A disk's, with a number; requests' exceptions, which never come here, have none.
            if exc.errno not in _ORDINARY:
                log.warning("%s: %s", operation, exc)
            raise OSError(exc.errno or errno.EIO, str(exc)) from exc
        except Exception as exc:
            log.exception("%s failed in a way it should not", operation)
            raise OSError(errno.EIO, "internal error") from exc

    def _init(self, path: str) -> None:
        """Everything that can fail was done before the mount."""

    def _destroy(self, path: str) -> None:
        """The session ends its parts itself."""

    # Names.

    def _getattr(self, path: str | None, number: int | None = None) -> bytes:
        if path is None or number:
            found = self._handles[number or 0].stat()
            if isinstance(found, Node):
                return self._stat(found)
            if found.st_nlink == 1:
                # The kernel sees all that changes it; of what has two names it sees one.
                self._reply().valid = _SHORTLY
            return self._local_stat(found)
        reply = self._reply()
        place = self._tree.place(path, is_inside=not (reply.is_lookup or reply.is_link))
        if holder := self._changes.holder(place):
            try:
                status = holder.stat(place.ref, place.path)
            except FileNotFoundError:
                if self._changes.holder(place) is None:
                    raise  # it may be published now
                raise _Answer(errno.ENOENT, "no such file") from None
            if stat.S_ISDIR(status.st_mode):
                self._reply().valid = _SHORTLY
            return self._local_stat(status)
        try:
            node = self._changes.node(place)
        except NotFound:
            if place.path and self._tree.is_final(place):
                self._reply().valid = FOREVER  # nor will there ever be such a file
            raise
        reply.is_link = node.kind is Kind.LINK
        if place.is_in_version and not place.path and not reply.is_link:
            # Who was in a draft of ours goes on under the numbers that he knows.
            reply.published = None if self._tree.is_new(place) else place
        return self._stat(node, stat.S_IWUSR if self._changes.can_change(place, node) else 0)

    def _local_stat(self, status: os.stat_result) -> bytes:
        """What we made on the disk belongs to whom the rest of the mount belongs to."""
        owner = status.st_uid, status.st_gid
        return pack_status(status, *(self._owner if owner == self._daemon else owner))

    def _stat(self, node: Node, more: int = 0) -> bytes:
        self._reply().valid = FOREVER if node.is_fixed else _SHORTLY
        uid, gid = self._owner
        return pack_stat(
            mode=(node.kind | more) & self._mask,
            ino=node.ino,
            # 1 for directories tells find(1) that it cannot save looks by counting links.
            nlink=1,
            uid=uid,
            gid=gid,
            size=node.size,
            mtime=node.mtime,
        )

    def _readlink(self, path: str) -> str:
        place = self._tree.place(path)
        if holder := self._changes.holder(place):
            return os.readlink(holder.path(place.ref, place.path))
        node = self._changes.node(place)
        if node.kind is not Kind.LINK or node.content is None:
            raise _Answer(errno.EINVAL, "not a link")
        return node.content.decode()

    def _opendir(self, path: str) -> int:
        place = self._tree.place(path, is_inside=True)
        listing = list(self._changes.listing(place))
        if self._tree.is_final(place):
            self._reply().flags = OpenFlag.KEEP_CACHE | OpenFlag.CACHE_DIR
        number = next(self._numbers)
        self._listings[number] = listing
        return number

    def _readdir(self, number: int) -> list[Listed]:
        return [*_DOTS, *self._listings[number]]

    def _releasedir(self, path: str | None, number: int) -> None:
        del self._listings[number]

    # Files.

    def _open(self, path: str, flags: int) -> Opened:
        place = self._tree.place(path)
        if is_written(flags):
            return self._changes.open(path, flags)
        # By whom has it now: what is a version a moment later is gone there, and looked for again.
        if holder := self._changes.holder(place):
            return self._changes.opened(holder, place, flags)
        # What the kernel has of a draft may be older than what was published of it.
        return self._open_node(self._changes.node(place), is_stale=self._tree.is_new(place))

    def _open_published(self, node: Node) -> Opened:
        return self._open_node(node, is_stale=False)

    def _open_node(self, node: Node, *, is_stale: bool) -> Opened:
        reply = self._reply()
        number, is_kept = self._handles.open(node, reply.node, is_stale=is_stale)
        reply.offer = self._handles[number].whole_fd()
        reply.flags = OpenFlag.NOFLUSH  # nobody has written anything: no need to ask on close
        # Without this the kernel drops what it has before the caller has the file open, and waits
        # for the reads of all others before that. No text is waited for.
        keep_cache = node.origin is not None or (node.is_fixed and not is_stale)
        # What may change is read as it was at open, whatever size the kernel remembers.
        return Opened(number, keep_cache=keep_cache, direct_io=not is_kept)

    def _read(self, size: int, offset: int, number: int) -> bytes | FileSlice:
        return self._handles[number].read(size, offset)

    def _release(self, path: str | None, number: int) -> None:
        self._handles.close(number)

    def _flush(self, path: str | None, number: int) -> None:
        handle = self._handles[number]
        if isinstance(handle, LocalHandle):
            handle.flush()

    def _fsync(self, path: str | None, is_data_only: int, number: int) -> None:
        handle = self._handles[number]
        if isinstance(handle, LocalHandle):
            handle.sync(bool(is_data_only))

    # The rest.

    def _statfs(self, path: str) -> dict[str, int]:
        space = self._cache.space()
        block = 4096
        return {
            "f_bsize": block,
            "f_frsize": block,
            "f_blocks": space.total // block,
            "f_bfree": space.free // block,
            "f_bavail": space.free // block,
            "f_namemax": 255,
        }

    def _getxattr(self, path: str, name: str) -> bytes:
        _check_kind(name)
        place = self._tree.place(path)
        if holder := self._changes.holder(place):
            return holder.getxattr(place.ref, place.path, name)
        return _xattr(self._xattrs(place), name)

    def _xattr_published(self, node: Node, name: str) -> bytes:
        _check_kind(name)
        return _xattr(self._xattrs_published(node), name)

    def _listxattr(self, path: str) -> list[str]:
        place = self._tree.place(path)
        if holder := self._changes.holder(place):
            return holder.listxattr(place.ref, place.path)
        return list(self._xattrs(place))

    def _xattrs(self, place: Place) -> dict[str, str]:
        if place.is_root:
            return {GAUGES: json.dumps({"open": len(self._handles), **self._gauges()})}
        if not place.is_in_version:
            return {}
        return self._xattrs_published(self._changes.node(place))

    def _xattrs_published(self, node: Node) -> dict[str, str]:
        origin = node.origin
        return file_xattrs(origin, cached_bytes(self._cache, origin)) if origin else {}

    def _version(self, place: Place) -> VersionTree:
        assert place.registry is not None  # noqa: S101 - a version is in one
        return self._tree.version(place.registry, place.ref)


def _check_kind(name: str) -> None:
    if not name.startswith("user."):
        # Access lists and labels: `ls -l` asks for them with every name, unless it has been told
        # once that there is no such thing here.
        raise _Answer(errno.EOPNOTSUPP, "no attributes of that kind")


def _xattr(told: dict[str, str], name: str) -> bytes:
    try:
        return told[name].encode()
    except KeyError:
        raise _Answer(errno.ENODATA, "no such attribute") from None
