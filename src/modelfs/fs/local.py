"""What is local of one registry: drafts, and the metadata of what is not published yet.

The operations of a file system, on the real directories of `Staging`. Decides which names may be
made where, and tells the publisher what changed and by whom. Raises Error or OSError. No lock and
no state of its own; the publisher and the staging have theirs.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from modelfs.cache.directory import entries
from modelfs.errors import (
    DeadlinePassed,
    Exists,
    Interrupted,
    InvalidName,
    NotFound,
    Unsupported,
)
from modelfs.fs import areas, asking, naming
from modelfs.fs.asking import STATUS
from modelfs.fs.documents import Documents
from modelfs.fs.junk import is_junk
from modelfs.fs.nodes import Kind, Node, identity, inode
from modelfs.fs.publish import Publisher
from modelfs.fs.staging import Staging
from modelfs.fs.tree import Listed
from modelfs.fs.versions import text_node
from modelfs.fs.watching import DraftWatcher
from modelfs.fs.writing import LocalHandle, Watcher, is_written
from modelfs.model import NOTES, RESERVED
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from modelfs.waiting import Wait

# Set in the inode numbers of local files, which are the disk's, and in no number of ours.
_LOCAL_INO = 1 << 63


class Local:
    """The local part of the tree of `registry`. `caller` tells the process that is served."""

    def __init__(
        self,
        registry: WritableRegistry,
        staging: Staging,
        publisher: Publisher,
        documents: Documents,
        *,
        caller: Callable[[], int],
        wait: Wait,
    ) -> None:
        self.registry = registry
        self.publisher = publisher
        self.documents = documents
        self.caller = caller
        self._staging = staging
        self._wait = wait

    def start(self) -> None:
        """Look at what is there, and go on with what was being published: after any fork."""
        self._staging.start()
        areas.describe(self._staging, self.registry.traits)
        self.publisher.start()

    def stop(self) -> None:
        """Within seconds; what is being published goes on with the next start."""
        self.publisher.stop()
        self._staging.stop()

    # What is there.

    def holds(self, ref: Ref, path: str = "") -> bool:
        """True if a place is local: in a draft, or local itself."""
        if path:
            return path.partition("/")[0] != RESERVED and self._staging.is_draft(ref)
        return self._staging.holds(ref)

    def is_draft(self, ref: Ref) -> bool:
        return self._staging.is_draft(ref)

    def path(self, ref: Ref, path: str = "") -> Path:
        return self._staging.path(ref, path)

    def stat(self, ref: Ref, path: str = "") -> os.stat_result:
        return os.lstat(self._staging.where(ref, path))

    def listing(self, ref: Ref, path: str = "") -> Iterator[Listed]:
        """What the local directory lists; nothing if there is none."""
        for name, status in entries(self.path(ref, path)):
            yield name, status.st_mode, ino(status)

    def getxattr(self, ref: Ref, path: str, name: str) -> bytes:
        return os.getxattr(self.path(ref, path), name, follow_symlinks=False)

    def listxattr(self, ref: Ref, path: str) -> list[str]:
        return os.listxattr(self.path(ref, path), follow_symlinks=False)

    # The hidden directory of a draft.

    def hidden(self, ref: Ref, path: str) -> Node:
        """`.modelfs` in a draft, or a file in it; NotFound for anything else."""
        top, _, name = path.partition("/")
        if top != RESERVED or name not in ("", STATUS):
            raise NotFound(f"{ref} has no file of that name: {path}")
        number = inode(identity(self.registry.traits.identity, ref, f"draft {path}"))
        changed = self.stat(ref).st_mtime
        if not name:
            return Node(Kind.DIRECTORY, number, mtime=changed)
        text = json.dumps(self.publisher.status(ref), indent=2, ensure_ascii=False) + "\n"
        return text_node(number, text.encode(), changed, is_fixed=False)

    def hidden_listing(self, ref: Ref) -> Iterator[Listed]:
        """What `.modelfs` in a draft lists."""
        yield STATUS, Kind.FILE, self.hidden(ref, f"{RESERVED}/{STATUS}").ino

    # Changes of names.

    def mkdir(self, ref: Ref, path: str, mode: int) -> None:
        """Make a directory: in a draft, or a new draft, model, framework or instance."""
        if path:
            with self._making(ref, path):
                os.mkdir(self.path(ref, path), mode)
                os.chmod(self.path(ref, path), mode)  # as it is, the mask of whoever asks is in it
            return
        self._check_new(ref)
        documents = () if self._is_version(ref) else self.registry.blank(ref)
        with self.documents.making():
            self._staging.make(ref)
            for document in documents:
                self.path(ref, document.name).write_bytes(document.content)
                self._staging.note(ref.child(document.name))
        if self._is_version(ref):
            self.path(ref).chmod(mode | stat.S_IRWXU)
            self.publisher.changed(ref, self.caller(), is_notes=False)

    def rmdir(self, ref: Ref, path: str) -> None:
        """Remove an empty directory; removing a draft cancels it."""
        if path:
            with self._changing(ref, path):
                os.rmdir(self.path(ref, path))
            return
        if any(self.listing(ref)):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        if self._is_version(ref):
            self.publisher.cancel(ref)
        self._staging.remove(ref)

    def outlast(self, ref: Ref) -> None:
        """What was in `ref` is deleted; it stays, though the registry may not have it any more."""
        if ref.parts and not self._staging.holds(ref) and not self.documents.is_published(ref):
            with self.documents.making():
                self._staging.make(ref)

    def unlink(self, ref: Ref, path: str) -> None:
        """Remove a file. A draft from which files are removed is not to be published as it is."""
        if not path:
            self.documents.forget(ref)
            return
        if not is_junk(path) and self.publisher.draft(ref).is_frozen:
            self.publisher.cancel(ref)
        with self._changing(ref, path):
            os.unlink(self.path(ref, path))

    def symlink(self, ref: Ref, path: str, target: str) -> None:
        with self._making(ref, path):
            os.symlink(target, self.path(ref, path))

    def link(self, old: tuple[Ref, str], ref: Ref, path: str) -> None:
        if not self.holds(*old):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        with self._making(ref, path):
            os.link(self.path(*old), self.path(ref, path), follow_symlinks=False)

    def rename(self, old: tuple[Ref, str], new: tuple[Ref, str]) -> None:
        """Move a file or a directory within what is local; a draft keeps its content."""
        (old_ref, old_path), (ref, path) = old, new
        if not old_path and self._staging.is_directory(old_ref):
            self._rename_level(old_ref, ref, path)
            return
        # What becomes the notes was never one of the files.
        told = NOTES if old_path and path == NOTES else old_path
        with (
            nullcontext() if path else self.documents.moving(ref),
            self._changing(old_ref, told),
            self._making(ref, path),
        ):
            os.rename(self.path(old_ref, old_path), self.path(ref, path))
        if not old_path:
            self.documents.forget(old_ref)
        if path == NOTES and self.path(ref, path).stat().st_size:
            self.noted(ref)

    def _rename_level(self, old: Ref, new: Ref, path: str) -> None:
        if path or new.depth != old.depth:
            raise InvalidName(f"a directory of one level cannot become one of another: {new}")
        drafts = [ref for ref in self._staging.drafts() if ref.parts[: old.depth] == old.parts]
        for draft in drafts:
            self.publisher.check_writable(draft)
        self._check_new(new)
        if new.parent != old.parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        for draft in drafts:
            self.publisher.renamed(draft, Ref(new.parts + draft.parts[old.depth :]))
        os.rename(self.path(old), self.path(new))
        self._staging.moved(old, new)

    # Changes of attributes.

    def chmod(self, ref: Ref, path: str, mode: int) -> None:
        with self._touching(ref, path) as target:
            os.chmod(target, mode)

    def chown(self, ref: Ref, path: str, uid: int, gid: int) -> None:
        with self._touching(ref, path) as target:
            os.chown(target, uid, gid, follow_symlinks=False)

    def utimens(self, ref: Ref, path: str, times: tuple[int | None, int | None]) -> None:
        """Set access and modification time, in nanoseconds; None leaves one as it is."""
        with self._touching(ref, path) as target:
            atime, mtime = times
            now = os.lstat(target)
            chosen = (
                now.st_atime_ns if atime is None else atime,
                now.st_mtime_ns if mtime is None else mtime,
            )
            os.utime(target, ns=chosen, follow_symlinks=False)

    def truncate(self, ref: Ref, path: str, length: int) -> None:
        with self._changing(ref, path):
            os.truncate(self.path(ref, path), length)

    def setxattr(self, ref: Ref, path: str, name: str, value: bytes, flags: int) -> None:
        if name.startswith(asking.PREFIX):
            self._asked(ref, path, name, value)
            return
        with self._touching(ref, path) as target:
            os.setxattr(target, name, value, flags, follow_symlinks=False)

    def removexattr(self, ref: Ref, path: str, name: str) -> None:
        with self._touching(ref, path) as target:
            os.removexattr(target, name, follow_symlinks=False)

    def _asked(self, ref: Ref, path: str, name: str, value: bytes) -> None:
        """Somebody asks for something by an attribute; how it ends is in status.json."""
        if path or not self.is_draft(ref):
            raise Unsupported(f"attributes of that name are not stored: {name}")
        match name:
            case asking.PUBLISH:
                self.publisher.ask(ref)
            case asking.NOTE:
                notes = self.open(ref, NOTES, os.O_WRONLY | os.O_TRUNC, 0o644)
                try:
                    notes.write(value, 0)
                finally:
                    notes.close()  # with no flush before, which would publish
            case asking.CANCEL:
                self.publisher.cancel(ref)
            case _:
                raise Unsupported(f"nothing is asked by that name: {name}")

    # Files.

    def open(
        self, ref: Ref, path: str, flags: int, mode: int | None = None, *, is_passing: bool = False
    ) -> LocalHandle:
        """Open a file; with `mode`, make it first. What is written is told to whom it concerns.

        `is_passing`: to be read and written by the kernel itself, if it is a file to be sent. Of
        what means something by being written, and of what is written to at any time, it is not.
        """
        keep = os.O_ACCMODE | os.O_EXCL | os.O_TRUNC | os.O_SYNC | os.O_DSYNC
        ours = flags & keep | os.O_NOFOLLOW | os.O_CLOEXEC
        is_new = mode is not None
        watcher = self._watcher(ref, path, is_new=is_new) if is_written(flags) else None
        unseen = self._staging.unseen if is_passing else None
        try:
            with self._making(ref, path) if is_new else nullcontext():
                how = ours | os.O_CREAT if is_new else ours & ~os.O_EXCL
                fd = os.open(self._staging.where(ref, path), how, mode or 0)
                if mode is not None:
                    os.fchmod(fd, mode)  # ours is not the mask that counts
        except BaseException:
            if watcher is not None:
                watcher.closed()
            raise
        is_offered = unseen is not None and unseen.can_tell and self._is_sent(ref, path)
        if not is_written(flags):
            return LocalHandle(fd, None, is_offered=is_offered)
        handle = LocalHandle(fd, watcher, unseen, is_offered=is_offered)
        if is_offered:
            try:
                handle.expose()
                self.publisher.check_writable(ref)  # else it was frozen before we were seen
                if not is_new:
                    self.tell(ref, path)  # nobody tells when he writes
            except BaseException:
                handle.close()
                raise
        return handle

    def _is_sent(self, ref: Ref, path: str) -> bool:
        """True for a file that is published as it is."""
        is_document = path in self.registry.traits.documents_of(ref)
        return bool(path) and not is_document and not is_junk(path)

    def _watcher(self, ref: Ref, path: str, *, is_new: bool) -> Watcher | None:
        """Who is told of changes; nobody, of what is never sent: editors keep such files open."""
        if not path:
            return self.documents.watcher(ref, is_new=is_new)
        return None if is_junk(path) else DraftWatcher(self, ref, path)

    # What may be made, and who is told.

    def _is_version(self, ref: Ref) -> bool:
        return self.registry.traits.is_version(ref)

    def _check_new(self, ref: Ref) -> None:
        """Refuse a name that a new directory above the files cannot have."""
        naming.check(ref)
        if self._staging.holds(ref) or self.documents.is_published(ref):
            raise Exists(f"there is one already: {ref}")
        if self._is_version(ref):
            naming.check_draft(ref, lambda: self._published(ref.parent))

    def _published(self, instance: Ref) -> list[str]:
        """The names of the versions of `instance`."""
        try:
            return [entry.name for entry in self.registry.children(instance)]
        except NotFound:
            return []

    @contextmanager
    def _changing(self, ref: Ref, path: str) -> Iterator[None]:
        """A change of names or content: refused while the draft is frozen, told afterwards."""
        if not path or is_junk(path):
            yield
            return
        self.publisher.check_writable(ref)
        yield
        self.tell(ref, path)

    @contextmanager
    def _making(self, ref: Ref, path: str) -> Iterator[None]:
        """As `_changing`, for a name that is made; what is moved onto NOTES is notes."""
        naming.check_file(path or ref.name, is_in_draft=bool(path))
        if not path and self._is_version(ref) and naming.is_of_version(ref.name):
            raise InvalidName(f"a version is a directory: {ref}")
        if path:
            with self._changing(ref, path):
                yield
            return
        with self.documents.making():
            if not self._staging.is_directory(ref.parent):
                self._staging.make(ref.parent)
            yield
            self._staging.note(ref)

    @contextmanager
    def _touching(self, ref: Ref, path: str) -> Iterator[Path]:
        """A change of attributes, which are nothing that is published.

        Those of NOTES may change while it is: many programs set them after the close.
        """
        if self._is_version(ref) and path != NOTES:
            self.publisher.check_writable(ref)
        yield self.path(ref, path)

    def tell(self, ref: Ref, path: str) -> None:
        """The process that is served has changed something in a draft."""
        self._staging.unseen.look()  # the room of what was removed is free
        self.publisher.changed(ref, self.caller(), is_notes=path == NOTES)

    def noted(self, ref: Ref) -> None:
        """NOTES is in place: publish, now or once all is quiet.

        Waits for the outcome as long as the kernel may be kept waiting, and raises a refusal.
        """
        outcome = self.publisher.noted(ref, self.caller())
        if outcome is None:
            return
        try:
            self._wait(outcome)
        except (DeadlinePassed, Interrupted):
            return  # it goes on; status.json tells how


def ino(status: os.stat_result) -> int:
    """The inode number of a local file, unlike any of a published one."""
    return status.st_ino & (_LOCAL_INO - 1) | _LOCAL_INO
