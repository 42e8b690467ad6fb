"""Tells the publisher what happens to files of drafts that are open for writing. No lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelfs.model import NOTES
from modelfs.refs import Ref

if TYPE_CHECKING:
    from modelfs.fs.local import Local


class DraftWatcher:
    """Tells the publisher what happens to a draft's file that is open for writing."""

    def __init__(self, local: Local, ref: Ref, path: str) -> None:
        self._opening = local.publisher.opened(ref)
        self._local = local
        self._path = path

    def writing(self) -> None:
        self._local.publisher.check_writable(self._opening.ref)

    def written(self) -> None:
        self._local.tell(self._opening.ref, self._path)

    def flushed(self, size: int) -> None:
        if self._path == NOTES and size:
            self._local.noted(self._opening.ref)

    def closed(self) -> None:
        self._opening.closed()
