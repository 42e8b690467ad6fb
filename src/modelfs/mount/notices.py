"""What the kernel is told without having asked: to drop what it has of a file.

Such a notice is written to the kernel's connection, and the write takes until all reads of the
file that are on their way have been answered. So a thread of its own does that, never one that
answers requests. Owns that thread and who waits for its turn; no lock but the queue's.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

from modelfs.mount import wire

log = logging.getLogger(__name__)


class Notices:
    """Tells the kernel, one notice after another; from `start` to `stop`."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[int, Callable[[], None]] | None] = SimpleQueue()
        self._is_stopped = False
        self.is_writing = False

    def start(self, fd: int) -> None:
        """Begin to write to the kernel's connection `fd`; after any fork."""
        threading.Thread(target=self._run, args=(fd,), name="notices", daemon=True).start()

    def stop(self) -> None:
        """Begin no notice any more. One that is being written ends with the reads it waits for."""
        self._is_stopped = True
        self._queue.put(None)

    def drop(self, node: int, done: Callable[[], None]) -> None:
        """Have the kernel drop all it has of the file that it calls `node`; then call `done`."""
        self._queue.put((node, done))

    def _run(self, fd: int) -> None:
        while (found := self._queue.get()) is not None and not self._is_stopped:
            node, done = found
            self.is_writing = True
            try:
                os.write(fd, wire.drop(node))
            except OSError as exc:
                # ENOENT: the kernel has forgotten the file. Or all of it is unmounted.
                log.debug("nothing to drop of %d: %s", node, exc.strerror)
            finally:
                self.is_writing = False
            done()
            # Until the next one it waits without the file that this one was about.
            del found, done
