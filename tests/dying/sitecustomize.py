"""Kills the process that it is in at a chosen step, as SIGKILL does: in the middle of the work.

Python imports a module of this name before anything else; with this directory on its path, it is
this one. The file that DYING_AT names says at which step, counted from the moment when there is
such a file: before then nothing counts. Each step is written to the file that DYING_LOG names. With
the process dies the disk that is mounted at DYING_DISK, if any, as in a power cut. DYING_LOOKS are
the pauses in which the next mount looks for a version that may have been asked for, in place of the
minute that it takes by itself.

A step is what others can see of a process: a file opened for writing, written to, flushed, linked,
renamed or removed, a directory made or removed, bytes sent to a connection or waited for, a change
of a database.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sqlite3
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

_EVENTS = {
    *("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.utime", "os.chmod"),
    *("os.symlink", "os.truncate", "os.setxattr", "socket.connect"),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_STATEMENTS = ("BEGIN IMMEDIATE", "COMMIT", "INSERT", "UPDATE", "DELETE")
# Of <linux/ext4.h>: stop at once, and do not flush the log before.
_SHUTDOWN, _NO_LOG = 0x8004587D, struct.pack("I", 2)


class Death:
    """Comes before the step of the number that `order` holds."""

    def __init__(self, order: str, log: str, disk: str) -> None:
        self._order = order
        self._disk = disk
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._left = 0
        # What is collected as garbage meanwhile may take a step as well.
        self._lock = threading.RLock()

    def watch(self) -> None:
        self._count(os, "pwrite")
        self._count(os, "fsync")
        self._count(os, "fdatasync")
        self._count(socket.socket, "send")
        self._count(socket.socket, "recv_into")
        sqlite3.connect = partial(self._connect, sqlite3.connect)
        sys.addaudithook(self._audit)

    def _count(self, owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            self._step(name)
            return function(*arguments, **options)

        setattr(owner, name, counted)

    def _audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in _EVENTS:
            self._step(f"{name} {arguments[0]}")
        elif name == "open":
            path, _, flags = arguments
            is_written = isinstance(flags, int) and flags & _WRITING
            if is_written and not isinstance(path, int):
                self._step(f"open {path}")

    def _connect(
        self, connect: Callable[..., sqlite3.Connection], *arguments: Any, **options: Any
    ) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(self._execute)
        return connection

    def _execute(self, statement: str) -> None:
        if statement.lstrip().upper().startswith(_STATEMENTS):
            self._step(statement.split("(")[0])

    def _step(self, name: str) -> None:
        with self._lock:
            if not self._left and not self._begin():
                return
            self._left -= 1
            os.write(self._log, name.replace("\n", " ").encode() + b"\n")
            if not self._left:
                if self._disk:
                    _cut_power(self._disk)
                os.kill(os.getpid(), signal.SIGKILL)

    def _begin(self) -> bool:
        try:
            with open(self._order) as file:
                self._left = int(file.read())
        except FileNotFoundError:
            return False
        return True


def _cut_power(disk: str) -> None:
    """Have a file system of its own, ext4 or XFS, write nothing more."""
    fcntl.ioctl(os.open(disk, os.O_RDONLY), _SHUTDOWN, _NO_LOG)


def _look_sooner(pauses: str) -> None:
    from modelfs.fs import course

    class Sooner(course.Patience):
        def __init__(self) -> None:
            super().__init__(looks=tuple(map(float, pauses.split())))

    course.Patience = Sooner  # type: ignore[misc]


if "DYING_AT" in os.environ:
    environ = os.environ
    if pauses := environ.get("DYING_LOOKS"):
        _look_sooner(pauses)
    Death(environ["DYING_AT"], environ["DYING_LOG"], environ.get("DYING_DISK", "")).watch()
