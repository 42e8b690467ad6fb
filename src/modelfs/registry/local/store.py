"""A directory as a registry (signatures; the bodies follow the agreed interface)."""

from __future__ import annotations

from pathlib import Path

from modelfs.registry.local.uploads import Uploads


class Store:
    """A directory as a registry: metadata in SQLite, files by content digest."""

    uploads: Uploads

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError
