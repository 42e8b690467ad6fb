"""Calls of the kernel that change something: which part of the tree they concern, and who does it.

What is local (drafts, metadata being edited) changes on disk; what is published can be deleted, if
the mount was started for that, and its metadata edited; all else is refused with EROFS.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor

from modelfs.errors import NotFound, NotPermitted, ReadOnly, Unsupported
from modelfs.fs.deleting import Deletions
from modelfs.fs.handles import Handles
from modelfs.fs.local import Local
from modelfs.fs.nodes import Kind, Node
from modelfs.fs.tree import LATEST, Listed, Place, Tree
from modelfs.fs.writing import LocalHandle
from modelfs.model import NOTES, RESERVED
from modelfs.mount.binding import Opened
from modelfs.mount.wire import Reply
from modelfs.waiting import Wait


class Changes:
    """The changing operations of one mount, each by its name. `locals` are by registry identity."""

    def __init__(
        self,
        tree: Tree,
        handles: Handles,
        locals: Mapping[str, Local],
        deletions: Deletions,
        *,
        executor: Executor,
        wait: Wait,
        reply: Callable[[], Reply] = Reply,
    ) -> None:
        self._tree = tree
        self._handles = handles
        self._locals = locals
        self._deletions = deletions
        self._executor = executor
        self._wait = wait
        self._reply = reply

    def local(self, place: Place) -> Local | None:
        """The local part of the registry that a place belongs to, if anything there can change."""
        if place.registry is None:
            return None
        return self._locals.get(place.registry.traits.identity)

    def holder(self, place: Place) -> Local | None:
        """What holds a place that is local; None for what is published or not there."""
        local = self.local(place)
        return local if local is not None and local.holds(place.ref, place.path) else None

    def node(self, place: Place) -> Node:
        """The node of a place that is not local."""
        if self._deletions.hides(place.registry, *place.name):
            raise NotFound(f"deleted: {place.ref}")
        local = self.local(place)
        if local is not None and place.path and local.is_draft(place.ref):
            return local.hidden(place.ref, place.path)
        if local is not None and not place.path and local.documents.hides(place.ref):
            raise NotFound(f"removed: {place.ref}")
        return self._tree.node(place)

    def can_change(self, place: Place, node: Node) -> bool:
        """True for a published thing that its owner may do something to.

        The kernel lets nobody but root try what the mode forbids.
        """
        local = self.local(place)
        if local is None:
            return False
        is_document = not place.path and local.documents.is_document(place.ref)
        if is_document or not place.is_in_version:
            return True
        return node.kind is Kind.DIRECTORY and self._deletions.is_allowed

    def listing(self, place: Place) -> Iterator[Listed]:
        """What the directory at `place` lists: what is published, with what is local over it."""
        local = self.local(place)
        names: dict[str, Listed] = {}
        if local is None or not local.is_draft(place.ref):
            try:
                names = {item[0]: item for item in self._tree.listing(place)}
            except NotFound:
                if local is None or not local.holds(place.ref, place.path):
                    raise
        elif place.path == RESERVED:
            return iter(local.hidden_listing(place.ref))
        if local is not None:
            for name in local.documents.hidden_in(place.ref):
                names.pop(name, None)
            names |= {item[0]: item for item in local.listing(place.ref, place.path)}
        ref, path = (place.ref, f"{place.path}/") if place.path else (place.ref, "")
        return (
            item
            for name, item in names.items()
            if not self._deletions.hides(place.registry, ref, path + name)
        )

    # Names.

    def mkdir(self, path: str, mode: int) -> None:
        place, local = self._target(path)
        local.mkdir(place.ref, place.path, mode & 0o7777)

    def create(self, path: str, mode: int, flags: int) -> Opened:
        place, local = self._target(path)
        return self.opened(local, place, flags, mode & 0o7777)

    def mknod(self, path: str, mode: int, device: int) -> None:
        place, local = self._target(path)
        if not stat.S_ISREG(mode):
            raise NotPermitted("a version has no special files")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        local.open(place.ref, place.path, flags, mode & 0o7777).close()

    def symlink(self, path: str, target: str) -> None:
        place, local = self._target(path)
        local.symlink(place.ref, place.path, target)

    def link(self, path: str, source: str) -> None:
        place, local = self._target(path)
        old = self._tree.place(source)
        local.link((old.ref, old.path), place.ref, place.path)

    def unlink(self, path: str) -> None:
        place = self._tree.place(path)
        local = self.local(place)
        if local is not None and self._is_published_document(place, local):
            self.node(place)
            local.documents.hide(place.ref)
        elif holder := self.holder(place):
            holder.unlink(place.ref, place.path)
        elif local is not None and place.ref.name == LATEST and not place.path:
            self._deletions.check()  # it is where the highest version is, or nowhere
        else:
            self._deletions.hide(self._deletable(place).registry, *place.name)

    def rmdir(self, path: str) -> None:
        place = self._tree.place(path)
        holder = self.holder(place)
        # A draft is ours whatever the registry has by its name, and whether it can be asked.
        is_draft = holder is not None and holder.is_draft(place.ref)
        if holder and (is_draft or not holder.documents.is_published(place.ref)):
            holder.rmdir(place.ref, place.path)
            return
        local = self._deletable(place)
        if place.path:
            self._check_empty(place)
            self._deletions.hide(local.registry, *place.name)
            return
        if holder:
            holder.rmdir(place.ref, "")  # not empty, if there are drafts in it
        try:
            self._wait(self._executor.submit(local.registry.delete, place.ref))
        except Unsupported:
            if any(self._tree.listing(place)):
                raise
        self._deletions.forget(local.registry, place.ref)
        local.outlast(place.ref.parent)

    def rename(self, old_path: str, new_path: str) -> None:
        old, new = self._tree.place(old_path), self._tree.place(new_path)
        local = self.local(new)
        if local is None or old.registry is not new.registry:
            raise self._refusal(new)
        if not local.holds(old.ref, old.path):
            # An editor sets the published text of a document aside before it writes its own.
            is_text = not old.path and not new.path and local.documents.is_document(old.ref)
            if not is_text or new.ref.parent != old.ref.parent:
                raise self._refusal(old)
            local.documents.copy(old.ref, new.ref)
            return
        self._target(new_path)
        local.rename((old.ref, old.path), (new.ref, new.path))

    # Attributes.

    def chmod(self, path: str, mode: int) -> None:
        if found := self._attributed(path):
            place, local = found
            local.chmod(place.ref, place.path, mode & 0o7777)

    def chown(self, path: str, uid: int, gid: int) -> None:
        if found := self._attributed(path):
            place, local = found
            local.chown(place.ref, place.path, uid, gid)

    def utimens(self, path: str, times: tuple[int | None, int | None]) -> None:
        if found := self._attributed(path):
            place, local = found
            local.utimens(place.ref, place.path, times)

    def truncate(self, path: str | None, length: int, number: int | None = None) -> None:
        if number is not None and isinstance(handle := self._handles[number], LocalHandle):
            handle.truncate(length)
            return
        if path is None:
            raise ReadOnly("published content does not change")
        place, local = self._editable(path)
        if place.path:
            local.truncate(place.ref, place.path, length)
            return
        handle = local.open(place.ref, "", os.O_WRONLY)
        try:
            handle.truncate(length)
            handle.flush()
        finally:
            handle.close()

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        place, local = self._existing(path)
        local.setxattr(place.ref, place.path, name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        place, local = self._existing(path)
        local.removexattr(place.ref, place.path, name)

    # Files.

    def open(self, path: str, flags: int) -> Opened:
        """Open what is local, or a published document to edit it."""
        place, local = self._editable(path)
        return self.opened(local, place, flags)

    def opened(self, local: Local, place: Place, flags: int, mode: int | None = None) -> Opened:
        """Open what is local, or make it; the kernel is offered to read and write it by itself."""
        reply = self._reply()
        handle = local.open(place.ref, place.path, flags, mode, is_passing=reply.is_passing)
        if reply.is_passing and reply.uid:
            handle.drop_rights()
        reply.offer, reply.answered = handle.offer, handle.answered
        return Opened(self._handles.add(handle))

    def write(self, path: str | None, data: bytes, offset: int, number: int) -> int:
        handle = self._handles[number]
        if not isinstance(handle, LocalHandle):
            raise ReadOnly("published content does not change")
        return handle.write(data, offset)

    # Whose a path is.

    def _target(self, path: str) -> tuple[Place, Local]:
        """A place that something may be made at."""
        place = self._tree.place(path)
        local = self.local(place)
        if local is None or not place.ref.parts:
            raise self._refusal(place)
        if place.path and not local.is_draft(place.ref):
            raise self._refusal(place)
        return place, local

    def _existing(self, path: str) -> tuple[Place, Local]:
        """A place whose local content or attributes may change."""
        place = self._tree.place(path)
        holder = self.holder(place)
        if holder is None:
            raise self._refusal(place)
        return place, holder

    def _attributed(self, path: str) -> tuple[Place, Local] | None:
        """As `_existing`; None for notes and documents that are published by now.

        With their close they were; who wrote them goes on to set a mode or times, and has done
        nothing wrong.
        """
        place = self._tree.place(path)
        local = self.local(place)
        if place.path == NOTES and self._tree.is_new(place):
            return None
        if local is not None and self._is_published_document(place, local):
            return None
        return self._existing(path)

    def _editable(self, path: str) -> tuple[Place, Local]:
        """As `_existing`, or a published document."""
        place = self._tree.place(path)
        local = self.local(place)
        if local is not None and self._is_published_document(place, local):
            return place, local
        return self._existing(path)

    def _is_published_document(self, place: Place, local: Local) -> bool:
        if place.path or not local.documents.is_document(place.ref):
            return False
        return local.documents.is_published(place.ref.parent)

    def _deletable(self, place: Place) -> Local:
        """The local part of where something published may be deleted."""
        local = self.local(place)
        if local is None or not place.ref.parts:
            raise self._refusal(place)
        self._deletions.check()
        return local

    def _check_empty(self, place: Place) -> None:
        for name, _, _ in self._tree.listing(place):
            if not self._deletions.hides(place.registry, place.ref, f"{place.path}/{name}"):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    def _refusal(self, place: Place) -> ReadOnly:
        return ReadOnly(f"published content does not change: {place.ref}")
