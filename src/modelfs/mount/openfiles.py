"""What the kernel does not tell with a request: which handles a file has, whose thread asks.

Owns the handles of open files by the kernel's number of the file; one lock, for single look-ups.
"""

from __future__ import annotations

import os
import re
import threading


class OpenFiles:
    """The handles of open files, by the kernel's number of the file.

    Linux does not tell with fstat(2) which handle is meant, and libfuse finds a file only by its
    name: of one that was unlinked it knows nothing.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: dict[int, list[int]] = {}

    def add(self, node: int, handle: int) -> None:
        with self._lock:
            self._handles.setdefault(node, []).append(handle)

    def remove(self, node: int, handle: int) -> None:
        with self._lock:
            handles = self._handles.get(node, [])
            if handle in handles:
                handles.remove(handle)
            if not handles:
                self._handles.pop(node, None)

    def find(self, node: int) -> int | None:
        """One of the file's handles, if it is open."""
        with self._lock:
            handles = self._handles.get(node)
            return handles[-1] if handles else None


# The line is the fourth.
_STATUS = 512
_PROCESS = re.compile(rb"^Tgid:\s*(\d+)$", re.MULTILINE)


def process_of(thread: int) -> int:
    """The process that a thread belongs to: the kernel tells us only the thread."""
    try:
        fd = os.open(f"/proc/{thread}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return thread
    try:
        status = os.read(fd, _STATUS)
    except OSError:
        return thread
    finally:
        os.close(fd)
    found = _PROCESS.search(status)
    return int(found[1]) if found else thread
