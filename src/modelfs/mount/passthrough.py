"""FUSE passthrough: the kernel reads a cached file itself, and we are not woken.

A file that is complete and verified in the cache is registered with the kernel as the backing
file of its inode; reads and mappings then go to it at native speed and share its page cache. Needs
Linux 6.9, the capability to administer the system, and a cache that is not on a stacked file
system; where one is missing, files are served as ever.

Owns which of the kernel's nodes are open, and what backs them. The kernel allows one way at a time
per node: whoever opens a file first decides for all who open it until the last of them has closed
it; a file that is still being downloaded then changes its way with its next open. One lock guards
the table, and is held across the kernel's answer, which takes microseconds and waits for nobody:
two opens of one file must not register it twice.
"""

from __future__ import annotations

import enum
import errno
import fcntl
import logging
import os
import struct
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from modelfs.errors import Unsupported

log = logging.getLogger(__name__)

# include/uapi/linux/fuse.h: FUSE_DEV_IOC_BACKING_OPEN, FUSE_DEV_IOC_BACKING_CLOSE.
_BACKING_OPEN = 0x4010E501
_BACKING_CLOSE = 0x4004E502
# struct fuse_backing_map: fd, flags, padding; the answer is the id.
_MAP = struct.Struct("=iIQ")
_ID = struct.Struct("=I")

_REASONS = {
    errno.EPERM: "only root (CAP_SYS_ADMIN) may ask the kernel for it",
    errno.ELOOP: "the cache directory is on a stacked file system",
}


class Choice(enum.StrEnum):
    """Whether reads are to be passed through: where it can be done, or the mount fails, or not."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(slots=True)
class _Use:
    """One node that is open: how often, and its backing id (0: served by us)."""

    opens: int
    backing: int


class Passthrough:
    """The backed files of one mount, which lie in `directory`. Off until `start`."""

    def __init__(self, choice: Choice, directory: Path) -> None:
        self._choice = choice
        self._directory = directory
        self._fd = -1
        self._lock = threading.Lock()
        self._uses: dict[int, _Use] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether the kernel is to be asked for it."""
        return self._choice is not Choice.OFF

    @property
    def is_on(self) -> bool:
        """Whether the kernel does it."""
        return self._fd >= 0

    def start(self, fd: int, *, is_offered: bool) -> None:
        """Find out whether the kernel at `fd`, which has been answered, really does it.

        Unsupported if it does not and that was not left to us.
        """
        if not self.is_wanted:
            return
        reason = self._try(fd) if is_offered else "the kernel has none: Linux 6.9 and later do"
        if not reason:
            self._fd = fd
        elif self._choice is Choice.ON:
            raise Unsupported(f"reads cannot be passed through: {reason}")
        else:
            log.info("reads are served without passthrough: %s", reason)

    def opened(self, node: int, fd: int | None) -> int:
        """A node is opened; `fd`, if it is not None, is what may be read and written in its place.

        The backing id for the answer; 0 if reads of this open come to us. To be paired with
        `released`.
        """
        with self._lock:
            use = self._uses.get(node)
            if use is None:
                use = self._uses[node] = _Use(0, 0 if fd is None else self._register(fd))
            use.opens += 1
            return use.backing

    def released(self, node: int) -> None:
        """One open of a node is gone; with the last one its backing id."""
        with self._lock:
            use = self._uses[node]
            use.opens -= 1
            if use.opens:
                return
            del self._uses[node]
            if use.backing:
                _unback(self._fd, use.backing)

    def __len__(self) -> int:
        """How many nodes are backed now."""
        with self._lock:
            return sum(bool(use.backing) for use in self._uses.values())

    def _try(self, fd: int) -> str:
        """Back nothing with a file beside those of the cache; why that fails, or nothing."""
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                _unback(fd, _back(fd, file.fileno()))
        except OSError as exc:
            return _REASONS.get(exc.errno or 0) or os.strerror(exc.errno or errno.EIO)
        return ""

    def _register(self, fd: int) -> int:
        if self._fd < 0:
            return 0
        try:
            return _back(self._fd, fd)
        except OSError as exc:
            log.debug("a file is served without passthrough: %s", exc.strerror)
            return 0


def _back(kernel: int, fd: int) -> int:
    """What the kernel calls the file `fd`, from now on."""
    # With a buffer that may be written to, the call's own result is given.
    number: int = fcntl.ioctl(kernel, _BACKING_OPEN, bytearray(_MAP.pack(fd, 0, 0)))
    return number


def _unback(kernel: int, number: int) -> None:
    fcntl.ioctl(kernel, _BACKING_CLOSE, bytearray(_ID.pack(number)))
