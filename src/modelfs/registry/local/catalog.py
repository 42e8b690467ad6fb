"""Questions to the registry's tables: one function each, on an open connection.

Knows the tables and the records, and no file. What is not there is NotFound, said with its name.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from modelfs.errors import InvalidName, NotFound
from modelfs.model import Page
from modelfs.registry.local import paging
from modelfs.registry.local.records import (
    FileRecord,
    InstanceRecord,
    ModelRecord,
    VersionRecord,
)
from modelfs.registry.local.schema import (
    archives,
    files,
    instances,
    models,
    used_uploads,
    versions,
)

_MODEL_COLUMNS = tuple(column for column in models.c if column.name != "searched")
_FILE_COLUMNS = (files.c.path, files.c.size, files.c.sha256, files.c.md5, files.c.crc32c)
_CURRENT = "version_"

# What the wire can sort by, and what of it a registry without visitors can tell: the rest is
# sorted by what changed last.
_BY_UPDATE = models.c.updated
_ORDERS: dict[str, ColumnElement[float]] = {
    "": _BY_UPDATE,
    "unspecified": _BY_UPDATE,
    "hotness": _BY_UPDATE,
    "downloadcount": _BY_UPDATE,
    "votecount": _BY_UPDATE,
    "notebookcount": _BY_UPDATE,
    "viewtimedesc": _BY_UPDATE,
    "updatetime": _BY_UPDATE,
    "createtime": models.c.created,
    "publishtime": func.coalesce(models.c.publish_time, 0.0),
}

# Numbers are 32-bit in the table and on the wire.
HIGHEST_NUMBER = 2**31 - 1

# Built once: building a query takes SQLAlchemy longer than SQLite takes to answer it.
_FILE_NAMES = ("owner", "model", "framework", "instance", "number", "path")
_FILE = (
    select(*_FILE_COLUMNS, versions.c.created)
    .join(versions, versions.c.id == files.c.version_id)
    .join(instances, instances.c.id == versions.c.instance_id)
    .join(models, models.c.id == instances.c.model_id)
    .where(
        models.c.owner == bindparam("owner"),
        models.c.slug == bindparam("model"),
        instances.c.framework == bindparam("framework"),
        instances.c.slug == bindparam("instance"),
        versions.c.number == bindparam("number"),
        files.c.path == bindparam("path"),
    )
)


def list_models(
    connection: Connection,
    *,
    owner: str,
    search: str,
    order: str,
    viewer: str | None,
    size: int,
    token: str,
) -> Page[ModelRecord]:
    """Models, newest first; `order` in any spelling of the wire's, `viewer` None sees all."""
    name = order.replace("_", "").lower().removeprefix("listmodelsorderby")
    if name not in _ORDERS:
        raise InvalidName(f"order is not known: {order!r}")
    column = _ORDERS[name]
    query = (
        select(*_MODEL_COLUMNS, column.label("ordered"))
        .order_by(column.desc(), models.c.id.desc())
        .limit(paging.checked_size(size) + 1)
    )
    if owner:
        query = query.where(models.c.owner == owner)
    if search:
        query = query.where(models.c.searched.contains(search.casefold(), autoescape=True))
    if viewer is not None:
        query = query.where(or_(models.c.is_private.is_(False), models.c.owner == viewer))
    scope = f"models by {name}"
    if after := paging.decode(scope, token, (float, int)):
        moment, number = after
        query = query.where(tuple_(column, models.c.id) < tuple_(literal(moment), literal(number)))
    page = paging.cut(
        scope,
        connection.execute(query).all(),
        size,
        lambda row: (float(row.ordered), int(row.id)),
    )
    return Page(tuple(_model(row._mapping) for row in page.items), page.next_token)


def owners(connection: Connection) -> tuple[str, ...]:
    query = select(models.c.owner).distinct().order_by(models.c.owner)
    return tuple(connection.execute(query).scalars())


def model(connection: Connection, owner: str, slug: str) -> ModelRecord:
    query = select(*_MODEL_COLUMNS).where(models.c.owner == owner, models.c.slug == slug)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"{owner}/{slug}: no such model")
    return _model(row._mapping)


