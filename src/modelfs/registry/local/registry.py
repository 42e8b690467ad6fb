"""`local:DIR`: a registry directory as a Registry, read only and without a server.

Opens what a server may be writing at the same time, and makes nothing: a directory that is no
registry is Usage, said by the first call. No locks: every call is a transaction of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import TracebackType

from modelfs.errors import Corrupt, InvalidName, NotFound
from modelfs.model import (
    NOTES,
    Account,
    Digests,
    Document,
    Entry,
    File,
    Item,
    Manifest,
    Page,
    Query,
    Traits,
)
from modelfs.refs import Ref
from modelfs.registry import frameworks, metadata
from modelfs.registry.listed import narrowed
from modelfs.registry.local import items
from modelfs.registry.local.database import Database
from modelfs.registry.local.disk import disk_errors
from modelfs.registry.local.reader import DATABASE, Reader
from modelfs.registry.local.records import (
    FileRecord,
    InstanceRecord,
    ModelRecord,
    VersionRecord,
)

_LEVELS = ("owner", "model", "framework", "instance", "version")
_DOCUMENTS = ((), (metadata.MODEL,), (), (metadata.INSTANCE,), (NOTES,))

_NUMBER = re.compile(r"[1-9][0-9]{0,9}")

# Models of one owner come in pages of this many; more is one more query.
_PAGE = 1000


class LocalRegistry:
    """A directory as a Registry."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._database = Database(directory / DATABASE, is_read_only=True)
        self._unchecked_reader = Reader(directory, self._database)
        self._is_checked = False

    @cached_property
    def traits(self) -> Traits:
        return Traits(
            identity=f"local:{self._directory.resolve()}",
            levels=_LEVELS,
            is_listed=(True,) * len(_LEVELS),
            documents=_DOCUMENTS,
        )

    def account(self) -> Account:
        """Nobody: who can read the directory can read everything in it."""
        return Account("")

    def canonical(self, ref: Ref) -> Ref:
        if ref.depth < 3:
            return ref
        owner, model, framework, *below = ref.parts
        try:
            return Ref((owner, model, frameworks.parse(framework), *below))
        except InvalidName:
            return ref

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        match ref.parts:
            case ():
                return tuple(Entry(name) for name in self._reader().owners())
            case (owner,):
                models = self._models(owner)
                return tuple(
                    Entry(slug, moment)
                    for slug, moment in sorted((model.slug, model.updated) for model in models)
                )
            case (owner, model):
                return _frameworks(self._reader().all_instances(owner, model))
            case (_, _, _):
                return self.stat(ref).children or ()
            case (owner, model, framework, slug):
                name = self._framework(ref, framework)
                found = self._reader().all_versions(owner, model, name, slug)
                return tuple(Entry(str(version.number), version.created) for version in found)
        raise NotFound(f"{ref}: has no names below")

    def stat(self, ref: Ref) -> Entry:
        reader = self._reader()
        match ref.parts:
            case (owner,):
                if not reader.models(owner=owner, size=1).items:
                    raise NotFound(f"{owner}: no such owner")
                return Entry(owner)
            case (owner, model):
                return Entry(model, reader.model(owner, model).updated)
            case (owner, model, framework):
                name = self._framework(ref, framework)
                for entry in _frameworks(reader.all_instances(owner, model)):
                    if entry.name == name:
                        return entry
                raise NotFound(f"{ref}: no such framework")
            case (_, _, _, slug):
                return Entry(slug, self._instance(ref).updated)
            case (_, _, _, _, number):
                return Entry(number, self._version(ref).created)
        raise NotFound(f"{ref}: no such name")

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        match ref.parts:
            case (owner, model):
                record = self._reader().model(owner, model)
                return (Document(metadata.MODEL, _model_document(record), record.updated),)
            case (_, _, _, _):
                instance = self._instance(ref)
                content = _instance_document(instance)
                return (Document(metadata.INSTANCE, content, instance.updated),)
        self.stat(ref)
        return ()

    def manifest(self, ref: Ref) -> Manifest:
        version = self._version(ref)
        files = [_file(record) for record in self._reader().all_files(version)]
        return Manifest.of(files, _notes(version), version.created)

    def item(self, ref: Ref) -> Item:
        ref = self.canonical(ref)
        match ref.parts:
            case (owner, model):
                return items.of_model(self._reader(), owner, model)
            case (_, _, _, _):
                return items.of_instance(self._instance(ref))
            case (_, _, _, _, _):
                return items.of_version(self._reader(), self._instance(ref), self._version(ref))
        self.stat(ref)
        return Item(ref)

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        ref = self.canonical(ref)
        query = narrowed(ref, query, size)
        reader, size = self._reader(), size or _PAGE
        match ref.parts:
            case () | (_,):
                return items.models(reader, query, size, token)
            case (owner, model):
                return items.instances(reader, owner, model, size, token)
            case (owner, model, framework):
                name = self._framework(ref, framework)
                found = items.instances(reader, owner, model, size, token)
                return replace(found, items=tuple(i for i in found.items if i.ref.parts[2] == name))
            case (_, _, _, _):
                return items.versions(reader, self._instance(ref), size, token)
        return items.files(reader, ref, self._version(ref), size, token)

    def open(self, ref: Ref, file: File, start: int, stop: int) -> BlobBody:
        record = self._reader().file(*self._name(ref), file.path)
        found = _file(record)
        if found.size != file.size or found.digests != (file.digests or found.digests):
            raise Corrupt(f"{ref}/{file.path}: the file is not the one that was listed")
        with disk_errors(f"{ref}/{file.path}: content cannot be read"):
            return BlobBody(
                os.open(self._reader().blob_path(record.sha256), os.O_RDONLY | os.O_CLOEXEC),
                found.digests,
                start,
                stop,
                f"{ref}/{file.path}",
            )

    def close(self) -> None:
        self._database.close()

    def _reader(self) -> Reader:
        if not self._is_checked:
            self._database.check()
            self._is_checked = True
        return self._unchecked_reader

    def _models(self, owner: str) -> Sequence[ModelRecord]:
        """Every model of an owner; NotFound if there is none."""
        found: list[ModelRecord] = []
        page: Page[ModelRecord] = Page(())
        while not found or page.next_token:
            page = self._reader().models(
                owner=owner, order="createTime", size=_PAGE, token=page.next_token
            )
            found += page.items
            if not found:
                raise NotFound(f"{owner}: no such owner")
        return found

    def _framework(self, ref: Ref, text: str) -> str:
        try:
            return frameworks.parse(text)
        except InvalidName as exc:
            raise NotFound(f"{ref}: no such framework: {text!r}") from exc

    def _instance(self, ref: Ref) -> InstanceRecord:
        owner, model, framework, slug = ref.parts[:4]
        return self._reader().instance(owner, model, self._framework(ref, framework), slug)

    def _version(self, ref: Ref) -> VersionRecord:
        return self._reader().version(*self._name(ref))

    def _name(self, ref: Ref) -> tuple[str, str, str, str, int]:
        """What a version's name says; NotFound if no version can have it."""
        if ref.depth != len(_LEVELS):
            raise NotFound(f"{ref}: not the name of a version")
        owner, model, framework, slug, number = ref.parts
        # Other spellings of a number ("07", "٧") name nothing.
        if not _NUMBER.fullmatch(number):
            raise NotFound(f"{ref}: no such version")
        return owner, model, self._framework(ref, framework), slug, int(number)


