"""A directory as a registry, written: what the server serves.

Owns the directory:

    registry.db             models, instances, versions and their files, container models (SQLite,
                            write-ahead log)
    blobs/ab/<sha256>       one immutable file per distinct content
    uploads/<token>/        sessions of resumable uploads
    archives/<id>.tar.gz    whole versions, built when first asked for
    tmp/                    files on their way into one of these

Contents come before the rows that name them, and the rows of one change in one transaction: a
crash at any moment leaves versions whole or not there, and at worst something to sweep. Safe for
many threads and processes; the only locks are the database's, held for one transaction.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection

from modelfs.errors import Exists, InvalidName, Usage, WrongState
from modelfs.model import File
from modelfs.refs import is_never_a_slug, name_fault
from modelfs.registry import frameworks
from modelfs.registry.local import catalog, checked, writing
from modelfs.registry.local.archives import Archives
from modelfs.registry.local.bundles import contents, tokens_of
from modelfs.registry.local.containers import Containers
from modelfs.registry.local.database import Database
from modelfs.registry.local.disk import disk_errors
from modelfs.registry.local.reader import BLOBS, DATABASE, TEMPORARY, Reader
from modelfs.registry.local.records import (
    Bundle,
    FileRecord,
    InstanceRecord,
    ModelRecord,
    VersionRecord,
)
from modelfs.registry.local.uploads import KEPT_FOR, Uploads
from modelfs.waiting import Clock

_log = logging.getLogger(__name__)

UPLOADS = "uploads"
ARCHIVES = "archives"

# Longer than a finished upload is kept: what it refers to outlives it.
_CONTENT_KEPT_FOR = KEPT_FOR + 86400.0

# Longer than anything takes between two writes to a temporary file.
_TEMPORARY_KEPT_FOR = 86400.0

# Contents that are looked at in one transaction of `sweep`: writers wait no longer than that.
_SWEPT_AT_ONCE = 200


class Store(Reader):
    """A directory as a registry: metadata in a database, files by the digest of their content."""

    def __init__(self, directory: Path, clock: Clock = time.time) -> None:
        super().__init__(directory, Database(directory / DATABASE))
        self._clock = clock
        self._archives = Archives(directory / ARCHIVES, directory / TEMPORARY)
        self.uploads = Uploads(directory / UPLOADS, self._blobs, clock)
        self.containers = Containers(self._database, clock)

    def start(self) -> None:
        """Make the directory a registry if it is none, and clear what a crash left behind."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise Usage(f"{self._directory}: cannot be a registry: {exc.strerror}") from exc
        with disk_errors("registry cannot be made"):
            for name in (BLOBS, UPLOADS, ARCHIVES, TEMPORARY):
                (self._directory / name).mkdir(mode=0o700, exist_ok=True)
        self._database.create()
        self._sweep_temporary()

    def stop(self) -> None:
        """Give the database back; everything that was answered is on disk already."""
        self._database.close()

    def create_model(
        self,
        owner: str,
        slug: str,
        *,
        title: str,
        subtitle: str = "",
        is_private: bool = True,
        description: str = "",
        publish_time: float | None = None,
        provenance_sources: str = "",
    ) -> ModelRecord:
        """A new model; Exists if the owner has one of that slug."""
        _check_slugs(owner, slug)
        fields = checked.model(
            {
                "title": title,
                "subtitle": subtitle,
                "is_private": is_private,
                "description": description,
                "publish_time": publish_time,
                "provenance_sources": provenance_sources,
            }
        )
        with self._database.write() as connection:
            writing.insert_model(connection, owner, slug, fields, self._clock())
            return catalog.model(connection, owner, slug)

    def update_model(self, owner: str, slug: str, changes: Mapping[str, object]) -> ModelRecord:
        """Change fields of a model's metadata, named as in ModelRecord."""
        fields = checked.model(changes)
        with self._database.write() as connection:
            record = catalog.model(connection, owner, slug)
            writing.update_model(connection, record, fields, self._clock())
            return catalog.model(connection, owner, slug)

    def delete_model(self, owner: str, slug: str) -> None:
        """Delete a model with everything below it."""
        with self._database.write() as connection:
            writing.delete_model(connection, catalog.model(connection, owner, slug).id)

    def create_instance(
        self,
        owner: str,
        model: str,
        framework: str,
        slug: str,
        *,
        bundle: Bundle,
        fields: Mapping[str, object],
        notes: str = "",
    ) -> InstanceRecord:
        """A new instance with its version 1; both or neither. Exists if the slug is taken.

        If it was made of these very uploads before, somebody asks again who got no answer: it is
        given, and nothing made.
        """
        framework = frameworks.parse(framework)
        _check_slugs(slug)
        name = (owner, model, framework, slug)
        values = checked.instance(fields)
        tokens = frozenset(tokens_of(bundle))
        with self._database.read() as connection:
            # Asked again below; here so that no archive is unpacked in vain.
            parent = catalog.model(connection, owner, model)
            if writing.has_instance(connection, parent.id, framework, slug):
                return _made_before(connection, name, tokens)
        files = contents(bundle, self.uploads, self._blobs)
        now = self._clock()
        with self._database.write() as connection:
            parent = catalog.model(connection, owner, model)
            if writing.has_instance(connection, parent.id, framework, slug):
                return _made_before(connection, name, tokens)
            instance_id = writing.insert_instance(connection, parent, framework, slug, values, now)
            self._insert_version(connection, instance_id, files, notes, tokens, now)
            return catalog.instance(connection, *name)

    def update_instance(
        self, owner: str, model: str, framework: str, slug: str, changes: Mapping[str, object]
    ) -> InstanceRecord:
        """Change fields of an instance's metadata, named as in InstanceRecord."""
        framework = frameworks.parse(framework)
        fields = checked.instance(changes)
        with self._database.write() as connection:
            record = catalog.instance(connection, owner, model, framework, slug)
            writing.update_instance(connection, record, fields, self._clock())
            return catalog.instance(connection, owner, model, framework, slug)

    def delete_instance(self, owner: str, model: str, framework: str, slug: str) -> None:
        """Delete an instance with all its versions."""
        framework = frameworks.parse(framework)
        with self._database.write() as connection:
            record = catalog.instance(connection, owner, model, framework, slug)
            writing.delete_instance(connection, record.id, self._clock())

    def create_version(
        self,
        owner: str,
        model: str,
        framework: str,
        slug: str,
        *,
        bundle: Bundle,
        notes: str = "",
    ) -> VersionRecord:
        """The next version of an instance, under a number that was never used.

        If one was made of these very uploads before, somebody asks again who got no answer: that
        version is given, and nothing made. WrongState if only some of them are in a version.
        """
        framework = frameworks.parse(framework)
        name = (owner, model, framework, slug)
        tokens = frozenset(tokens_of(bundle))
        with self._database.read() as connection:  # before any archive is unpacked
            parent = catalog.instance(connection, *name)
            if (made := catalog.made_of(connection, parent.id, tokens)) is not None:
                return catalog.version(connection, *name, made)
        files = contents(bundle, self.uploads, self._blobs)
        with self._database.write() as connection:
            parent = catalog.instance(connection, *name)
            number = catalog.made_of(connection, parent.id, tokens)
            if number is None:
                now = self._clock()
                number = self._insert_version(connection, parent.id, files, notes, tokens, now)
            return catalog.version(connection, *name, number)

    def delete_version(
        self, owner: str, model: str, framework: str, slug: str, number: int
    ) -> None:
        """Delete a version; an instance without versions stays."""
        framework = frameworks.parse(framework)
        with self._database.write() as connection:
            record = catalog.version(connection, owner, model, framework, slug, number)
            writing.delete_version(connection, record, self._clock())

    def archive(self, version: VersionRecord) -> Path:
        """The whole version as a .tar.gz: an immutable file, built when first asked for."""
        self.archive_record(version)
        return self._archives.path(version.id)

    def archive_record(self, version: VersionRecord) -> FileRecord:
        """Size and digests of the version's archive, named after its model."""
        with self._database.read() as connection:
            known = catalog.archive(connection, version)
            if known and self._archives.has(version.id, known.size):
                return known
            files = catalog.all_files(connection, version)
        size, digests = self._archives.build(version, files, self._blobs.path)
        with self._database.write() as connection:
            name = catalog.archive_name(connection, version)
            writing.put_archive(connection, version.id, size, digests)
        return FileRecord(name, size, version.created, digests.sha256, digests.md5, digests.crc32c)

    def sweep(self) -> None:
        """Remove what nothing refers to any more: expired uploads, contents, archives.

        Everything that somebody may still come back for is younger than the limits here, so this
        can run at any time, beside anything; a server does it now and then.
        """
        with disk_errors("registry cannot be swept"):
            uploads = self.uploads.sweep()
            self._sweep_temporary()
            with self._database.write() as connection:
                writing.forget_uploads(connection, self._clock() - _CONTENT_KEPT_FOR)
            blobs = self._sweep_blobs()
            archives = self._sweep_archives()
        _log.info("swept: %d uploads, %d contents, %d archives", uploads, blobs, archives)

    def _insert_version(
        self,
        connection: Connection,
        instance_id: int,
        files: Sequence[File],
        notes: str,
        tokens: frozenset[str],
        now: float,
    ) -> int:
        for sha256, size in {(file.digests.sha256, file.size) for file in files}:
            # Sweeping takes the writers' turn too: what is here now stays.
            if not self._blobs.has(sha256, size):
                raise WrongState("an upload has expired: it has to be sent again")
        return writing.insert_version(connection, instance_id, files, notes, now, tokens)

    def _sweep_blobs(self) -> int:
        swept = 0
        limit = self._clock() - _CONTENT_KEPT_FOR
        old = self._blobs.older_than(limit)
        while digests := list(islice(old, _SWEPT_AT_ONCE)):
            with self._database.write() as connection:
                for sha256 in digests:
                    if not catalog.is_referenced(connection, sha256):
                        swept += self._blobs.remove_older(sha256, limit)
        return swept

    def _sweep_archives(self) -> int:
        swept = 0
        for version_id in self._archives.version_ids():
            with self._database.read() as connection:
                is_known = catalog.has_version(connection, version_id)
            if not is_known:  # ids are never given twice
                self._archives.remove(version_id)
                swept += 1
        return swept

    def _sweep_temporary(self) -> None:
        limit = self._clock() - _TEMPORARY_KEPT_FOR
        for path in (self._directory / TEMPORARY).iterdir():
            try:
                if path.stat().st_mtime < limit:
                    path.unlink()
            except FileNotFoundError:  # it has just got its name
                continue


def _made_before(
    connection: Connection, name: tuple[str, str, str, str], tokens: frozenset[str]
) -> InstanceRecord:
    """The instance of that name if its first version is of these uploads; else Exists."""
    record = catalog.instance(connection, *name)
    if catalog.made_of(connection, record.id, tokens) != 1:
        raise Exists(f"{'/'.join(name)}: instance exists")
    return record


def _check_slugs(*slugs: str) -> None:
    for slug in slugs:
        fault = name_fault(slug) or ("no registry has it" if is_never_a_slug(slug) else "")
        if fault:
            raise InvalidName(f"not a slug, {fault}: {slug!r}")
