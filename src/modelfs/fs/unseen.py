"""Files of drafts that are written to without our being asked, as the kernel does it by itself.

Who has such a file open, or mapped, cannot be refused a write any more: so nothing is published of
a draft in which there is one, and this is what knows. A mapping outlives the descriptors that it
was made from, and nobody is told of its end; but the disk can be asked: it grants a read lease on a
file only while nobody has it open for writing, by whatever way. Who still has files open by a mount
before this one is found in the same way.

Owns a descriptor of each such file, by which its present name is known. One lock, for the table of
them; what they are is asked of the disk without it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

# Anybody but us: the disk has to tell of files that are not ours as well.
_SOMEBODY = 65534
_LOOK_AGAIN = 0.01


class Unseen:
    """The files below `directory` that others may write to past us."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        # Whether it is open, as far as we know, by our descriptor; else it is mapped at most.
        self._files: dict[int, bool] = {}
        self.can_tell = False

    def start(self, drafts: Iterable[Path]) -> None:
        """Find out whether the disk tells, and which files in `drafts` somebody still has."""
        self.can_tell = _can_tell(self._directory)
        if not self.can_tell:
            return
        for draft in drafts:
            for path in _files(draft):
                fd = _open(path)
                if fd is None:
                    continue
                if is_written(fd):
                    self._files[fd] = False
                else:
                    os.close(fd)

    def stop(self) -> None:
        with self._lock:
            files, self._files = list(self._files), {}
        for fd in files:
            os.close(fd)

    def add(self, fd: int) -> int:
        """The file of `fd` may be written to past us from now on; ours of it, for `remove`.

        To be called before it is asked whether its draft may change.
        """
        ours = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        with self._lock:
            self._files[ours] = True
        return ours

    def remove(self, ours: int) -> None:
        """Who was given the file has closed it; what is mapped of it may still be written to."""
        is_mapped = is_written(ours)
        with self._lock:
            if is_mapped and ours in self._files:
                self._files[ours] = False
                return
            is_there = self._files.pop(ours, None) is not None
        if is_there:
            os.close(ours)

    def within(self, directory: Path) -> list[str]:
        """The files in a directory that may be written to past us, by their paths there."""
        with self._lock:
            files = list(self._files.items())
        top = f"{os.path.realpath(directory)}/" if files else ""
        found: list[str] = []
        for fd, is_open in files:
            if not is_open and not is_written(fd):
                self._forget(fd)
                continue
            try:
                status, name = os.fstat(fd), os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue  # closed meanwhile
            if status.st_nlink and name.startswith(top):
                found.append(name.removeprefix(top))
            elif status.st_nlink > 1:
                found.append(name)  # nobody knows where its other names are
        return found

    def wait(self, directory: Path, seconds: float, pause: Callable[[float], None]) -> str:
        """Wait until there is none in a directory; one that is left after so many seconds."""
        end = time.monotonic() + seconds
        while (found := self.within(directory)) and time.monotonic() < end:
            pause(_LOOK_AGAIN)
        return found[0] if found else ""

    def _forget(self, fd: int) -> None:
        with self._lock:
            is_there = self._files.get(fd) is False and self._files.pop(fd) is False
        if is_there:
            os.close(fd)


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


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        if exc.errno == errno.EMFILE:
            raise
        return None
