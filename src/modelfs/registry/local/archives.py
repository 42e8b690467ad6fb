"""Whole versions as archives, the same bytes whenever one is built.

Owns `archives/<version id>.tar.gz`. An archive is built once, by the first who asks, while others
wait for it; it gets its name when it is whole. One lock guards who builds what, never the work.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

from modelfs.errors import Corrupt
from modelfs.model import Digests
from modelfs.registry.local.disk import CHUNK, Hasher, disk_errors, sync_directory, write_all
from modelfs.registry.local.records import FileRecord, VersionRecord
from modelfs.waiting import wait

# Whoever asks second waits for the builder: a terabyte is packed in about this time.
_PATIENCE = 4 * 3600.0

# Weights hardly compress, so nothing is: storing is several times as fast as the fastest level, and
# what is stored does not depend on the version of zlib.
_LEVEL = 0

_NAME = re.compile(r"([0-9]+)\.tar\.gz")


class Archives:
    """The archives of versions; `temporary` is a directory of the same file system."""

    def __init__(self, directory: Path, temporary: Path) -> None:
        self._directory = directory
        self._temporary = temporary
        self._lock = threading.Lock()
        self._building: dict[int, Future[tuple[int, Digests]]] = {}

    def path(self, version_id: int) -> Path:
        return self._directory / f"{version_id}.tar.gz"

    def has(self, version_id: int, size: int) -> bool:
        try:
            return self.path(version_id).stat().st_size == size
        except OSError:
            return False

    def build(
        self,
        version: VersionRecord,
        files: Sequence[FileRecord],
        content: Callable[[str], Path],
    ) -> tuple[int, Digests]:
        """Build a version's archive of `files`, or wait for who is at it; its size and digests.

        `content` tells where the content of a digest is.
        """
        with self._lock:
            running = self._building.get(version.id)
            future: Future[tuple[int, Digests]] = running or Future()
            self._building[version.id] = future
        if running:
            return wait(running, _PATIENCE)
        try:
            future.set_result(self._build(version, files, content))
        except BaseException as exc:
            future.set_exception(exc)
        finally:
            with self._lock:
                del self._building[version.id]
        return future.result(timeout=0)

    def version_ids(self) -> Iterator[int]:
        """The versions that have an archive."""
        for entry in sorted(self._directory.iterdir()):
            if match := _NAME.fullmatch(entry.name):
                yield int(match[1])

    def remove(self, version_id: int) -> None:
        self.path(version_id).unlink(missing_ok=True)

    def _build(
        self,
        version: VersionRecord,
        files: Sequence[FileRecord],
        content: Callable[[str], Path],
    ) -> tuple[int, Digests]:
        with disk_errors("archive cannot be built"):
            fd, name = tempfile.mkstemp(dir=self._temporary)
            try:
                try:
                    sink = _HashedFile(fd)
                    _pack(sink, version, files, content)
                    os.fchmod(fd, 0o444)
                    os.fsync(fd)
                finally:
                    os.close(fd)
                os.replace(name, self.path(version.id))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            sync_directory(self._directory)
        return sink.size, sink.digests()


class _HashedFile(io.RawIOBase):
    """An open file, written in order, whose size and digests are known at the end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._hasher = Hasher()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        write_all(self._fd, data)
        self._hasher.update(data)
        self.size += len(data)
        return len(data)

    def digests(self) -> Digests:
        return self._hasher.digests()


def _pack(
    sink: _HashedFile,
    version: VersionRecord,
    files: Sequence[FileRecord],
    content: Callable[[str], Path],
) -> None:
    """Write the archive: everything in it follows from the version, nothing from the moment."""
    with (
        gzip.GzipFile("", "wb", _LEVEL, sink, mtime=0) as packed,
        tarfile.TarFile(
            mode="w", fileobj=packed, format=tarfile.PAX_FORMAT, copybufsize=CHUNK
        ) as archive,
    ):
        for file in sorted(files, key=lambda file: file.path):
            member = tarfile.TarInfo(file.path)
            member.size = file.size
            member.mtime = int(version.created)
            member.mode = 0o644
            with content(file.sha256).open("rb") as source:
                if os.fstat(source.fileno()).st_size != file.size:
                    raise Corrupt(f"{file.path}: content is damaged")
                archive.addfile(member, source)
