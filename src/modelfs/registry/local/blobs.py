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
from pathlib import Path
from typing import Protocol

from modelfs.errors import NotFound, TooLarge
from modelfs.model import Digests
from modelfs.registry.local.disk import CHUNK, Hasher, disk_errors, sync_directory, write_all

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

    def add(self, source: Readable, limit: int) -> tuple[int, Digests]:
        """Keep everything `source` gives; its size and digests. TooLarge beyond `limit` bytes.

        Durable after `sync` of the digest. What `source` raises goes through.
        """
        with disk_errors("content cannot be kept"):
            fd, name = tempfile.mkstemp(dir=self._temporary)
        try:
            try:
                size, digests = self._copy(source, fd, limit)
                with disk_errors("content cannot be kept"):
                    os.fsync(fd)
            finally:
                os.close(fd)
            self.adopt(Path(name), digests.sha256)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return size, digests

    def _copy(self, source: Readable, fd: int, limit: int) -> tuple[int, Digests]:
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
        with disk_errors("content cannot be kept"):
            for directory in sorted({self.path(sha256).parent for sha256 in digests}):
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