def list_instances(
    connection: Connection, owner: str, model_slug: str, *, size: int, token: str
) -> Page[InstanceRecord]:
    """Instances of a model by framework and slug."""
    model_id = model(connection, owner, model_slug).id
    query = (
        _instances()
        .where(instances.c.model_id == model_id)
        .order_by(instances.c.framework, instances.c.slug)
        .limit(paging.checked_size(size) + 1)
    )
    if after := paging.decode("instances", token, (str, str)):
        key = tuple_(instances.c.framework, instances.c.slug)
        query = query.where(key > tuple_(literal(after[0]), literal(after[1])))
    found = [_instance(row._mapping) for row in connection.execute(query)]
    return paging.cut("instances", found, size, lambda record: (record.framework, record.slug))


def all_instances(
    connection: Connection, owner: str, model_slug: str
) -> tuple[InstanceRecord, ...]:
    """Every instance of a model, by framework and slug."""
    model_id = model(connection, owner, model_slug).id
    query = _instances().where(instances.c.model_id == model_id)
    query = query.order_by(instances.c.framework, instances.c.slug)
    return tuple(_instance(row._mapping) for row in connection.execute(query))


def instance(
    connection: Connection, owner: str, model_slug: str, framework: str, slug: str
) -> InstanceRecord:
    query = _instances().where(
        models.c.owner == owner,
        models.c.slug == model_slug,
        instances.c.framework == framework,
        instances.c.slug == slug,
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"{owner}/{model_slug}/{framework}/{slug}: no such instance")
    return _instance(row._mapping)


def list_versions(
    connection: Connection, instance_id: int, *, size: int, token: str
) -> Page[VersionRecord]:
    """Versions of an instance, ascending."""
    query = (
        select(versions)
        .where(versions.c.instance_id == instance_id)
        .order_by(versions.c.number)
        .limit(paging.checked_size(size) + 1)
    )
    if after := paging.decode("versions", token, (int,)):
        query = query.where(versions.c.number > after[0])
    found = [VersionRecord(**row._mapping) for row in connection.execute(query)]
    return paging.cut("versions", found, size, lambda record: (record.number,))


def all_versions(connection: Connection, instance_id: int) -> tuple[VersionRecord, ...]:
    query = select(versions).where(versions.c.instance_id == instance_id)
    rows = connection.execute(query.order_by(versions.c.number))
    return tuple(VersionRecord(**row._mapping) for row in rows)


def version(
    connection: Connection,
    owner: str,
    model_slug: str,
    framework: str,
    slug: str,
    number: int | None,
) -> VersionRecord:
    """That version; None for the highest."""
    parent = instance(connection, owner, model_slug, framework, slug)
    name = f"{owner}/{model_slug}/{framework}/{slug}"
    if number is None:
        if parent.version is None:
            raise NotFound(f"{name}: instance has no version")
        return parent.version
    query = select(versions).where(versions.c.instance_id == parent.id, versions.c.number == number)
    row = None
    if 0 < number <= HIGHEST_NUMBER:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"{name}/{number}: no such version")
    return VersionRecord(**row._mapping)


def list_files(
    connection: Connection, of: VersionRecord, *, size: int, token: str
) -> Page[FileRecord]:
    """Files of a version, by path."""
    query = (
        select(*_FILE_COLUMNS)
        .where(files.c.version_id == of.id)
        .order_by(files.c.path)
        .limit(paging.checked_size(size) + 1)
    )
    scope = f"files {of.id}"
    if after := paging.decode(scope, token, (str,)):
        query = query.where(files.c.path > after[0])
    found = [_file(row._mapping, of) for row in connection.execute(query)]
    return paging.cut(scope, found, size, lambda record: (record.path,))


def all_files(connection: Connection, of: VersionRecord) -> tuple[FileRecord, ...]:
    """Every file of a version, by path; NotFound if it was deleted meanwhile."""
    archive_name(connection, of)
    query = select(*_FILE_COLUMNS).where(files.c.version_id == of.id).order_by(files.c.path)
    return tuple(_file(row._mapping, of) for row in connection.execute(query))


