"""The cache directory itself: who may use it, what its files may be, what is pinned in it.

    objects/ab/...     contents (store)
    digests/ab         what the registry told about files (digestlog)
    pins/<key>@<who>   contents that are not evicted

Files and directories in it are as open to others as it is itself, and it must be ours or made for a
group. No symbolic link is followed. Raises OSError where not said otherwise. No lock.
"""

from __future__ import annotations

import ctypes
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelfs.errors import Forbidden, NoSpace

FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_RDONLY
_SUBDIRECTORIES = ("objects", "digests", "pins")


@dataclass(frozen=True, slots=True)
class Space:
    """The disk the cache is on, in bytes: what there is, and what we may still write."""

    total: int
    free: int


class Directory:
    """One cache directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._objects = path / "objects"
        # Opened for each look-up, and joining paths takes as long as opening one.
        self._shards = f"{self._objects}/"
        self.digests = path / "digests"
        self._pins = path / "pins"
        # Read and write for others, as far as the directory has it.
        self._shared_bits = 0
        self._mode = 0o700

    def prepare(self) -> None:
        """Create what is missing and look at what is there.

        Raises Forbidden for a directory that is not for us to use, NoSpace if none can be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.lstat(self.path)
        except OSError as exc:
            hint = "MODELFS_CACHE_DIR names another"
            raise NoSpace(f"no cache directory: {self.path}: {exc.strerror}", hint=hint) from exc
        if not stat.S_ISDIR(found.st_mode):
            raise Forbidden(f"the cache directory is not a directory itself: {self.path}")
        if found.st_uid != os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise Forbidden(f"the cache directory is another user's: {self.path}")
        self._shared_bits = found.st_mode & 0o066
        self._mode = stat.S_IMODE(found.st_mode) & 0o2777
        for name in _SUBDIRECTORIES:
            try:
                self._make_directory(self.path / name)
            except FileExistsError as exc:
                raise Forbidden(f"not a directory, in the cache: {name}") from exc
            except OSError:
                # A full or read-only disk: everything is read past the cache.
                return

    @contextmanager
    def shard(self, key: str, is_made: bool = False) -> Iterator[int]:
        """The directory that the files of `key` are in, open."""
        begin = key.index("-") + 1
        path = self._shards + key[begin : begin + 2]
        try:
            fd = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            if not is_made:
                raise
            self._make_directory(self._objects)
            self._make_directory(Path(path))
            fd = os.open(path, _DIRECTORY)
        try:
            yield fd
        finally:
            os.close(fd)

    def shards(self) -> list[Path]:
        """All such directories."""
        try:
            with os.scandir(self._objects) as found:
                return [Path(entry) for entry in found if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []

    def share(self, fd: int) -> None:
        """Give a file that we made to those the directory is for."""
        if self._shared_bits:
            os.fchmod(fd, 0o600 | self._shared_bits)

    def sync(self) -> None:
        """Make everything written to the cache's disk durable."""
        sync_disk(self.path)

    def space(self) -> Space:
        found = os.statvfs(self.path)
        return Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)

    def pin(self, key: str, who: str) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | FILE
        try:
            fd = os.open(self._pins / f"{key}@{who}", flags, 0o600)
        except FileExistsError:
            return  # another user's, it may be
        try:
            self.share(fd)
        finally:
            os.close(fd)

    def unpin(self, who: str) -> None:
        for name in self._pin_names():
            if name.endswith(f"@{who}"):
                (self._pins / name).unlink(missing_ok=True)

    def pinned(self) -> frozenset[str]:
        """The keys of pinned contents."""
        return frozenset(name.partition("@")[0] for name in self._pin_names())

    def _pin_names(self) -> list[str]:
        try:
            return os.listdir(self._pins)
        except FileNotFoundError:
            return []

    def _make_directory(self, path: Path) -> None:
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if path.is_symlink() or not path.is_dir():
                raise
            return
        if self._mode != 0o700:
            path.chmod(self._mode)


def sync_disk(directory: Path) -> None:
    """Make everything written to the disk that `directory` is on durable."""
    fd = os.open(directory, _DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)


def inode_of(name: str, shard: int) -> int | None:
    """The number of the file of that name in an open directory; None if there is none."""
    try:
        return os.stat(name, dir_fd=shard, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return None


def temporary(key: str) -> str:
    """The name of a file on its way to another name, of this thread alone."""
    return f"{key}.{os.getpid()}.{threading.get_ident()}.new"


def remove(name: str, shard: int) -> None:
    """Remove a file from an open directory, if it is there."""
    try:
        os.unlink(name, dir_fd=shard)
    except FileNotFoundError:
        pass


def entries(directory: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The names in a directory and what they are; what goes meanwhile is left out."""
    try:
        with os.scandir(directory) as found:
            for entry in found:
                try:
                    yield entry.name, entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
    except FileNotFoundError:
        return
