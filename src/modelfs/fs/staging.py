"""Drafts on disk: real directories in the state directory, one tree per registry.

    tree/alice/bert/pytorch/base/2/…    a directory at the version's depth is a draft; those above
                                        may not exist on the registry yet, and hold their metadata
    journal/<hash>.json                 what the publisher must not forget about a draft
    trash/                              what is being removed
    lock                                held by the one mount that may write here
    registry.json                       which registry these drafts are for

Never in the cache: a cache can be deleted at any time, a draft cannot. Owns which names are local;
the set of them is changed by the mount's threads one operation at a time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelfs.errors import WrongState
from modelfs.fs.journal import is_foreign
from modelfs.fs.junk import is_junk
from modelfs.fs.unseen import Unseen
from modelfs.refs import Ref

# The name of a journal, or of one being written.
_JOURNAL = re.compile(r"[0-9a-f]{32}\.(json|new)")

# Held while a file is replaced (write_durably).
_writing = threading.Lock()

# No name of ours is a link.
_OURS = os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """The drafts of one registry, whose versions are `depth` names deep."""

    def __init__(self, directory: Path, depth: int) -> None:
        self.directory = directory
        self._tree = directory / "tree"
        self._top = os.fspath(self._tree)
        self._journal = directory / "journal"
        self._trash = directory / "trash"
        self._depth = depth
        self._lock = threading.Lock()
        self._local: set[Ref] = set()
        self._lock_fd = -1
        # Who writes to files of drafts past us.
        self.unseen = Unseen(directory)

    def start(self) -> None:
        """Take this place for ourselves and see what is in it; WrongState if a mount has it."""
        for path in (self._tree, self._journal, self._trash):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | _OURS, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise WrongState("another mount of this registry keeps the drafts") from None
        self._lock_fd = fd
        self.look()
        self.unseen.start(self.path(ref) for ref in self.drafts())
        self._drop_orphans()
        for path in self._trash.iterdir():
            remove_tree(path)

    def look(self) -> None:
        """See what is there. All that a reader has to do who does not take the place for itself."""
        self._local = set(self._find(Ref()))

    def stop(self) -> None:
        self.unseen.stop()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def path(self, ref: Ref, path: str = "") -> Path:
        """Where the local part of a place lies, whether or not there is one."""
        return Path(self.where(ref, path))

    def where(self, ref: Ref, path: str = "") -> str:
        """The same as text: a Path takes ten times as long, and each request asks several times."""
        return "/".join((self._top, *ref.parts, path) if path else (self._top, *ref.parts))

    def holds(self, ref: Ref) -> bool:
        """True if something local, a directory or a file, has exactly this name."""
        return ref in self._local

    def is_directory(self, ref: Ref) -> bool:
        """True for a directory of ours. What a link leads to is somebody else's."""
        if ref not in self._local:
            return False
        try:
            return stat.S_ISDIR(os.lstat(self.where(ref)).st_mode)
        except OSError:
            return False

    def is_draft(self, ref: Ref) -> bool:
        return ref.depth == self._depth and self.is_directory(ref)

    def names(self, ref: Ref) -> list[str]:
        """What is local directly below `ref`."""
        return sorted(below.name for below in list(self._local) if below.parent == ref != below)

    def drafts(self) -> list[Ref]:
        """All drafts."""
        found = [ref for ref in list(self._local) if self.is_draft(ref)]
        return sorted(found, key=lambda ref: ref.parts)

    def make(self, ref: Ref, mode: int = 0o755) -> None:
        """Make the directory `ref`, and those above it that are not local yet."""
        with self._lock:
            for above in [*ref.ancestors(), ref]:
                if above.parts and above not in self._local:
                    self.path(above).mkdir(mode=mode, exist_ok=above != ref)
                    self._local.add(above)

    def note(self, ref: Ref) -> None:
        """Something was made by the name of `ref`."""
        with self._lock:
            self._local.add(ref)

    def forget(self, ref: Ref) -> None:
        """What had the name of `ref`, and all below it, is gone."""
        depth = ref.depth
        with self._lock:
            self._local = {other for other in self._local if other.parts[:depth] != ref.parts}

    def moved(self, old: Ref, new: Ref) -> None:
        """What had the name `old` has the name `new`, with all below it."""
        depth = old.depth
        with self._lock:
            self._local = {
                Ref(new.parts + other.parts[depth:]) if other.parts[:depth] == old.parts else other
                for other in self._local
            }

    def remove(self, ref: Ref) -> None:
        """Remove a draft with its journal; no trace of it is left."""
        with self._lock:
            trash = self._discard(ref)
        self._empty(ref, trash)

    def retire(self, ref: Ref) -> None:
        """Remove a draft that is a version now, and what was local above it only for its sake.

        At once: a crash in between would leave names above that hide what the registry has.
        """
        with self._lock:
            trash = self._discard(self._highest_of(ref))
        self._empty(ref, trash)

    def _empty(self, ref: Ref, trash: Path) -> None:
        # A draft that came back after a power cut without its journal would be published again.
        sync_directory(self._trash)
        self._journal_of(ref).unlink(missing_ok=True)
        remove_tree(trash)

    def _highest_of(self, ref: Ref) -> Ref:
        """The highest local directory in which all that anybody wants leads to the draft `ref`."""
        while (above := ref.parent).parts:
            if any(name != ref.name and not is_junk(name) for name in self.names(above)):
                break
            ref = above
        return ref

    def _discard(self, ref: Ref) -> Path:
        """Take a directory away, at once, whatever is being made beside it; under the lock."""
        trash = self._trash / str(time.time_ns())
        # First: whoever does not find it looks again, elsewhere.
        self._local = {other for other in self._local if other.parts[: ref.depth] != ref.parts}
        try:
            self.path(ref).chmod(0o700)
            self.path(ref).rename(trash)
        except FileNotFoundError:
            pass
        return trash

    def read_journal(self, ref: Ref) -> dict[str, Any]:
        """What was written about a draft; empty if nothing was, or it is damaged."""
        return _read_journal(self._journal_of(ref))

    def write_journal(self, ref: Ref, value: dict[str, Any]) -> None:
        """Remember `value` about a draft; when this returns, a power cut does not lose it."""
        write_durably(self._journal_of(ref), json.dumps(value).encode())

    def _journal_of(self, ref: Ref) -> Path:
        return self._journal / f"{hashlib.sha256(str(ref).encode()).hexdigest()[:32]}.json"

    def _drop_orphans(self) -> None:
        """Remove the journals of drafts that are gone: a new one may get such a name.

        What another version of this program has there, by its name or its content, stays.
        """
        kept = {self._journal_of(ref).name for ref in self.drafts()}
        for path in self._journal.iterdir():
            is_ours = _JOURNAL.fullmatch(path.name) and not is_foreign(_read_journal(path))
            if is_ours and path.name not in kept:
                path.unlink()

    def _find(self, ref: Ref) -> Iterator[Ref]:
        """Every local name below `ref`, down to the drafts; what is in those is theirs."""
        try:
            with os.scandir(self.path(ref)) as entries:
                found = [
                    (ref.child(entry.name), entry.is_dir(follow_symlinks=False))
                    for entry in entries
                ]
        except FileNotFoundError:
            return  # removed since it was listed
        for below, is_directory in found:
            yield below
            if is_directory and below.depth < self._depth:
                yield from self._find(below)


def _read_journal(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_durably(path: Path, data: bytes) -> None:
    """Make or replace a file, for our eyes only, whole or not at all; a power cut keeps it.

    One at a time in this process, since two of the same file share the name it has meanwhile.
    """
    temporary = path.with_suffix(".new")
    with _writing:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OURS, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_tree(path: Path) -> None:
    """Remove a directory and all in it, however deep: without recursion, following no link."""
    if path.is_symlink():
        path.unlink()
        return
    pending = [path]
    while pending:
        directory = pending[-1]
        try:
            directory.chmod(0o700)  # what is in a directory that is only read can go as well
            with os.scandir(directory) as entries:
                below = [Path(e.path) for e in entries if not _removed(e)]
        except NotADirectoryError:
            directory.unlink(missing_ok=True)
            below = []
        except FileNotFoundError:
            below = []
        if below:
            pending += below
            continue
        if directory.is_dir():
            directory.rmdir()
        pending.pop()


def _removed(entry: os.DirEntry[str]) -> bool:
    """Remove what is no directory; true if it was none."""
    if entry.is_dir(follow_symlinks=False):
        return False
    os.unlink(entry.path)
    return True
