"""Editing the metadata documents of what is published, or is published by them.

While somebody edits a document its text is local; when it is closed, or moved into place by an
editor that writes a new file, it goes to the registry, and once nobody edits it the registry's text
is what counts again. A text that the registry does not take is refused to whoever closes it, and
the reason is in a file beside it. Two editors of one document overwrite each other, as on any disk.

One lock guards which documents are edited and which local names stand for them; it is held for
changes of single small files.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from modelfs.errors import Error, Exists, NotFound
from modelfs.fs.staging import Staging
from modelfs.model import Document
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from modelfs.waiting import Clock, Wait

# Tells why the last edit of a metadata document was refused.
COMPLAINT = "METADATA_FAILED.txt"
# A document goes only with what it describes. But `mv` and `install` remove one to make it anew, so
# one that is removed is gone for as many seconds.
_GONE = 2.0


class Documents:
    """The metadata documents of `registry`; those being edited are in `staging`."""

    def __init__(
        self,
        registry: WritableRegistry,
        staging: Staging,
        executor: Executor,
        wait: Wait,
        clock: Clock = time.monotonic,
    ) -> None:
        self._registry = registry
        self._staging = staging
        self._executor = executor
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()
        # How many edit a document.
        self._editors: dict[Ref, int] = {}
        # Until when a document that was removed is gone.
        self._gone: dict[Ref, float] = {}

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

    def hide(self, ref: Ref) -> None:
        """A published document is removed, for a moment."""
        published = self._published_above(ref)
        with self._lock:
            self._gone[ref] = self._clock() + _GONE
            self._remove(ref, published)

    def hides(self, ref: Ref) -> bool:
        """True for a document that was just removed."""
        return self._clock() < self._gone.get(ref, 0.0)

    def hidden_in(self, ref: Ref) -> list[str]:
        """The names of documents of `ref` that were just removed."""
        return [gone.name for gone in list(self._gone) if gone.parent == ref and self.hides(gone)]

    def copy(self, ref: Ref, target: Ref) -> None:
        """Give the text of a published document another, local name."""
        text = self._text(ref)
        with self._lock:
            self._write(target, text)

    def begin(self, ref: Ref, *, is_new: bool) -> None:
        """Somebody edits a document: until as many `end`, it is local, with the text it has.

        `is_new`: with one of his own.
        """
        with self._lock:
            self._editors[ref] = self._editors.get(ref, 0) + 1
            self._gone.pop(ref, None)
            is_here = is_new or self._staging.holds(ref)
        if is_here:
            return
        try:
            text = self._text(ref)
            with self._lock:
                if not self._staging.holds(ref):
                    self._write(ref, text)
        except (Error, OSError):
            self.end(ref)
            raise

    def end(self, ref: Ref) -> None:
        """Who edited it does so no more; of what is published the registry's text counts again."""
        is_published, published = self.is_published(ref.parent), self._published_above(ref)
        with self._lock:
            self._editors[ref] -= 1
            if self._editors[ref]:
                return
            del self._editors[ref]
            if is_published:
                self._remove(ref, published)

    @contextmanager
    def making(self) -> Iterator[None]:
        """Local names above the drafts are made: no directory goes because it was empty."""
        with self._lock:
            yield

    @contextmanager
    def moving(self, ref: Ref) -> Iterator[None]:
        """An editor renames its file to `ref`; if that is a document, it is sent."""
        if not self.is_document(ref):
            yield
            return
        self.begin(ref, is_new=True)
        try:
            yield
            self.send(ref)
        finally:
            self.end(ref)

    def watcher(self, ref: Ref, *, is_new: bool) -> _Watcher | None:
        """Begin to edit, if it is a document: who is told of what is written, and of the end."""
        if not self.is_document(ref):
            return None
        self.begin(ref, is_new=is_new)
        return _Watcher(self, ref)

    def send(self, ref: Ref) -> None:
        """Send the local text of a document to the registry, if that has what it describes.

        Where a registry has it so (see Traits), what it does not have is made.
        """
        is_published = self.is_published(ref.parent)
        if not is_published and not self._registry.traits.is_made_alone:
            return
        try:
            content = self._staging.path(ref).read_bytes()
        except FileNotFoundError:
            return  # somebody removed it while it was being written
        complaint = ref.parent.child(COMPLAINT)
        try:
            document = Document(ref.name, content)
            act = self._registry.update if is_published else self._add
            self._wait(self._executor.submit(act, ref.parent, document))
        except Error as exc:
            outcome = (
                f"{ref.name} was not changed" if is_published else f"{ref.parent} was not made"
            )
            with self._lock:
                self._write(complaint, f"{outcome}: {exc}\n".encode())
            raise
        if self._staging.holds(complaint):
            self.forget(complaint)

    def _add(self, ref: Ref, document: Document) -> None:
        try:
            self._registry.add(ref, (document,))
        except Exists:  # an earlier answer got lost, or somebody was faster
            self._registry.update(ref, document)

    def forget(self, ref: Ref) -> None:
        """Remove a local file above the drafts, and directories that were only for it."""
        published = self._published_above(ref)
        with self._lock:
            self._remove(ref, published)

    def became(self, draft: Ref) -> None:
        """A draft is published: of what is above it, the registry's documents count."""
        for above in draft.ancestors():
            for name in (*self._registry.traits.documents_of(above), COMPLAINT):
                ref = above.child(name)
                with self._lock:
                    if ref not in self._editors and self._staging.holds(ref):
                        self._remove(ref, [])

    def _text(self, ref: Ref) -> bytes:
        for document in self._registry.documents(ref.parent):
            if document.name == ref.name:
                return document.content
        raise NotFound(f"there is no {ref}")

    def _published_above(self, ref: Ref) -> list[Ref]:
        """What is above `ref` and published, nearest first."""
        return [above for above in reversed(list(ref.ancestors())) if self.is_published(above)]

    # Under the lock.

    def _write(self, ref: Ref, text: bytes) -> None:
        if not self._staging.is_directory(ref.parent):
            self._staging.make(ref.parent)
        self._staging.path(ref).write_bytes(text)
        self._staging.note(ref)

    def _remove(self, ref: Ref, published: list[Ref]) -> None:
        self._staging.forget(ref)  # first: whoever does not find the file looks again, elsewhere
        self._staging.path(ref).unlink(missing_ok=True)
        for above in published:
            if not above.parts or not self._staging.holds(above) or self._staging.names(above):
                return
            self._staging.forget(above)
            os.rmdir(self._staging.path(above))


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
        self._documents.end(self._ref)
