"""What libfuse answers on its way to the kernel, with what the file system wants changed in it.

Called by libfuse on the thread that serves the request. Owns the handles of open files; no lock of
its own. A request whose answer cannot be made gets an error: its caller must not wait for ever.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from typing import Any

from modelfs.mount import wire
from modelfs.mount.current import Current
from modelfs.mount.library import pieces
from modelfs.mount.openfiles import OpenFiles
from modelfs.mount.overlay import Overlay
from modelfs.mount.passthrough import Passthrough

log = logging.getLogger(__name__)

# Requests about what the kernel has just found by a name.
_OF_FOUND = (wire.Op.OPEN, wire.Op.GETATTR, wire.Op.SETATTR)
_OPENING = (wire.Op.OPEN, wire.Op.CREATE)
_FINDING = (wire.Op.LOOKUP, wire.Op.MKDIR)


class Outgoing:
    """Sends answers for `current`; `reply` gives what to change in this thread's."""

    def __init__(
        self, current: Current, passthrough: Passthrough, reply: Callable[[], wire.Reply]
    ) -> None:
        self._current = current
        self._passthrough = passthrough
        self._reply = reply
        self._open_files = OpenFiles()
        self._fd = -1
        self._overlay: Overlay | None = None

    def start(self, fd: int, overlay: Overlay | None) -> None:
        """Send to the kernel's connection `fd`, and tell `overlay` what the kernel finds."""
        self._fd, self._overlay = fd, overlay

    def send(self, slices: Any, count: int) -> int:
        """Send an answer of libfuse, in so many pieces; minus an errno if that cannot be."""
        current = self._current
        opened = None
        try:
            views = pieces(slices, count)
            if count == 1 and current.handle is None and self._is_nameless(views[0]):
                return 0  # to be asked for again
            if current.opcode in _OF_FOUND and wire.error(views[0]) == errno.ENOENT:
                # Replaced since it was found: at this errno the kernel looks the name up again.
                wire.fail(views[0], errno.ESTALE)
            if count == 2:
                if current.opcode in _OPENING:
                    opened = wire.opened(current.node, views[1])
                    self._opened(*opened)  # before the kernel can close it
                views = self._changed(views)
        except Exception:
            # ctypes would drop it, and with it the answer: the caller would wait for ever.
            log.exception("an answer could not be made")
            failure = wire.OUT_HEADER.pack(wire.OUT_HEADER.size, -errno.EIO, current.unique)
            views = [memoryview(failure)]
        try:
            os.writev(self._fd, views)
        except OSError as exc:
            if opened is not None:
                self.released(*opened)
            return -(exc.errno or errno.EIO)  # ENOENT: interrupted meanwhile, libfuse knows
        return 0

    def released(self, node: int, handle: int) -> None:
        """A file is not open any more by that handle."""
        self._open_files.remove(node, handle)
        self._passthrough.released(node)

    def _changed(self, views: list[memoryview]) -> list[memoryview]:
        """An answer that is no error, as the file system wants it."""
        current = self._current
        reply = current.reply
        if current.opcode == wire.Op.LINK:
            self._tell_outdated(current.linked)
        if current.opcode in _FINDING and self._overlay is not None:
            self._overlay.told(wire.found(views[1]), reply.published if reply is not None else None)
        if reply is not None:
            wire.patch(current.opcode, views[1], reply)
        if current.opcode == wire.Op.READDIRPLUS:
            return wire.widened(current.unique, views[1])
        return views

    def _tell_outdated(self, node: int) -> None:
        """What the kernel was told of a file with one name is wrong of one with two.

        The other name is another file to libfuse, so nothing that is done there is seen here.
        """
        try:
            os.write(self._fd, wire.outdated(node))
        except OSError as exc:
            log.debug("nothing is known of %d: %s", node, exc.strerror)

    def _opened(self, node: int, handle: int) -> None:
        """A file is about to be open; passed through to the one that is offered, if that can be."""
        reply = self._reply()
        self._open_files.add(node, handle)
        reply.backing = self._passthrough.opened(node, reply.offer)
        if reply.answered is not None:
            reply.answered(bool(reply.backing))

    def _is_nameless(self, header: memoryview) -> bool:
        """True if libfuse did not find, by its name, a file that is open."""
        current = self._current
        if current.opcode != wire.Op.GETATTR or wire.error(header) != errno.ENOENT:
            return False
        current.handle = self._open_files.find(current.node)
        return current.handle is not None
