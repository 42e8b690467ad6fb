"""How far an attempt at publishing is: numbers for people, asked for at any time without I/O.

Written by the attempt's threads, read by the mount's. One lock, held for arithmetic only.
"""

from __future__ import annotations

import threading

from modelfs.fs.journal import Item, Journal
from modelfs.waiting import Clock


class Progress:
    """The counts of one attempt."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.phase = "checking"
        # What the registry said last, if it was not good news.
        self.note = ""
        self.ignored: tuple[str, ...] = ()
        self._files = self._files_done = self._bytes = 0
        # What is sent in one piece, and how many files and bytes of them that stands for.
        self._archive: Item | None = None
        self._packed = self._packed_bytes = 0
        self._counts: dict[str, int] = {}
        self._current: dict[str, None] = {}
        # Bytes that are there, of all files; and how many of them were there at the beginning.
        self.sent = self._sent_before = 0
        self._since: float | None = None

    def uploading(self, journal: Journal) -> None:
        self.began(journal)
        self.phase = "uploading"
        self._since = self._clock()

    def began(self, journal: Journal) -> None:
        """Take over what the journal says."""
        items = journal.items.values()
        with self._lock:
            self.ignored = journal.ignored
            self._files = len(journal.items)
            self._bytes = sum(item.stamp.size for item in items)
            packed = [item.stamp.size for item in items if item.is_packed]
            self._packed, self._packed_bytes = len(packed), sum(packed)
            self._archive = journal.archive
            there = {item.path: item.stamp.size for item in items if item.token}
            self._files_done = len(there)
            if journal.archive and journal.archive.token:
                there[journal.archive.path] = self._packed_bytes
                self._files_done += self._packed
            if self._since is None:
                self._counts = there
                self.sent = self._sent_before = sum(there.values())

    def sending(self, item: Item, count: int) -> None:
        """`count` bytes of a file are there."""
        with self._lock:
            if item is self._archive:
                # Told are the bytes of the files, of which an archive has a few more.
                count = min(count, self._packed_bytes)
            self.sent += count - self._counts.get(item.path, 0)
            self._counts[item.path] = count
            self._current[item.path] = None

    def arrived(self, item: Item) -> None:
        self.sending(item, item.stamp.size)
        with self._lock:
            self._files_done += self._packed if item is self._archive else 1
            self._current.pop(item.path, None)

    def current(self) -> dict[str, int]:
        """The files that are being sent, and how many bytes of each are there."""
        with self._lock:
            return {path: self._counts[path] for path in self._current}

    def told(self) -> dict[str, object]:
        """For status.json."""
        with self._lock:
            told: dict[str, object] = {
                "phase": self.phase,
                "files": self._files,
                "files_done": self._files_done,
                "bytes": self._bytes,
                "bytes_sent": self.sent,
                "percent": round(100 * self.sent / self._bytes, 1) if self._bytes else 0.0,
                "ignored": list(self.ignored),
            }
            if self.note:
                told["note"] = self.note
            seconds = self._clock() - self._since if self._since is not None else 0.0
            rate = (self.sent - self._sent_before) / seconds if seconds > 0 else 0.0
            if self.phase == "uploading" and rate > 0:
                told["rate"] = round(rate)
                told["seconds_left"] = round((self._bytes - self.sent) / rate)
        return told
