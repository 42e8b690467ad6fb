"""How far a transfer is: a value for those who show it, counted by many threads, told by one.

One lock, held for arithmetic only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is.

    `current` are files on their way with the bytes of each that are there, `note` is what went
    wrong last, and `ignored` are names in a folder that are not published.
    """

    phase: str = ""
    files: int = 0
    files_done: int = 0
    bytes: int = 0
    bytes_done: int = 0
    current: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    ignored: tuple[str, ...] = ()


# Told several times a second, on the thread that made the call; what it raises ends the call.
Tell = Callable[[Progress], None]


class Tally:
    """The counts of one transfer."""

    def __init__(self, phase: str, files: int, size: int) -> None:
        self._phase = phase
        self._files = files
        self._bytes = size
        self._lock = threading.Lock()
        self._files_done = self._bytes_done = 0
        self._current: dict[str, int] = {}
        self._note = ""

    def moved(self, name: str, count: int) -> None:
        """The first `count` bytes of a file are there."""
        with self._lock:
            self._bytes_done += count - self._current.get(name, 0)
            self._current[name] = count

    def finished(self, name: str, size: int) -> None:
        with self._lock:
            self._bytes_done += size - self._current.pop(name, 0)
            self._files_done += 1
            self._note = ""

    def failed(self, note: str) -> None:
        with self._lock:
            self._note = note

    def told(self) -> Progress:
        with self._lock:
            return Progress(
                self._phase,
                self._files,
                self._files_done,
                self._bytes,
                self._bytes_done,
                dict(self._current),
                self._note,
            )