class BlobBody:
    """A range of a blob; see `Body`."""

    def __init__(self, fd: int, digests: Digests, start: int, stop: int, name: str) -> None:
        self.digests = digests
        self._fd = fd
        self._offset = start
        self._stop = stop
        self._name = name

    def readinto(self, buffer: memoryview, /) -> int:
        wanted = min(len(buffer), self._stop - self._offset)
        if not wanted:
            return 0
        with disk_errors(f"{self._name}: content cannot be read"):
            count = os.preadv(self._fd, [buffer[:wanted]], self._offset)
        if not count:
            raise Corrupt(f"{self._name}: content ends at {self._offset}, not at {self._stop}")
        self._offset += count
        return count

    def __enter__(self) -> BlobBody:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        os.close(self._fd)


def _frameworks(found: Sequence[InstanceRecord]) -> tuple[Entry, ...]:
    """Instances, sorted by framework, as entries of their frameworks."""
    entries = []
    for framework, group in groupby(found, key=lambda record: record.framework):
        below = tuple(Entry(record.slug, record.updated) for record in group)
        moment = max(entry.mtime or 0.0 for entry in below)
        entries.append(Entry(framework, moment, below))
    return tuple(entries)


def _file(record: FileRecord) -> File:
    digests = Digests(record.md5, record.crc32c, record.sha256)
    return File(record.path, record.size, record.created, digests)


def _notes(version: VersionRecord) -> tuple[Document, ...]:
    if not version.notes:
        return ()
    content = version.notes.encode(errors="replace")
    if not content.endswith(b"\n"):
        content += b"\n"
    return (Document(NOTES, content, version.created),)


def _model_document(record: ModelRecord) -> bytes:
    return metadata.model_document(
        owner=record.owner,
        slug=record.slug,
        title=record.title,
        subtitle=record.subtitle,
        is_private=record.is_private,
        description=record.description,
        publish_time=record.publish_time,
        provenance_sources=record.provenance_sources,
    )


def _instance_document(record: InstanceRecord) -> bytes:
    return metadata.instance_document(
        owner=record.owner,
        model=record.model,
        slug=record.slug,
        framework=record.framework,
        overview=record.overview,
        usage=record.usage,
        license_name=record.license_name,
        fine_tunable=record.fine_tunable,
        training_data=record.training_data,
        instance_type=record.instance_type,
        base_model_instance=record.base_model_instance,
        external_base_model_url=record.external_base_model_url,
    )
