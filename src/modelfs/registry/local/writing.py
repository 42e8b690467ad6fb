"""Changes to the registry's tables: one function each, on a connection that may write.

Fields are checked already (see checked.py). Knows the tables and no file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Connection, CursorResult, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from modelfs.errors import Exists, WrongState
from modelfs.model import Digests, File
from modelfs.registry.local.checked import Fields
from modelfs.registry.local.records import InstanceRecord, ModelRecord, VersionRecord
from modelfs.registry.local.schema import (
    archives,
    files,
    instances,
    models,
    used_uploads,
    versions,
)

_INSTANCE_DEFAULTS: dict[str, object] = {
    "overview": "",
    "usage": "",
    "license_name": "",
    "fine_tunable": False,
    "training_data": (),
    "instance_type": "UNSPECIFIED",
    "base_model_instance": "",
    "external_base_model_url": "",
}


def insert_model(connection: Connection, owner: str, slug: str, fields: Fields, now: float) -> None:
    """A new model with all of its fields; Exists if the slug is taken."""
    row = {
        **fields,
        "owner": owner,
        "slug": slug,
        "searched": _searched(slug, fields),
        "created": now,
        "updated": now,
    }
    try:
        connection.execute(insert(models).values(row))
    except IntegrityError as exc:
        raise Exists(f"{owner}/{slug}: model exists") from exc


def update_model(connection: Connection, record: ModelRecord, fields: Fields, now: float) -> None:
    texts = {"title": record.title, "subtitle": record.subtitle, **fields}
    row = {**fields, "searched": _searched(record.slug, texts), "updated": now}
    connection.execute(update(models).where(models.c.id == record.id).values(row))


def delete_model(connection: Connection, model_id: int) -> None:
    connection.execute(delete(models).where(models.c.id == model_id))


def has_instance(connection: Connection, model_id: int, framework: str, slug: str) -> bool:
    query = select(instances.c.id).where(
        instances.c.model_id == model_id,
        instances.c.framework == framework,
        instances.c.slug == slug,
    )
    return connection.execute(query).first() is not None


def insert_instance(
    connection: Connection,
    model: ModelRecord,
    framework: str,
    slug: str,
    fields: Fields,
    now: float,
) -> int:
    """A new instance without a version; its id. Exists if the slug is taken."""
    row = {
        **_row({**_INSTANCE_DEFAULTS, **fields}),
        "model_id": model.id,
        "framework": framework,
        "slug": slug,
        "created": now,
        "updated": now,
        "last_number": 0,
    }
    try:
        result = connection.execute(insert(instances).values(row))
    except IntegrityError as exc:
        name = f"{model.owner}/{model.slug}/{framework}/{slug}"
        raise Exists(f"{name}: instance exists") from exc
    return _new_id(result)


def update_instance(
    connection: Connection, record: InstanceRecord, fields: Fields, now: float
) -> None:
    row = {**_row(fields), "updated": now}
    connection.execute(update(instances).where(instances.c.id == record.id).values(row))
    _touch_model(connection, record.id, now)


def delete_instance(connection: Connection, instance_id: int, now: float) -> None:
    _touch_model(connection, instance_id, now)
    connection.execute(delete(instances).where(instances.c.id == instance_id))


def insert_version(
    connection: Connection,
    instance_id: int,
    content: Sequence[File],
    notes: str,
    now: float,
    tokens: frozenset[str] = frozenset(),
) -> int:
    """The next version of an instance, with its files; its number.

    WrongState if one of the uploads `tokens` that it was made of is in a version already.
    """
    connection.execute(
        update(instances)
        .where(instances.c.id == instance_id)
        .values(last_number=instances.c.last_number + 1, updated=now)
    )
    _touch_model(connection, instance_id, now)
    query = select(instances.c.last_number).where(instances.c.id == instance_id)
    number: int = connection.execute(query).scalar_one()
    result = connection.execute(
        insert(versions).values(
            instance_id=instance_id,
            number=number,
            notes=notes,
            created=now,
            file_count=len(content),
            total_bytes=sum(file.size for file in content),
        )
    )
    version_id = _new_id(result)
    if content:
        connection.execute(insert(files), [_file_row(version_id, file) for file in content])
    rows = [{"token": token, "version_id": version_id} for token in sorted(tokens)]
    try:
        if rows:
            connection.execute(insert(used_uploads), rows)
    except IntegrityError as exc:
        raise WrongState("an upload was published already: it has to be sent again") from exc
    return number


def delete_version(connection: Connection, version: VersionRecord, now: float) -> None:
    """Delete a version and its files; its number stays spent."""
    connection.execute(delete(versions).where(versions.c.id == version.id))
    connection.execute(
        update(instances).where(instances.c.id == version.instance_id).values(updated=now)
    )
    _touch_model(connection, version.instance_id, now)


def forget_uploads(connection: Connection, moment: float) -> None:
    """Forget which uploads went into versions that are older than `moment`."""
    old = select(versions.c.id).where(versions.c.created < moment)
    connection.execute(delete(used_uploads).where(used_uploads.c.version_id.in_(old)))


def put_archive(connection: Connection, version_id: int, size: int, digests: Digests) -> None:
    """Remember a version's archive, in place of what was known of one."""
    connection.execute(delete(archives).where(archives.c.version_id == version_id))
    connection.execute(
        insert(archives).values(
            version_id=version_id,
            size=size,
            sha256=digests.sha256,
            md5=digests.md5,
            crc32c=digests.crc32c,
        )
    )


def _new_id(result: CursorResult[Any]) -> int:
    key = cast("tuple[int]", result.inserted_primary_key)
    return key[0]


def _touch_model(connection: Connection, instance_id: int, now: float) -> None:
    parent = select(instances.c.model_id).where(instances.c.id == instance_id).scalar_subquery()
    connection.execute(update(models).where(models.c.id == parent).values(updated=now))


def _searched(slug: str, texts: Mapping[str, object]) -> str:
    return f"{slug}\n{texts['title']}\n{texts['subtitle']}".casefold()


def _row(fields: Fields) -> Fields:
    """Fields of an instance as its table has them."""
    if "training_data" not in fields:
        return fields
    return {**fields, "training_data": json.dumps(fields["training_data"])}


def _file_row(version_id: int, file: File) -> dict[str, object]:
    return {
        "version_id": version_id,
        "path": file.path,
        "size": file.size,
        "sha256": file.digests.sha256,
        "md5": file.digests.md5,
        "crc32c": file.digests.crc32c,
    }
