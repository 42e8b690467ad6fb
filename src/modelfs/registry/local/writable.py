"""`local:DIR`, published to without a server: the directory's own store does the work.

The same rules, documents and results as over the wire. Whoever may write the directory may write
everything in it. No locks of its own: the store's transactions are enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from modelfs.errors import (
    Corrupt,
    Error,
    Exists,
    Expired,
    InvalidName,
    NotFound,
    TooLarge,
    Unsupported,
)
from modelfs.model import Bundle, Document, Part, Traits
from modelfs.refs import Ref
from modelfs.registry import described, metadata, proposals
from modelfs.registry.local import records
from modelfs.registry.local.disk import CHUNK
from modelfs.registry.local.registry import LocalRegistry
from modelfs.registry.local.store import Store
from modelfs.registry.local.uploads import LARGEST, UploadWriter


class WritableLocalRegistry(LocalRegistry):
    """A directory as a registry, read and written. `license_name` is for new instances."""

    def __init__(self, directory: Path, license_name: str) -> None:
        super().__init__(directory)
        self._license_name = license_name
        self._unchecked_store = Store(directory)
        self._has_started = False

    @cached_property
    def traits(self) -> Traits:
        return replace(super().traits, is_writable=True)

    def blank(self, ref: Ref) -> tuple[Document, ...]:
        return proposals.blank(self.canonical(ref), self._license_name)

    def check(self, bundle: Bundle) -> None:
        proposals.check(bundle)
        for part in bundle.parts:
            if part.size > LARGEST:
                raise TooLarge(f"{part.path}: larger than {LARGEST} bytes: {part.size}")

    def begin(self, part: Part) -> str:
        name = part.path.rpartition("/")[2]
        return self._store().uploads.begin(name, part.size, part.mtime, "").token

    def send(self, session: str, part: Part, fd: int, progress: Callable[[int], None]) -> str:
        uploads = self._store().uploads
        try:
            upload = uploads.find(session)
        except NotFound as exc:
            raise Expired(f"{part.path}: {exc}") from exc
        if upload.size != part.size:
            raise Expired(f"{part.path}: the upload is of {upload.size} bytes, not {part.size}")
        progress(upload.received)
        if not upload.is_complete:
            with uploads.open(session, upload.received) as writer:
                _copy(fd, upload.received, part, writer, progress)
                upload = writer.finish()
        if upload.md5 != part.digests.md5 or upload.sha256 != part.digests.sha256:
            raise Corrupt(f"{part.path}: the registry has other bytes than were sent")
        return session

    def create(self, bundle: Bundle) -> Ref:
        """See the protocol. Exists: the instance that was to be new is there meanwhile."""
        ref = self.canonical(bundle.ref)
        new = {self.canonical(parent): documents for parent, documents in bundle.parents}
        store = self._store()
        for parent in sorted(new, key=lambda parent: parent.depth):
            if parent.depth == 2:
                _create_model(store, parent, new[parent])
        owner, model, framework, slug, _ = ref.parts
        name = (owner, model, framework, slug)
        tree = _tree(bundle.uploads)
        if ref.parent in new:
            fields = _recorded(proposals.fields(ref.parent, new[ref.parent]), _INSTANCE)
            store.create_instance(*name, bundle=tree, fields=fields, notes=bundle.notes)
            return ref.parent.child("1")
        version = store.create_version(*name, bundle=tree, notes=bundle.notes)
        return ref.parent.child(str(version.number))

    def add(self, ref: Ref, documents: tuple[Document, ...]) -> None:
        ref = self.canonical(ref)
        if ref.depth != 2:
            raise Unsupported(f"{ref}: cannot be without a version, or without what is in it")
        owner, slug = ref.parts
        fields = _recorded(proposals.new(ref, documents), _MODEL)
        self._store().create_model(owner, slug, **fields)

    def update(self, ref: Ref, document: Document) -> None:
        ref = self.canonical(ref)
        current = self.documents(ref)
        if not current:
            raise InvalidName(f"{ref}: there is no {document.name} of it")
        changed = described.changes(document, current[0], ref)
        if not changed:
            return
        if ref.depth == 2:
            owner, slug = ref.parts
            self._store().update_model(owner, slug, _recorded(changed, _MODEL))
        else:
            owner, model, framework, slug = ref.parts
            fields = _recorded(changed, _INSTANCE)
            self._store().update_instance(owner, model, framework, slug, fields)

    def delete(self, ref: Ref) -> None:
        ref = self.canonical(ref)
        store = self._store()
        try:
            match ref.parts:
                case (owner, model):
                    store.delete_model(owner, model)
                case (owner, model, framework, slug):
                    store.delete_instance(owner, model, framework, slug)
                case (owner, model, framework, slug, _):
                    number = self._version(ref).number
                    store.delete_version(owner, model, framework, slug, number)
                case _:
                    raise Unsupported(f"{ref}: cannot be deleted, only what is in it")
        except NotFound:
            pass

    def close(self) -> None:
        super().close()
        self._unchecked_store.stop()

    def _store(self) -> Store:
        if not self._has_started:
            self._reader()  # raises Usage for a directory that is no registry
            self._unchecked_store.start()
            self._has_started = True
        return self._unchecked_store


_MODEL, _INSTANCE = metadata.MODEL_FIELDS, metadata.INSTANCE_FIELDS


def _create_model(store: Store, ref: Ref, documents: tuple[Document, ...]) -> None:
    owner, slug = ref.parts
    try:
        store.create_model(owner, slug, **_recorded(proposals.fields(ref, documents), _MODEL))
    except Exists:
        pass  # somebody was faster


def _recorded(fields: described.Fields, names: dict[str, str]) -> dict[str, Any]:
    """Fields of a metadata file under the names that records have."""
    found: dict[str, Any] = {names[key]: value for key, value in fields.items()}
    if "publishTime" in fields:
        found["publish_time"] = described.moment(fields)
    return found


def _copy(
    fd: int, start: int, part: Part, writer: UploadWriter, progress: Callable[[int], None]
) -> None:
    """Give the bytes of `fd` from `start` on to `writer`."""
    at = start
    while at < part.size:
        try:
            data = os.pread(fd, min(CHUNK, part.size - at), at)
        except OSError as exc:
            raise Error(f"{part.path}: cannot be read: {exc.strerror}") from exc
        if not data:
            raise Corrupt(f"{part.path}: shorter than it was: {at} bytes")
        writer.write(data)
        at += len(data)
        progress(at)


def _tree(parts: Iterable[Part]) -> records.Bundle:
    """Uploaded files as the tree of their directories."""
    files: list[records.UploadedFile] = []
    below: dict[str, list[Part]] = {}
    for part in sorted(parts, key=lambda part: part.path):
        top, separator, rest = part.path.partition("/")
        if separator:
            below.setdefault(top, []).append(replace(part, path=rest))
        else:
            files.append(records.UploadedFile(part.token))
    inner = {name: _tree(found) for name, found in below.items()}
    directories = (
        records.UploadedDirectory(name, tree.files, tree.directories)
        for name, tree in inner.items()
    )
    return records.Bundle(tuple(files), tuple(directories))
