"""Resumable uploads (signatures; the bodies follow)."""

from __future__ import annotations

from types import TracebackType

from modelfs.registry.local.records import Upload


class UploadWriter:
    """Writes one session's bytes from an offset on; a context manager, one at a time."""

    def write(self, data: bytes) -> None:
        raise NotImplementedError

    def finish(self) -> Upload:
        raise NotImplementedError

    def __enter__(self) -> UploadWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        raise NotImplementedError


class Uploads:
    """Resumable uploads."""

    def begin(self, name: str, size: int, mtime: float, owner: str) -> Upload:
        raise NotImplementedError

    def find(self, token: str) -> Upload:
        raise NotImplementedError

    def open(self, token: str, offset: int) -> UploadWriter:
        raise NotImplementedError
