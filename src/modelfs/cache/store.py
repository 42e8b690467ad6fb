"""The files of contents: where they lie, how they are opened, finished and dropped.

    objects/ab/<key>         complete and verified; on disk if it has its seal (see below)
    objects/ab/<key>.part    anything else: sparse, some blocks here
    objects/ab/<key>.map     which ones (blockmap)

A file is finished by making its bytes durable, setting its modification time to one that follows
from its key (the seal), then renaming it. A file of that name without the seal was written to by
somebody, or is a small one that may not be on disk yet (arriving); its bytes are not used before
they have been hashed again.

Several processes, and users of one group, use one directory. Who has a file open holds a shared
lock on it; who drops one needs the lock alone. Nothing planted here is followed: no symbolic link,
no special file. Raises OSError: callers read past a cache that does not work. No lock and no state
but paths.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from modelfs.cache import locks, mapfiles
from modelfs.cache.arriving import Arrival
from modelfs.cache.backing import Backing, Instance
from modelfs.cache.blockmap import block_count
from modelfs.cache.directory import FILE, Directory, entries, inode_of, remove, temporary
from modelfs.cache.evict import Stored
from modelfs.cache.keys import is_key, seal_of, size_of
from modelfs.cache.mapfiles import MAP

PART = ".part"
# What follows a key: of one process, or for whoever claims it (arriving).
_TEMPORARY = re.compile(r"(\d+\.\d+\.)?new")

# Last use is kept to the minute: enough to order whole files, and hardly any metadata writes.
_USED_STEP = 60.0
# Maps and temporary files of others are in use for a moment only.
_LEFTOVER_AGE = 3600.0
# Large enough that calls do not count, small enough for memory not to.
_COPY = 1 << 20


class Store:
    """The files of one cache directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def open(self, key: str) -> Backing | None:
        """The file of `key` as it is; None if there is none."""
        try:
            with self._directory.shard(key) as shard:
                return self._look(shard, key)
        except FileNotFoundError:
            return None

    def create(self, key: str) -> Backing:
        """The file of `key`, made if there is none."""
        with self._directory.shard(key, is_made=True) as shard:
            if found := self._look(shard, key):
                return found
            backing = self._open_part(shard, key, os.O_CREAT)
            # Finished by another process between our two looks.
            finished = self._open_finished(shard, key)
        if finished is not None:
            if backing is not None:
                self.drop(key, backing.inode)
            return finished
        if backing is None:
            raise OSError(errno.EAGAIN, "file is being dropped")
        return backing

    def arrival(self, key: str) -> Arrival:
        """To bring a small content that is not here."""
        return Arrival(self._directory, key)

    def is_finished(self, key: str) -> bool:
        try:
            with self._directory.shard(key) as shard:
                found = os.stat(key, dir_fd=shard, follow_symlinks=False)
        except OSError:
            return False
        return found.st_size == size_of(key) and _is_sealed(found, key)

    def exists(self, key: str) -> bool:
        """True if there is a file for `key`, finished or not."""
        try:
            with self._directory.shard(key) as shard:
                return any(inode_of(name, shard) for name in (key, key + PART))
        except OSError:
            return False

    def recorded(self, key: str) -> list[int]:
        """The blocks that seem to be here of a file that is not finished, or has no seal."""
        try:
            with self._directory.shard(key) as shard:
                if inode_of(key, shard) is not None:
                    return list(range(block_count(size_of(key))))
                block_map = mapfiles.sound(key, shard, size_of(key), os.O_RDONLY)
        except OSError:
            return []
        if block_map is None:
            return []
        try:
            return block_map.recorded_blocks()
        finally:
            os.close(block_map.fd)

    def finish(self, key: str, instance: Instance) -> None:
        """Give the file its seal and its name if it is that instance, whose bytes are on disk.

        An instance without a token has the name already.
        """
        token = instance.token
        with self._directory.shard(key) as shard:
            fd = os.open(key + PART if token else key, os.O_RDWR | FILE, dir_fd=shard)
            try:
                found = os.fstat(fd)
                if (found.st_ino, found.st_mtime_ns) != (instance.inode, instance.mtime_ns):
                    return
                if token and mapfiles.token(key, shard) != token:
                    return
                _seal(fd, key)
                if token:
                    os.rename(key + PART, key, src_dir_fd=shard, dst_dir_fd=shard)
                    remove(key + MAP, shard)
            finally:
                os.close(fd)

    def adopt(self, key: str, path: Path, *, is_copied: bool, is_synced: bool) -> None:
        """Make the file at `path`, whose bytes are right, the finished one of `key`.

        It has two names then, or is copied. Bytes are on disk before it is called finished; with
        `is_synced` they are already, and nothing is waited for.
        """
        name = temporary(key)
        with self._directory.shard(key, is_made=True) as shard:
            remove(name, shard)
            try:
                if is_copied:
                    _copy(path, name, shard)
                else:
                    os.link(path, name, dst_dir_fd=shard, follow_symlinks=False)
                fd = os.open(name, os.O_RDONLY | FILE, dir_fd=shard)
                try:
                    found = os.fstat(fd)
                    if not stat.S_ISREG(found.st_mode) or found.st_size != size_of(key):
                        raise OSError(errno.EINVAL, "not the file that was to be adopted")
                    if not is_synced:
                        os.fsync(fd)
                    os.fchmod(fd, 0o600)
                    self._directory.share(fd)
                    _seal(fd, key)
                finally:
                    os.close(fd)
                os.rename(name, key, src_dir_fd=shard, dst_dir_fd=shard)
            except OSError:
                remove(name, shard)
                raise

    def drop(self, key: str, inode: int) -> None:
        """Remove the file if it still is that one. Who has it open keeps it, nameless."""
        try:
            with self._directory.shard(key) as shard:
                for name in (key, key + PART):
                    if inode_of(name, shard) == inode:
                        remove(name, shard)
                        if name.endswith(PART):
                            remove(key + MAP, shard)
        except OSError:
            pass

    def evict(self, item: Stored) -> bool:
        """Remove a content that nobody has open; False if somebody has."""
        name = item.key if item.is_complete else item.key + PART
        try:
            with self._directory.shard(item.key) as shard:
                fd = os.open(name, os.O_RDWR | FILE, dir_fd=shard)
                try:
                    if not locks.claim_all(fd) or inode_of(name, shard) != os.fstat(fd).st_ino:
                        return False
                    remove(name, shard)
                    remove(item.key + MAP, shard)
                finally:
                    os.close(fd)
        except OSError:
            return False
        return True

    def scan(self) -> Iterator[Stored]:
        """Every content on disk, finished or not."""
        for shard in self._directory.shards():
            for name, found in entries(shard):
                key, is_part = name.removesuffix(PART), name.endswith(PART)
                if is_key(key) and stat.S_ISREG(found.st_mode):
                    allocated = found.st_blocks * 512
                    yield Stored(key, allocated, found.st_atime, is_complete=not is_part)

    def sweep(self) -> None:
        """Remove what interrupted processes left: old temporary files, maps without a file.

        Only of names that we give: another version of this program may use the directory as well.
        """
        old = time.time() - _LEFTOVER_AGE
        for shard in self._directory.shards():
            names = dict(entries(shard))
            for name, found in names.items():
                key, dot, suffix = name.partition(".")
                if found.st_mtime > old or not is_key(key):
                    continue
                if dot + suffix == PART and key in names:
                    self.evict(Stored(key, 0, 0.0, is_complete=False))
                elif (dot + suffix == MAP and key + PART not in names) or _TEMPORARY.fullmatch(
                    suffix
                ):
                    with suppress(OSError):  # one that cannot be removed keeps no other
                        (shard / name).unlink()

    def _look(self, shard: int, key: str) -> Backing | None:
        found = self._open_finished(shard, key) or self._open_part(shard, key, 0)
        # A file that is being finished is missed under its first name, then found under the other.
        return found or self._open_finished(shard, key)

    def _open_finished(self, shard: int, key: str) -> Backing | None:
        size = size_of(key)
        for _ in locks.attempts():
            fd = self._open(shard, key, os.O_RDONLY)
            if fd is None:
                return None
            try:
                if not self._is_held(fd, shard, key):
                    os.close(fd)
                    continue
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode) or found.st_size != size:
                    self.drop(key, found.st_ino)
                    os.close(fd)
                    return None
                _note_use(fd, found)
            except OSError:
                os.close(fd)
                raise
            backing = Backing(fd, size)
            if not _is_sealed(found, key):
                backing.is_whole, backing.is_suspect = False, True
            return backing
        return None

    def _open_part(self, shard: int, key: str, flags: int) -> Backing | None:
        size = size_of(key)
        for _ in locks.attempts():
            fd = self._open(shard, key + PART, os.O_RDWR | flags)
            if fd is None:
                return None
            try:
                if not self._is_held(fd, shard, key + PART):
                    os.close(fd)
                    continue
                found = os.fstat(fd)
                if stat.S_ISREG(found.st_mode) and found.st_size == 0:
                    self._directory.share(fd)
                    os.ftruncate(fd, size)
                elif found.st_size != size:
                    # Cut or grown by somebody else: nothing of it can be believed.
                    self.drop(key, found.st_ino)
                    os.close(fd)
                    continue
                _note_use(fd, found)
                block_map = mapfiles.opened(self._directory, shard, key, fd, size)
            except OSError:
                os.close(fd)
                raise
            backing = Backing(fd, size, block_map)
            # Finished between our looks at it and at its map, which is a new one then and empty.
            if inode_of(key + PART, shard) == found.st_ino:
                return backing
        return None

    def _is_held(self, fd: int, shard: int, name: str) -> bool:
        """Take our share of an opened file; False if it was dropped or renamed meanwhile."""
        return locks.mark_used(fd) and inode_of(name, shard) == os.fstat(fd).st_ino

    def _open(self, shard: int, name: str, flags: int) -> int | None:
        try:
            return os.open(name, flags | FILE, 0o600, dir_fd=shard)
        except FileNotFoundError:
            return None
        except OSError as exc:
            # A planted link, directory or socket: not ours, and in the way of what is.
            if exc.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                _clear(shard, name)
                return None
            raise


def _clear(shard: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=shard)
    except IsADirectoryError:
        os.rename(name, f"{name}.{os.getpid()}.foreign", src_dir_fd=shard, dst_dir_fd=shard)


def _copy(path: Path, name: str, shard: int) -> None:
    """A new file `name` with the bytes of `path`."""
    source = os.open(path, os.O_RDONLY | FILE)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE, 0o600, dir_fd=shard)
        with os.fdopen(source, "rb", closefd=False) as reader, os.fdopen(target, "wb") as writer:
            shutil.copyfileobj(reader, writer, _COPY)
    finally:
        os.close(source)


def _note_use(fd: int, found: os.stat_result) -> None:
    now = time.time()
    if now - found.st_atime < _USED_STEP:
        return
    try:
        os.utime(fd, ns=(int(now * 1e9), found.st_mtime_ns))
    except OSError:
        # Another user's file: reading it moves the time as far as the mount options let it.
        pass


def _seal(fd: int, key: str) -> None:
    os.utime(fd, ns=(os.fstat(fd).st_atime_ns, seal_of(key) * 10**9))


def _is_sealed(found: os.stat_result, key: str) -> bool:
    return found.st_mtime_ns == seal_of(key) * 10**9
