"""Short ways to put things into a registry under test."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from modelfs.registry.local import (
    Bundle,
    InstanceRecord,
    Store,
    UploadedDirectory,
    UploadedFile,
    VersionRecord,
)

# Far from any real time, so that a time of the machine that got in shows.
NOW = 1_000_000_000.0

BASE = ("alice", "bert", "pytorch", "base")


class Clock:
    """A clock that stands still until told."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Filling:
    """Uploads and publishes into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, name: str, data: bytes) -> UploadedFile:
        """Uploads one file whole."""
        token = self._store.uploads.begin(name, len(data), NOW, "alice").token
        with self._store.uploads.open(token, 0) as writer:
            writer.write(data)
            assert writer.finish().is_complete
        return UploadedFile(token)

    def bundle(self, content: Mapping[str, bytes]) -> Bundle:
        """Uploads `{path: content}`; the tree of it."""
        files = tuple(self.put(path, data) for path, data in content.items() if "/" not in path)
        directories = []
        for top in sorted({path.split("/")[0] for path in content if "/" in path}):
            below = {
                path.removeprefix(f"{top}/"): data
                for path, data in content.items()
                if path.startswith(f"{top}/")
            }
            inner = self.bundle(below)
            directories.append(UploadedDirectory(top, inner.files, inner.directories))
        return Bundle(files, tuple(directories))

    def instance(self, content: Mapping[str, bytes], **fields: object) -> InstanceRecord:
        """Makes the model and the instance BASE with version 1."""
        self._store.create_model("alice", "bert", title="BERT")
        bundle = self.bundle(content)
        return self._store.create_instance(*BASE, bundle=bundle, fields=fields, notes="first")

    def version(self, content: Mapping[str, bytes], notes: str = "") -> VersionRecord:
        """Publishes the next version of BASE."""
        return self._store.create_version(*BASE, bundle=self.bundle(content), notes=notes)

    def paths(self, number: int | None = None) -> list[str]:
        """What version `number` of BASE holds."""
        version = self._store.version(*BASE, number)
        return [file.path for file in self._store.all_files(version)]


def zipped(content: Mapping[str, bytes]) -> bytes:
    """A ZIP archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return buffer.getvalue()
