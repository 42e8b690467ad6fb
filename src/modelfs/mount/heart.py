"""The daemon's side of its watchdog: starts it, and tells it that all is well.

Health is a local matter: the interpreter runs, and a thread of the session loop is there to take
the next request. A registry that does not answer is none of it, nor is a disk that takes its time.
Owns the watchdog's process and one thread. No lock.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from modelfs.errors import Error
from modelfs.mount import mountpoint, watchdog

log = logging.getLogger(__name__)

# Beats in the time after which a daemon that says nothing is ended. Few: each wakes a processor.
_BEATS = 12
# For the watchdog to end after it was told to.
_END = 5.0


class Heart:
    """Beats while `is_well` says so; without a beat for `patience` seconds, the daemon is ended."""

    def __init__(self, is_well: Callable[[], bool], patience: float) -> None:
        self._is_well = is_well
        self._patience = patience
        self._ended = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self, path: Path, log_file: Path | None) -> None:
        """Have the mount at `path` watched; what is done to it is said in `log_file`."""
        try:
            helper = mountpoint.helper(path, is_lazy=True)
            record = mountpoint.record(path)
            told = [str(os.getpid()), f"{self._patience:g}", str(log_file or ""), record, str(path)]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", watchdog.__file__, *told, *helper],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                # The terminal's, or whoever reads from it, would wait for us.
                stderr=subprocess.DEVNULL if log_file else None,
                bufsize=0,
                cwd="/",
                env={},  # nothing of ours, which may hold a token
                start_new_session=True,  # what ends the daemon, Ctrl-C for one, does not end it
            )
        except (OSError, Error) as exc:
            log.warning("no watchdog: if this process dies, unmount by hand: %s", exc)
            return
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Tell the watchdog that this is an end of our own."""
        self._ended.set()
        if self._process is None or self._process.stdin is None:
            return
        if self._thread is not None:
            self._thread.join(_END)
        try:
            self._process.stdin.write(watchdog.END)
            self._process.stdin.close()
        except OSError:
            pass  # somebody has killed it
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            log.debug("the watchdog is still there")

    def _beat(self) -> None:
        pipe = self._process.stdin if self._process else None
        while pipe is not None and not self._ended.wait(self._patience / _BEATS):
            try:
                if self._is_well():
                    pipe.write(watchdog.WELL)
            except OSError:
                log.warning("the watchdog is gone: if this process dies, unmount by hand")
                return


class Pulse:
    """Whether the session loop gets on; called for each beat, by one thread."""

    def __init__(self, progress: Callable[[], int | None]) -> None:
        """`progress` counts the requests taken, if no thread is there for the next; else None."""
        self._progress = progress
        self._last: int | None = None

    def __call__(self) -> bool:
        last, self._last = self._last, self._progress()
        return self._last is None or self._last != last or _is_on_disk()


def _is_on_disk() -> bool:
    """True if a thread of ours waits for a disk, which can take minutes and is no hang."""
    for stat in Path("/proc/self/task").glob("*/stat"):
        try:
            if stat.read_text(errors="replace").rpartition(")")[2].split()[0] == "D":
                return True
        except OSError:
            pass  # it has ended
    return False
