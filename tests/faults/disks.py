"""Disks that fail at a chosen call: an errno for the n-th call into a directory, or from it on.

Owns what stands in for the calls of `os` while it is entered. Calls are told apart by the path or
the descriptor they get: what is not in the directory works as ever.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

_OPENING = ("open", "listdir", "scandir")
_WRITING = ("pwrite", "write", "ftruncate", "fsync", "utime", "fchmod", "rename", "replace")
_WRITING += ("link", "mkdir", "unlink")
_READING = ("pread", "fstat", "stat", "lstat", "statvfs")
_CREATING = os.O_CREAT | os.O_WRONLY | os.O_RDWR

# What a call of each kind may fail with: full, no inodes (the same), over quota, broken, out of
# descriptors, read-only.
FAILURES: dict[int, tuple[str, ...]] = {
    errno.ENOSPC: ("creating", *_WRITING),
    errno.EDQUOT: ("creating", *_WRITING),
    errno.EROFS: ("creating", *_WRITING),
    errno.EMFILE: ("creating", *_OPENING),
    errno.EIO: ("creating", *_OPENING, *_WRITING, *_READING),
}


class Disk:
    """Fails the `at`-th call that can fail with `number`, and all after it if it `lasts`."""

    def __init__(self, directory: Path, number: int, at: int, *, lasts: bool) -> None:
        self._directory = str(directory)
        self._number = number
        self._at = at
        self._lasts = lasts
        self._lock = threading.Lock()
        self._patches: list[Any] = []
        # Calls so far, and those that failed.
        self.calls = 0
        self.failed: list[str] = []

    def __enter__(self) -> Disk:
        # Descriptors of what is open are looked up before anything is replaced.
        self._readlink = os.readlink
        for name in (*_OPENING, *_WRITING, *_READING):
            self._patches.append(
                mock.patch.object(os, name, self._failing(name, getattr(os, name)))
            )
        self._patches.append(mock.patch.object(io, "open", self._failing("open", io.open)))
        for patch in self._patches:
            patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for patch in self._patches:
            patch.stop()

    def _failing(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def meddled(*arguments: Any, **options: Any) -> Any:
            kind = name
            if name == "open" and len(arguments) > 1:
                flags = arguments[1]
                is_made = flags & _CREATING if isinstance(flags, int) else "r" not in str(flags)
                kind = "creating" if is_made else name
            if kind in FAILURES[self._number] and arguments and self._is_ours(arguments[0]):
                with self._lock:
                    self.calls += 1
                    fails = self.calls == self._at or (self._lasts and self.calls > self._at)
                    if fails:
                        self.failed.append(name)
                if fails:
                    raise OSError(self._number, os.strerror(self._number), str(arguments[0]))
            return call(*arguments, **options)

        return meddled

    def _is_ours(self, what: object) -> bool:
        if isinstance(what, int):
            try:
                what = self._readlink(f"/proc/self/fd/{what}")
            except OSError:
                return False
        return isinstance(what, str | os.PathLike) and os.fspath(what).startswith(self._directory)
