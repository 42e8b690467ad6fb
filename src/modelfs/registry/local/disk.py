"""Small pieces of careful disk work: durable renames, whole-file writes, hashes of files.

Owns no state. A file appears under its final name only whole (temporary file, then rename).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c

from modelfs.errors import Error, NoSpace
from modelfs.model import Digests

# Large enough that a system call costs nothing beside hashing what it moved.
CHUNK = 1 << 20


class Hasher:
    """All the digests of one stream of bytes, in one pass."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c = 0

    def update(self, data: bytes) -> None:
        self._sha256.update(data)
        self._md5.update(data)
        self._crc32c = google_crc32c.extend(self._crc32c, data)

    def digests(self) -> Digests:
        return Digests(
            md5=self._md5.hexdigest(),
            crc32c=f"{self._crc32c:08x}",
            sha256=self._sha256.hexdigest(),
        )


def digests_of(fd: int) -> Digests:
    """The digests of an open file, from its first byte; the descriptor's position stays."""
    hasher = Hasher()
    offset = 0
    while data := os.pread(fd, CHUNK, offset):
        hasher.update(data)
        offset += len(data)
    return hasher.digests()


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of `data`; a kernel may take fewer at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_all_at(fd: int, data: bytes, offset: int) -> None:
    """Write every byte of `data` at `offset`, wherever an earlier write may have failed."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_disk(directory: Path) -> None:
    """Make everything written to the disk that `directory` is on durable, in one go."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(fd)


def replace_content(path: Path, content: bytes, *, is_durable: bool) -> None:
    """Give `path` this content, whole or not at all; durable only if asked, which costs."""
    temporary = path.with_name(f".{path.name}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, content)
        if is_durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path)
    if is_durable:
        sync_directory(path.parent)


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns an OSError into ours; `what` says which work failed, without a local path."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"{what}: the registry's disk is full") from exc
        raise Error(f"{what}: {exc.strerror or exc}") from exc
