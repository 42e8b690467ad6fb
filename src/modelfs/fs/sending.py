"""The files of one attempt on their way: hashed, perhaps packed, then uploaded, each on its thread.

While one file is sent others are hashed. Their pieces in memory are counted with all bytes on their
way; where there is no memory for one, it comes back later and keeps no thread until then. Owns the
archive while it is sent, which is made once and has no name. A context manager; called by many
threads at once, each for another file. No lock: what one file changes is its own.
"""

from __future__ import annotations

import os
from dataclasses import replace
from types import TracebackType

from modelfs.buffers import Buffers, Loan
from modelfs.fs import packing, sealing
from modelfs.fs.course import Course
from modelfs.fs.journal import Item, Journal
from modelfs.fs.material import Material
from modelfs.fs.uploading import Uploads
from modelfs.registry.base import WritableRegistry

# What a file needs in memory: to be sent, and to be hashed; that goes faster with more.
_PIECE = 256 << 10
# All that is published is one place: it never takes what readers need.
_PLACE = "publishing"
# Until somebody will have given some back.
_LATER = 0.2


class Sending:
    """What is sent for `course`; `known` is what was remembered of an attempt before."""

    def __init__(
        self,
        registry: WritableRegistry,
        material: Material,
        course: Course,
        known: Journal,
        memory: Buffers,
    ) -> None:
        self._memory = memory
        self._material = material
        self._course = course
        self._known = known
        self._uploads = Uploads(
            registry, self._open, course.progress, course.patience, lambda: course.is_over
        )
        self._packed = [item for item in course.journal.items.values() if item.is_packed]
        self._archive = course.journal.archive
        self._archive_fd = -1
        self._hashed = 0
        # Is something that an earlier attempt uploaded in use, which was not known before?
        self.has_reused = False

    @property
    def changes(self) -> int:
        """Counts what is worth remembering."""
        return self._uploads.changes + self._hashed

    def send(self, item: Item, buffer: memoryview) -> float | None:
        """Have one file there: None when it is, or in how many seconds to try again."""
        loan = self._memory.at_once(self._needed(item, _PIECE), _PLACE)
        if loan is None:
            return _LATER
        with loan:
            if not item.digests and self._is_known(item, buffer, loan):
                self.has_reused = True
                self._course.progress.arrived(item)
                return None
            return self._uploads.send(item)

    def _needed(self, item: Item, most: int) -> int:
        # How large the archive will be is not known before.
        return most if item is self._archive else min(most, max(item.stamp.size, 1))

    def _is_known(self, item: Item, buffer: memoryview, loan: Loan) -> bool:
        """Hash a file, with more memory if there is some; true if an earlier attempt sent it."""
        buffer = buffer[: loan.grow(self._needed(item, len(buffer)))]
        if item is self._archive:
            self._pack(item, buffer)
            known = self._known.archive
        else:
            path = self._material.path(item.path)
            digests = sealing.hashed(path, item, buffer, lambda: self._course.is_over)
            self._course.check_over()  # else they are of the whole file
            item.digests = digests
            known = self._known.items.get(item.path)
        self._hashed += 1
        loan.shrink(_PIECE)
        return reuse(item, known)

    def _pack(self, archive: Item, buffer: memoryview) -> None:
        self._archive_fd = packing.fill(
            archive,
            self._packed,
            self._material.path,
            self._material.scratch,
            buffer,
            lambda: self._course.is_over,
        )

    def _open(self, item: Item) -> int:
        if item is self._archive:
            return os.dup(self._archive_fd)
        return sealing.open_item(self._material.path(item.path), item)

    def __enter__(self) -> Sending:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._archive_fd >= 0:
            fd, self._archive_fd = self._archive_fd, -1
            os.close(fd)


def recall(item: Item, known: Item | None) -> bool:
    """True if the hashes of a file are known, as it has not been touched since."""
    if known is None or known.stamp != item.stamp or not known.digests:
        return False
    item.digests = known.digests
    return True


def reuse(item: Item, known: Item | None) -> bool:
    """Take over what was uploaded in an earlier attempt; true if all of it was."""
    if known is None or replace(known.part, token="") != item.part:
        return False
    item.session, item.token = known.session, known.token
    return bool(item.token)
