"""Where a mount keeps things, and that nobody else can get at them.

The cache and the state directory are made for nobody but us, and refused if they are somebody
else's to change: whoever can write there decides what we believe. Their files are 0600 from the
first write. No state, no lock.
"""

from __future__ import annotations

import errno
import logging.handlers
import os
import stat
from io import TextIOWrapper
from pathlib import Path

from modelfs.config import Config
from modelfs.errors import Error, Forbidden

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_directories(config: Config) -> None:
    """Make the directories of what we keep; Forbidden for one that is not for us to use."""
    _make("cache", config.cache_dir, is_shareable=True)
    _make("state", config.state_dir, is_shareable=False)


def _make(kind: str, path: Path, *, is_shareable: bool) -> None:
    """Make `path` if it is missing. One that others may write to can only be a shared cache."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.lstat(path)
    except OSError as exc:
        hint = f"MODELFS_{kind.upper()}_DIR names another"
        raise Error(f"cannot make the {kind} directory {path}: {exc.strerror}", hint=hint) from exc
    if not stat.S_ISDIR(found.st_mode):
        hint = f"name what it leads to: {os.path.realpath(path)}"
        raise Forbidden(f"the {kind} directory is a symbolic link: {path}", hint=hint)
    is_shared = bool(found.st_mode & _OTHERS_WRITE)
    if found.st_uid != os.geteuid() and not (is_shareable and is_shared):
        raise Forbidden(f"the {kind} directory is another user's: {path}")
    if is_shared and not is_shareable:
        hint = f"chmod go-w {path}"
        raise Forbidden(f"the {kind} directory can be written to by others: {path}", hint=hint)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file of ours, also for `open(opener=...)`: a new one is 0600, and none is a link."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.fstat(fd).st_nlink > 1:
        os.close(fd)
        raise OSError(errno.EMLINK, "the file has another name", os.fspath(path))
    return fd


class Log(logging.handlers.RotatingFileHandler):
    """A log that only we can read."""

    def _open(self) -> TextIOWrapper:
        file = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, self.mode, encoding="utf-8", opener=open_private
        )
        assert isinstance(file, TextIOWrapper)  # noqa: S101 - what a text mode makes
        return file
