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

import errno
import fcntl
import logging
import struct
import threading
from dataclasses import dataclass

log = logging.getLogger(__name__)

# include/uapi/linux/fuse.h: FUSE_DEV_IOC_BACKING_OPEN, FUSE_DEV_IOC_BACKING_CLOSE.
_BACKING_OPEN = 0x4010E501
_BACKING_CLOSE = 0x4004E502
# struct fuse_backing_map: fd, flags, padding; the answer is the id.
_MAP = struct.Struct("=iIQ")
_ID = struct.Struct("=I")


@dataclass(slots=True)
class _Use:
    """One node that is open: how often, and its backing id (0: served by us)."""

    opens: int
    backing: int


class Passthrough:
    """The backed files of one mount. Off until `start` is given the connection to the kernel."""

    def __init__(self) -> None:
        self._fd = -1
        self._lock = threading.Lock()
        self._uses: dict[int, _Use] = {}

    def start(self, fd: int) -> None:
        """The kernel at `fd` has agreed to passthrough."""
        self._fd = fd

    def opened(self, node: int, fd: int | None) -> int:
        """A node is opened; `fd`, if it is not None, has all its bytes, verified.

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
                fcntl.ioctl(self._fd, _BACKING_CLOSE, bytearray(_ID.pack(use.backing)))

    def __len__(self) -> int:
        """How many nodes are backed now."""
        with self._lock:
            return sum(bool(use.backing) for use in self._uses.values())

    def _register(self, fd: int) -> int:
        if self._fd < 0:
            return 0
        try:
            # With a buffer that may be written to, the call's own result is given.
            number: int = fcntl.ioctl(self._fd, _BACKING_OPEN, bytearray(_MAP.pack(fd, 0, 0)))
            return number
        except OSError as exc:
            if exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
                return 0  # for now
            log.info("reads are served without passthrough: %s", exc.strerror)
            self._fd = -1
            return 0