def file(connection: Connection, of: VersionRecord, path: str) -> FileRecord:
    query = select(*_FILE_COLUMNS).where(files.c.version_id == of.id, files.c.path == path)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"{path}: no such file in version {of.number}")
    return _file(row._mapping, of)


def file_named(
    connection: Connection,
    owner: str,
    model_slug: str,
    framework: str,
    slug: str,
    number: int,
    path: str,
) -> FileRecord:
    """One file by all its names: what a reader asks for with each file, so in one query."""
    name = (owner, model_slug, framework, slug)
    values = dict(zip(_FILE_NAMES, (*name, number, path), strict=True))
    row = None
    if 0 < number <= HIGHEST_NUMBER:
        row = connection.execute(_FILE, values).one_or_none()
    if row is None:
        return file(connection, version(connection, *name, number), path)  # says what is missing
    return FileRecord(**row._mapping)


def archive_name(connection: Connection, of: VersionRecord) -> str:
    """What the archive of a version is called; NotFound if the version is gone."""
    query = (
        select(models.c.slug)
        .join(instances, instances.c.model_id == models.c.id)
        .join(versions, versions.c.instance_id == instances.c.id)
        .where(versions.c.id == of.id)
    )
    slug = connection.execute(query).scalar_one_or_none()
    if slug is None:
        raise NotFound(f"version {of.number} was deleted")
    return f"{slug}.tar.gz"


def archive(connection: Connection, of: VersionRecord) -> FileRecord | None:
    """What is known of a version's archive; None before it was built."""
    name = archive_name(connection, of)
    columns = (archives.c.size, archives.c.sha256, archives.c.md5, archives.c.crc32c)
    query = select(*columns).where(archives.c.version_id == of.id)
    row = connection.execute(query).one_or_none()
    return None if row is None else FileRecord(path=name, created=of.created, **row._mapping)


def is_referenced(connection: Connection, sha256: str) -> bool:
    """Whether a file of any version has that content."""
    query = select(files.c.version_id).where(files.c.sha256 == sha256).limit(1)
    return connection.execute(query).first() is not None


def has_version(connection: Connection, version_id: int) -> bool:
    query = select(versions.c.id).where(versions.c.id == version_id)
    return connection.execute(query).first() is not None


def made_of(connection: Connection, instance_id: int, tokens: frozenset[str]) -> int | None:
    """The number of the instance's version that was made of exactly these uploads, if one was."""
    if not tokens:
        return None
    any_of_them = select(used_uploads.c.version_id).where(used_uploads.c.token == min(tokens))
    query = select(versions.c.id, versions.c.number).where(
        versions.c.instance_id == instance_id, versions.c.id == any_of_them.scalar_subquery()
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    used = select(used_uploads.c.token).where(used_uploads.c.version_id == row.id)
    is_same = frozenset(connection.execute(used).scalars()) == tokens
    return int(row.number) if is_same else None


def _instances() -> Select[Any]:
    """Instances with the names above them and the current version below."""
    highest = (
        select(func.max(versions.c.number))
        .where(versions.c.instance_id == instances.c.id)
        .correlate(instances)
        .scalar_subquery()
    )
    own = [column for column in instances.c if column.name != "last_number"]
    current = [column.label(_CURRENT + column.name) for column in versions.c]
    is_current = and_(versions.c.instance_id == instances.c.id, versions.c.number == highest)
    return (
        select(*own, models.c.owner, models.c.slug.label("model"), *current)
        .join(models, models.c.id == instances.c.model_id)
        .outerjoin(versions, is_current)
    )


def _model(row: RowMapping) -> ModelRecord:
    return ModelRecord(**{column.name: row[column] for column in _MODEL_COLUMNS})


def _instance(row: RowMapping) -> InstanceRecord:
    own: dict[str, Any] = {}
    current: dict[str, Any] = {}
    for name, value in row.items():
        if name.startswith(_CURRENT):
            current[name.removeprefix(_CURRENT)] = value
        else:
            own[name] = value
    own["training_data"] = tuple(json.loads(own["training_data"]))
    record = None if current["id"] is None else VersionRecord(**current)
    return InstanceRecord(**own, version=record)


def _file(row: RowMapping, of: VersionRecord) -> FileRecord:
    return FileRecord(created=of.created, **row)
