"""One file of a user's directory, written from the cache.

Names come from a registry: every directory on the way is opened without following links, so that
nothing is written anywhere else. The file appears under its name whole or not at all. No lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from modelfs.cache.keys import Check
from modelfs.cache.opened import CachedFile
from modelfs.errors import Corrupt, Error, Forbidden, NoSpace, WrongState
from modelfs.waiting import wait

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
# From linux/fs.h; Python names it since 3.12 only.
_FICLONE = 0x40049409
_STEP = 1 << 20
_NO_COPY = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM})


class Target:
    """The file `path` in `directory`; a context manager that makes the directories above it."""

    def __init__(self, directory: Path, path: str) -> None:
        self._directory = directory
        self._path = path
        self._name = path.rpartition("/")[2]
        self._parent = -1

    def __enter__(self) -> Target:
        with self._converted():
            self._parent = os.open(self._directory, _DIRECTORY)
            try:
                for part in self._path.split("/")[:-1]:
                    self._descend(part)
            except BaseException:
                os.close(self._parent)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._parent)

    def _descend(self, name: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=self._parent)
        below = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self._parent)
        os.close(self._parent)
        self._parent = below

    @property
    def size(self) -> int | None:
        """Of the file that is there; None if none is. WrongState for what is no plain file."""
        with self._converted():
            try:
                found = os.lstat(self._name, dir_fd=self._parent)
            except FileNotFoundError:
                return None
        if not stat.S_ISREG(found.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no plain file"
            raise WrongState(f"{self._path} is in the way: it is {kind}")
        return found.st_size

    def has(self, check: Check) -> bool:
        """True if the file that is there has the bytes that it should have."""
        with self._converted():
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(self._name, flags, dir_fd=self._parent)
            try:
                return bool(check.expected) and check.accepts(_hashed(fd, check))
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def new(self) -> Iterator[int]:
        """A descriptor of a new file without the name; removed if it is not `put`."""
        with self._converted():
            _ = self.size
            self._temporary = f".{secrets.token_hex(8)}.part"
            fd = os.open(self._temporary, _NEW, 0o666, dir_fd=self._parent)
            try:
                yield fd
            finally:
                os.close(fd)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._temporary, dir_fd=self._parent)

    def check(self, fd: int, check: Check) -> None:
        """Raise Corrupt if what was written is not what it should be."""
        if check.expected and not check.accepts(_hashed(fd, check)):
            raise Corrupt(f"{self._path}: the bytes that arrived do not agree with their digest")

    def put(self, fd: int, mtime: float | None) -> None:
        """Give the new file its name, in place of what had it."""
        if mtime is not None:
            os.utime(fd, (mtime, mtime))
        self._rename()

    def link(self, fd: int) -> None:
        """Give the open file a name here: one file with two names. Copies nothing."""
        with self._converted():
            _ = self.size
            self._temporary = f".{secrets.token_hex(8)}.part"
            os.link(f"/proc/self/fd/{fd}", self._temporary, dst_dir_fd=self._parent)
            self._rename()

    def _rename(self) -> None:
        os.rename(self._temporary, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)

    def _converted(self) -> contextlib.AbstractContextManager[None]:
        return converted(self._path)


@contextlib.contextmanager
def converted(path: str) -> Iterator[None]:
    """What the disk refuses, as errors of ours."""
    try:
        yield
    except OSError as exc:
        raise _error(exc)(f"{path} cannot be written: {exc.strerror}") from exc


def _error(error: OSError) -> type[Error]:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace
    return Forbidden if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else WrongState


def write(directory: Path, path: str, content: bytes) -> None:
    """Have a small file in `directory`."""
    with Target(directory, path) as target, target.new() as fd:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        target.put(fd, None)


def copy(cached: CachedFile, fd: int, check_over: Callable[[], None]) -> None:
    """All bytes of `cached` into the empty file `fd`: shared where the disk can, else copied."""
    if cached.size and cached.is_verified:
        source = cached.readable_fd(0, cached.size)
        if source is not None and _is_cloned(source, fd):
            return
    at, is_copying = 0, True
    while at < cached.size:
        check_over()
        size = min(_STEP, cached.size - at)
        source = cached.readable_fd(at, size) if is_copying else None
        if source is not None:
            try:
                count = os.copy_file_range(source, fd, size, at, at)
            except OSError as exc:
                if exc.errno not in _NO_COPY:
                    raise
                count = 0
            at += count
            is_copying = bool(count)
            continue
        data = cached.read(at, size)
        if data is None:
            data = wait(cached.fetch(at, size))
        at += os.pwrite(fd, data, at)


def _is_cloned(source: int, fd: int) -> bool:
    try:
        fcntl.ioctl(fd, _FICLONE, source)
    except OSError:
        return False
    return True


def _hashed(fd: int, check: Check) -> str:
    hasher, buffer, at = check.hasher(), memoryview(bytearray(_STEP)), 0
    while count := os.preadv(fd, [buffer], at):
        hasher.update(buffer[:count])
        at += count
    return hasher.hexdigest()
