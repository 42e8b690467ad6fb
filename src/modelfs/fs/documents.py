"""Editing the metadata documents of what is published.

While a document is edited its text is local; when it is closed, or moved into place by an editor
that writes a new file, it goes to the registry, and the registry's text is what counts again. A
text that the registry does not take is refused to whoever closes it, and the reason is in a file
beside it. No lock; two editors of one document overwrite each other, as on any disk.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor

from modelfs.errors import Error, NotFound
from modelfs.fs.staging import Staging
from modelfs.model import Document
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from modelfs.waiting import Wait

# Tells why the last edit of a metadata document was refused.
COMPLAINT = "METADATA_FAILED.txt"


class Documents:
    """The metadata documents of `registry`; those being edited are in `staging`."""

    def __init__(
        self, registry: WritableRegistry, staging: Staging, executor: Executor, wait: Wait
    ) -> None:
        self._registry = registry
        self._staging = staging
        self._executor = executor
        self._wait = wait

    def is_document(self, ref: Ref) -> bool:
        """True for the name of a metadata document."""
        return ref.name in self._registry.traits.documents_of(ref.parent)

    def is_published(self, ref: Ref) -> bool:
        """True if the registry has what `ref` names."""
        if not ref.parts:
            return True
        try:
            self._registry.stat(ref)
        except NotFound:
            return False
        return True

    def copy(self, ref: Ref, target: Ref) -> None:
        """Give the text of a published document a local name: its own, to be edited, or another."""
        texts = [d.content for d in self._registry.documents(ref.parent) if d.name == ref.name]
        if not texts:
            raise NotFound(f"there is no {ref}")
        self._write(target, texts[0])

    def watcher(self, ref: Ref) -> _Watcher | None:
        """Who has to be told when a local file above the drafts is written to."""
        return _Watcher(self, ref) if self.is_document(ref) else None

    def moved_into_place(self, ref: Ref) -> None:
        """An editor has renamed its file to `ref`."""
        if self.is_document(ref) and self.is_published(ref.parent):
            try:
                self.send(ref)
            finally:
                self.drop(ref)

    def send(self, ref: Ref) -> None:
        """Send the local text of a document to the registry, if that has what it describes."""
        if not self.is_published(ref.parent):
            return
        complaint = ref.parent.child(COMPLAINT)
        try:
            document = Document(ref.name, self._staging.path(ref).read_bytes())
            self._wait(self._executor.submit(self._registry.update, ref.parent, document))
        except Error as exc:
            self._write(complaint, f"{ref.name} was not changed: {exc}\n".encode())
            raise
        if self._staging.holds(complaint):
            self._remove(complaint)

    def drop(self, ref: Ref) -> None:
        """Nobody edits the document any more: the registry's text is what counts."""
        if self._staging.holds(ref) and self.is_published(ref.parent):
            self._remove(ref)

    def forget(self, ref: Ref) -> None:
        """A local file above the drafts is gone; so are directories that were only for it."""
        self._staging.forget(ref)
        above = ref.parent
        while above.parts and not self._staging.names(above) and self.is_published(above):
            os.rmdir(self._staging.path(above))
            self._staging.forget(above)
            above = above.parent

    def _write(self, ref: Ref, text: bytes) -> None:
        if not self._staging.is_directory(ref.parent):
            self._staging.make(ref.parent)
        self._staging.path(ref).write_bytes(text)
        self._staging.note(ref)

    def _remove(self, ref: Ref) -> None:
        self._staging.path(ref).unlink(missing_ok=True)
        self.forget(ref)


class _Watcher:
    """Sends a document when it is closed, if what it describes is published."""

    def __init__(self, documents: Documents, ref: Ref) -> None:
        self._documents = documents
        self._ref = ref

    def writing(self) -> None:
        """It may be written to at any time."""

    def written(self) -> None:
        """It counts when it is closed."""

    def flushed(self, size: int) -> None:
        if size:
            self._documents.send(self._ref)

    def closed(self) -> None:
        self._documents.drop(self._ref)
