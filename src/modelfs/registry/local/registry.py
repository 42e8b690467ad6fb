"""`local:DIR` as a Registry (signatures; the bodies follow)."""

from __future__ import annotations

from pathlib import Path


class LocalRegistry:
    """A directory as a Registry, read only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
