"""A registry directory, read: records from the database, contents from the blobs.

Thread-safe: each call is a transaction of its own. Files named by it never change, but go when
their version is deleted and swept.
"""

from __future__ import annotations

from pathlib import Path

from modelfs.model import Page
from modelfs.registry import frameworks
from modelfs.registry.local import catalog
from modelfs.registry.local.blobs import Blobs
from modelfs.registry.local.database import Database
from modelfs.registry.local.records import (
    FileRecord,
    InstanceRecord,
    ModelRecord,
    VersionRecord,
)

DATABASE = "registry.db"
BLOBS = "blobs"
TEMPORARY = "tmp"


class Reader:
    """What a registry directory holds. Frameworks are taken in any spelling."""

    def __init__(self, directory: Path, database: Database) -> None:
        self._directory = directory
        self._database = database
        self._blobs = Blobs(directory / BLOBS, directory / TEMPORARY)

    def models(
        self,
        *,
        owner: str = "",
        search: str = "",
        order: str = "hotness",
        viewer: str | None = None,
        size: int = 20,
        token: str = "",
    ) -> Page[ModelRecord]:
        """Models, newest first: the public ones and the viewer's own; all if `viewer` is None."""
        with self._database.read() as connection:
            return catalog.list_models(
                connection,
                owner=owner,
                search=search,
                order=order,
                viewer=viewer,
                size=size,
                token=token,
            )

    def owners(self) -> tuple[str, ...]:
        """Everybody who has a model, sorted."""
        with self._database.read() as connection:
            return catalog.owners(connection)

    def model(self, owner: str, slug: str) -> ModelRecord:
        with self._database.read() as connection:
            return catalog.model(connection, owner, slug)

    def instances(
        self, owner: str, model: str, *, size: int = 20, token: str = ""
    ) -> Page[InstanceRecord]:
        """Instances of a model, by framework and slug."""
        with self._database.read() as connection:
            return catalog.list_instances(connection, owner, model, size=size, token=token)

    def all_instances(self, owner: str, model: str) -> tuple[InstanceRecord, ...]:
        with self._database.read() as connection:
            return catalog.all_instances(connection, owner, model)

    def instance(self, owner: str, model: str, framework: str, slug: str) -> InstanceRecord:
        framework = frameworks.parse(framework)
        with self._database.read() as connection:
            return catalog.instance(connection, owner, model, framework, slug)

    def versions(
        self,
        owner: str,
        model: str,
        framework: str,
        slug: str,
        *,
        size: int = 20,
        token: str = "",
    ) -> Page[VersionRecord]:
        """Versions of an instance, in ascending order."""
        framework = frameworks.parse(framework)
        with self._database.read() as connection:
            parent = catalog.instance(connection, owner, model, framework, slug)
            return catalog.list_versions(connection, parent.id, size=size, token=token)

    def all_versions(
        self, owner: str, model: str, framework: str, slug: str
    ) -> tuple[VersionRecord, ...]:
        framework = frameworks.parse(framework)
        with self._database.read() as connection:
            parent = catalog.instance(connection, owner, model, framework, slug)
            return catalog.all_versions(connection, parent.id)

    def version(
        self, owner: str, model: str, framework: str, slug: str, number: int | None = None
    ) -> VersionRecord:
        """That version; the highest one for None."""
        framework = frameworks.parse(framework)
        with self._database.read() as connection:
            return catalog.version(connection, owner, model, framework, slug, number)

    def files(
        self,
        owner: str,
        model: str,
        framework: str,
        slug: str,
        number: int | None = None,
        *,
        size: int = 20,
        token: str = "",
    ) -> Page[FileRecord]:
        """Files of a version, by path."""
        framework = frameworks.parse(framework)
        with self._database.read() as connection:
            of = catalog.version(connection, owner, model, framework, slug, number)
            return catalog.list_files(connection, of, size=size, token=token)

    def file(
        self, owner: str, model: str, framework: str, slug: str, number: int, path: str
    ) -> FileRecord:
        framework = frameworks.parse(framework)
        with self._database.read() as connection:
            return catalog.file_named(connection, owner, model, framework, slug, number, path)

    def all_files(self, version: VersionRecord) -> tuple[FileRecord, ...]:
        """Every file of a version, by path."""
        with self._database.read() as connection:
            return catalog.all_files(connection, version)

    def blob_path(self, sha256: str) -> Path:
        """Where that content is: a file that never changes."""
        return self._blobs.path(sha256)
