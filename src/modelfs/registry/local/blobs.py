"""File contents by digest: one immutable file per distinct content.

Owns `blobs/ab/<sha256>` and the temporary files on their way there. Content is written and
synced before it gets its name, so a blob that exists is whole. Knows nothing of versions. No
locks: a rename is atomic, and the same name always means the same bytes.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from modelfs.errors import NotFound, TooLarge
from modelfs.model import Digests
from modelfs.registry.local.disk import (
    CHUNK,
    Hasher,
    disk_errors,
    sync_directory,
    sync_disk,
    write_all,
)

# More files than this are synced with their whole disk: each by itself takes a few milliseconds.
_FEW = 16

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Readable(Protocol):
    """What content comes from."""

    def read(self, size: int, /) -> bytes: ...


class Blobs:
    """A store of contents; `temporary` is a directory of the same file system."""

    def __init__(self, directory: Path, temporary: Path) -> None:
        self._directory = directory
        self._temporary = temporary

    def path(self, sha256: str) -> Path:
        """Where the content of that digest is, if it is here; NotFound if that is no digest."""
        if not _SHA256.fullmatch(sha256):
            raise NotFound(f"not a sha256: {sha256!r}")
        return self._directory / sha256[:2] / sha256

    def has(self, sha256: str, size: int) -> bool:
        """Whether the whole content is here."""
        try:
            return self.path(sha256).stat().st_size == size
        except OSError:
            return False

    @contextmanager
    def arriving(self) -> Iterator[Arrivals]:
        """Contents that come together: kept once all of them have come, or none is.

        Durable after `sync` of their digests. What is raised meanwhile goes through.
        """
        arrivals = Arrivals(self._temporary)
        try:
            yield arrivals
            with disk_errors("content cannot be kept"):
                arrivals.sync()
            for file, sha256 in arrivals.files:
                self.adopt(file, sha256)
        finally:
            for file, _ in arrivals.files:
                file.unlink(missing_ok=True)

    def adopt(self, file: Path, sha256: str) -> None:
        """Make a complete and synced `file` the content of that digest, by a rename.

        Where the content is here already it is replaced by its equal: that heals a damaged one,
        and makes it young again for `sweep`. Durable after `sync`.
        """
        target = self.path(sha256)
        with disk_errors("content cannot be kept"):
            file.chmod(0o444)
            target.parent.mkdir(exist_ok=True)
            os.replace(file, target)

    def sync(self, digests: Iterable[str]) -> None:
        """Make the names of these contents durable: to be called before anything refers to them."""
        directories = {self.path(sha256).parent for sha256 in digests}
        with disk_errors("content cannot be kept"):
            if len(directories) > _FEW:
                sync_disk(self._directory)
                return
            for directory in sorted(directories):
                sync_directory(directory)
            sync_directory(self._directory)

    def older_than(self, moment: float) -> Iterator[str]:
        """Digests of the contents that were last brought here before `moment`."""
        for directory in sorted(self._directory.iterdir()):
            for name in sorted(os.listdir(directory)):
                if _SHA256.fullmatch(name) and self._is_older(directory / name, moment):
                    yield name

    def remove_older(self, sha256: str, moment: float) -> bool:
        """Remove a content unless it was brought here again since `moment`; whether it went."""
        path = self.path(sha256)
        if not self._is_older(path, moment):
            return False
        path.unlink(missing_ok=True)
        return True

    @staticmethod
    def _is_older(path: Path, moment: float) -> bool:
        try:
            # A rename sets the change time, whenever the bytes were written.
            return path.stat().st_ctime < moment
        except FileNotFoundError:
            return False


class Arrivals:
    """Contents on their way, as files of `temporary` that have no name of a content yet."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary
        self.files: list[tuple[Path, str]] = []

    def add(self, source: Readable, limit: int) -> tuple[int, Digests]:
        """Take everything `source` gives; its size and digests. TooLarge beyond `limit` bytes."""
        with disk_errors("content cannot be kept"):
            fd, name = tempfile.mkstemp(dir=self._temporary)
        try:
            size, digests = _copy(source, fd, limit)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        self.files.append((Path(name), digests.sha256))
        return size, digests

    def sync(self) -> None:
        """Have all of them on the disk for certain."""
        if len(self.files) > _FEW:
            sync_disk(self._temporary)
            return
        for file, _ in self.files:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _copy(source: Readable, fd: int, limit: int) -> tuple[int, Digests]:
    hasher = Hasher()
    size = 0
    while data := source.read(CHUNK):
        size += len(data)
        if size > limit:
            raise TooLarge(f"content is larger than {limit} bytes")
        hasher.update(data)
        with disk_errors("content cannot be kept"):
            write_all(fd, data)
    return size, hasher.digests()
