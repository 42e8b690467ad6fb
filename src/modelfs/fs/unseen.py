"""Files of drafts that are written to without our being asked, as the kernel does it by itself.

Who has such a file open, or mapped, cannot be refused a write any more: so nothing is published of
a draft in which there is one, and this is what knows. A mapping outlives the descriptors that it
was made from, and nobody is told of its end; but the disk can be asked: it grants a read lease on a
file only while nobody has it open for writing, by whatever way. Who still has files open by a mount
before this one is found in the same way.

Owns a descriptor of each such file, by which its present name is known. One lock, for the table of
them, held while the system is asked what they are, which takes microseconds and no I/O.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

# Anybody but us: the disk has to tell of files that are not ours as well.
_SOMEBODY = 65534
_LOOK_AGAIN = 0.01
# There are hardly ever more; a program may keep thousands mapped.
_AT_ONCE = 32


class Unseen:
    """The files below `directory` that others may write to past us."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        # By our descriptors: what is open, as far as we know; and what may still be mapped.
        self._open: set[int] = set()
        self._closed: deque[int] = deque()
        self.can_tell = False

    def start(self, drafts: Iterable[Path]) -> None:
        """Find out whether the disk tells, and which files in `drafts` somebody still has."""
        self.can_tell = _can_tell(self._directory)
        if not self.can_tell:
            return
        for draft in drafts:
            for path in _files(draft):
                fd = _opened(path)
                if fd is not None and is_written(fd):
                    self._closed.append(fd)
                elif fd is not None:
                    os.close(fd)

    def stop(self) -> None:
        with self._lock:
            files = [*self._open, *self._closed]
            self._open.clear()
            self._closed.clear()
        for fd in files:
            os.close(fd)

    def add(self, fd: int) -> int:
        """The file of `fd` may be written to past us from now on; ours of it, for `remove`.

        To be called before it is asked whether its draft may change.
        """
        ours = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        with self._lock:
            self._open.add(ours)
        return ours

    def remove(self, ours: int) -> None:
        """Who was given the file has closed it; what is mapped of it may still be written to."""
        with self._lock:
            if ours not in self._open:
                return  # `stop` has closed it
            self._open.remove(ours)
            self._closed.append(ours)
        self.look()  # in the moment of its last close it is still open: then with a later one

    def look(self) -> None:
        """See which of what was closed is written to no more, and let go of it."""
        if not self._closed:
            return
        with self._lock:
            some = min(_AT_ONCE, len(self._closed))
            self._sort([self._closed.popleft() for _ in range(some)])

    def _sort(self, closed: Iterable[int]) -> None:
        """Let go of what is not written to any more; under the lock, by calls that do no I/O."""
        for fd in closed:
            if os.fstat(fd).st_nlink and is_written(fd):
                self._closed.append(fd)
            else:
                os.close(fd)

    def within(self, directory: Path) -> list[str]:
        """The files in a directory that may be written to past us, by their paths there."""
        with self._lock:
            closed, self._closed = self._closed, deque()
            self._sort(closed)
            files = [*self._open, *self._closed]
            if not files:
                return []
            found = [(os.fstat(fd).st_nlink, os.readlink(f"/proc/self/fd/{fd}")) for fd in files]
        top = f"{os.path.realpath(directory)}/"
        # Of what has several names, nobody knows where the others are.
        return [
            name.removeprefix(top)
            for links, name in found
            if links > 1 or (links and name.startswith(top))
        ]

    def wait(self, directory: Path, seconds: float, pause: Callable[[float], None]) -> str:
        """Wait until there is none in a directory; one that is left after so many seconds."""
        end = time.monotonic() + seconds
        while (found := self.within(directory)) and time.monotonic() < end:
            pause(_LOOK_AGAIN)
        return found[0] if found else ""


def is_written(fd: int) -> bool:
    """True while somebody has the file of `fd`, which is open for reading, open for writing.

    A shared mapping of such a descriptor counts; one that nobody can tell of does.
    """
    try:
        # Whoever opens it for writing just now waits until the lease is given back.
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    return False


def _can_tell(directory: Path) -> bool:
    """Whether the disk says who has a file open for writing, whoever it belongs to."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            if not os.geteuid():
                os.fchown(file.fileno(), _SOMEBODY, _SOMEBODY)
            fd = os.open(file.name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                is_noticed = is_written(fd)
                file.close()
                return is_noticed and not is_written(fd)
            finally:
                os.close(fd)
    except OSError:
        return False


def _files(directory: Path) -> Iterator[str]:
    pending = [os.fspath(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path
        except OSError:
            continue


def _opened(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        if exc.errno == errno.EMFILE:
            raise
        return None
