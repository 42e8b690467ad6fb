"""The request that a thread of the session loop serves, and what is to become of its answer.

A `threading.local`: no lock. Knows no request's meaning.
"""

from __future__ import annotations

import mmap
import threading

from modelfs.mount import wire


class Current(threading.local):
    """The request that this thread serves. Our threads live on, so thread-locals do."""

    unique: int = 0
    opcode: int = 0
    node: int = 0
    uid: int = 0
    pid: int = 0
    reply: wire.Reply | None = None
    # Of the open file that a GETATTR is about, once it turned out to have no name any more.
    handle: int | None = None
    # What a LINK gives another name.
    linked: int = 0
    # Where this thread's requests are.
    pages: mmap.mmap | None = None

    def begin(self, request: wire.Request) -> None:
        self.unique, self.opcode, self.node = request.unique, request.opcode, request.node
        self.uid, self.pid = request.uid, request.pid
        self.reply, self.handle = None, None

    def end(self) -> None:
        """It is answered. Nothing is kept of it, such as a file, until the next one comes."""
        self.unique, self.reply = 0, None

    def give_back(self) -> None:
        """Have no memory for a request while this one waits, if all of this is in its first page.

        Earlier ones may have filled the rest; hundreds of threads may wait.
        """
        if self.pages is not None and self.opcode == wire.Op.READ:
            self.pages.madvise(mmap.MADV_DONTNEED, mmap.PAGESIZE)
