"""A small process that takes a mount away once its daemon has died, and ends one that hangs.

Runs alone, as `python -I -S watchdog.py …`, and imports next to nothing, so that it takes 10 MB, of
which 4 are its own. What it hears is its standard input, a pipe that only the daemon writes to: a
byte now and then while that is well, END when it ends by itself, and the end of the pipe when it is
gone in any other way. No lock but that of `clearing`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import time

WELL, END = b".", b"q"

# How often it looks at the clock. What passes beyond that between two looks is not counted: then
# this process was stopped as well, as all of a container or a virtual machine is.
_TICK = 1.0
# For a daemon to be gone after SIGKILL; one that waits for a disk may stay.
_DYING = 10.0
# For another process that takes the same mount away.
_TURN = 5.0


class clearing:  # a context manager, without the import that makes one of a function
    """While in here, nobody else looks whether the mount at `path` is dead, to take it away.

    Otherwise whoever looked first could take away the next mount there. Best effort: where the
    directory above cannot be locked, nobody waits.
    """

    def __init__(self, path: str) -> None:
        self._above = os.path.dirname(path)
        self._fd = -1

    def __enter__(self) -> None:
        try:
            self._fd = os.open(self._above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        end = time.monotonic() + _TURN
        while time.monotonic() < end:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                return
            else:
                return

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def is_stale(path: str) -> bool:
    """True for a mountpoint whose daemon is gone."""
    try:
        os.statvfs(path)  # unlike what stat tells, the kernel does not remember this
    except OSError as exc:
        # Aborted: it ended just while it was asked.
        return exc.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def is_well(patience: float) -> bool | None:
    """Listen until there is a reason to act: False if the daemon hangs, None if it is dead.

    True if it has ended by itself.
    """
    silent, last = 0.0, time.monotonic()
    while silent < patience:
        heard = bool(select.select([0], [], [], min(_TICK, patience))[0])
        now = time.monotonic()
        silent, last = silent + min(now - last, 2 * _TICK), now
        if heard:
            said = os.read(0, 4096)
            if not said or END in said:
                return True if said else None
            silent = 0.0
    return False


def is_gone(patience: float) -> bool:
    """Wait for the daemon's end."""
    end = time.monotonic() + patience
    while (left := end - time.monotonic()) > 0:
        if select.select([0], [], [], left)[0] and not os.read(0, 4096):
            return True
    return False


def watch(pid: int, record: str, path: str, log: str, patience: float, helper: list[str]) -> None:
    """Watch the daemon `pid`, our parent, whose mount `/proc/self/mountinfo` shows as `record`.

    `helper` is the command that unmounts. What is done is said in `log`.
    """
    verdict = is_well(patience)
    if verdict:
        return
    if verdict is None:
        what = f"the daemon has died: pid {pid}"
    else:
        what = f"the daemon has not moved for {patience:g} s, and was killed: pid {pid}"
        _abort(record)
        if os.getppid() == pid:  # else the number may be another's by now
            os.kill(pid, signal.SIGKILL)
        verdict = None if is_gone(_DYING) else False
    with clearing(path):
        # One that is dead for certain answers so. One that is not may keep us for ever.
        if _is_there(record) and (verdict is False or is_stale(path)):
            status = os.waitpid(os.posix_spawn(helper[0], helper, {}), 0)[1]
            what += (
                "; its mount could not be taken away" if status else "; its mount was taken away"
            )
    _say(f"{what}: {path}", log)


def _is_there(record: str) -> bool:
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        return any(line.startswith(record + " ") for line in file)


def _abort(record: str) -> None:
    """Have the kernel fail every request of the mount, if we may tell it to."""
    number = record.split()[2].partition(":")[2]
    try:
        with open(f"/sys/fs/fuse/connections/{number}/abort", "w") as file:
            file.write("1")
    except OSError:
        pass  # its end does the same


def _say(text: str, log: str) -> None:
    """Write a line as the daemon does; to standard error without a file of that name."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')},000 ERROR modelfs.mount.watchdog: {text}\n"
    try:
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW) if log else 2
        os.write(fd, os.fsencode(line))
    except OSError:
        pass  # nobody to tell


def main() -> None:
    # Whoever ends the daemon politely waits for it, and so do we.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    pid, patience, log, record, path, *helper = sys.argv[1:]
    watch(int(pid), record, path, log, float(patience), helper)


if __name__ == "__main__":
    main()
