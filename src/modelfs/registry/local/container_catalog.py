"""Questions to the tables of container models: one function each, on an open connection.

Knows the tables and the records. What is not there is NotFound, and so is a model that is not
public, for everybody but its owner; `viewer` None sees all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, or_, select

from modelfs.errors import NotFound
from modelfs.registry.local.catalog import HIGHEST_NUMBER
from modelfs.registry.local.container_records import (
    PUBLIC,
    Account,
    Configuration,
    ContainerModel,
    ContainerVersion,
)
from modelfs.registry.local.cursors import Order, Turn, Window, window
from modelfs.registry.local.schema import (
    accounts,
    container_categories,
    container_models,
    container_versions,
)

_MODEL_TEXTS = ("description", "overview", "source_url", "license_url", "paper_url")


def account_row(connection: Connection, name: str) -> RowMapping:
    """The row of that account, whose parts `account` knows."""
    row = connection.execute(select(accounts).where(accounts.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"{name}: no such user")
    return row._mapping


def account(row: RowMapping) -> Account:
    urls = row["urls"]
    return Account(
        uuid=row["uuid"],
        name=row["name"],
        display_name=row["display_name"],
        bio=row["bio"],
        location=row["location"],
        company=row["company"],
        urls=None if urls is None else tuple(json.loads(urls)),
        created=row["created"],
        updated=row["updated"],
    )


def list_accounts(
    connection: Connection, *, search: str, is_descending: bool, turn: Turn
) -> Window[Account]:
    """Accounts by the time they were made."""
    query = select(accounts)
    if search:
        query = query.where(accounts.c.searched.contains(search.casefold(), autoescape=True))
    key = (accounts.c.created, accounts.c.id)
    order = Order("accounts", key, (float, int), is_descending)
    return window(connection, query, order, turn).map(account)


def list_models(
    connection: Connection,
    *,
    viewer: str | None,
    owner: str,
    search: str,
    categories: Sequence[str],
    is_descending: bool,
    turn: Turn,
) -> Window[ContainerModel]:
    """Models by the time they were made; those in any of `categories`, where there are some."""
    if owner:
        account_row(connection, owner)
    query = _visible(_models(), viewer)
    if owner:
        query = query.where(accounts.c.name == owner)
    if search:
        text = search.casefold()
        query = query.where(container_models.c.searched.contains(text, autoescape=True))
    if categories:
        among = select(container_categories.c.model_id)
        among = among.where(container_categories.c.slug.in_(categories))
        query = query.where(container_models.c.id.in_(among))
    key = (container_models.c.created, container_models.c.id)
    order = Order("container models", key, (float, int), is_descending)
    page = window(connection, query, order, turn)
    slugs = _categories(connection, [row["id"] for row in page.items])
    return page.map(lambda row: _model(row, slugs[row["id"]]))


def model_row(connection: Connection, owner: str, name: str, viewer: str | None) -> RowMapping:
    """The row of that model, which `model` makes a record of."""
    query = _visible(_models(), viewer)
    query = query.where(accounts.c.name == owner, container_models.c.name == name)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"{owner}/{name}: no such model")
    return row._mapping


def model(connection: Connection, row: RowMapping) -> ContainerModel:
    """The model with its latest version."""
    record = _model(row, _categories(connection, [row["id"]])[row["id"]])
    return replace(record, latest=latest(connection, row["id"]))


def list_versions(connection: Connection, model_id: int, turn: Turn) -> Window[ContainerVersion]:
    """Versions of a model, newest first."""
    query = select(container_versions).where(container_versions.c.model_id == model_id)
    order = Order(f"container versions {model_id}", (container_versions.c.number,), (int,))
    return window(connection, query, order, turn).map(version)


def latest(connection: Connection, model_id: int) -> ContainerVersion | None:
    """The version with the highest number."""
    query = (
        select(container_versions)
        .where(container_versions.c.model_id == model_id)
        .order_by(container_versions.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else version(row._mapping)


def version_row(connection: Connection, parent: RowMapping, number: int) -> RowMapping:
    """The row of that version of the model `parent`, which `version` makes a record of."""
    query = select(container_versions).where(
        container_versions.c.model_id == parent["id"], container_versions.c.number == number
    )
    row = None
    if 0 < number <= HIGHEST_NUMBER:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"{parent['owner']}/{parent['name']}:{number}: no such version")
    return row._mapping


def version(row: RowMapping) -> ContainerVersion:
    names = tuple(json.loads(row["variable_names"]))
    return ContainerVersion(
        number=row["number"],
        release_notes=row["release_notes"],
        container_image_digest=row["container_image_digest"],
        schemas=json.loads(row["schemas"]),
        compatibilities=frozenset(json.loads(row["compatibilities"])),
        configuration=Configuration(row["hardware_identifier"], names),
        created=row["created"],
    )


def version_asked_for(connection: Connection, model_id: int, key: str) -> RowMapping | None:
    """The row of the version that a request of that key made."""
    query = select(container_versions).where(
        container_versions.c.model_id == model_id, container_versions.c.request_key == key
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else row._mapping


def list_categories(connection: Connection, *, viewer: str | None, turn: Turn) -> Window[str]:
    """The categories that a model is in, by slug."""
    query = _visible(
        select(container_categories.c.slug)
        .distinct()
        .join(container_models, container_models.c.id == container_categories.c.model_id)
        .join(accounts, accounts.c.id == container_models.c.account_id),
        viewer,
    )
    order = Order("categories", (container_categories.c.slug,), (str,), is_descending=False)
    return window(connection, query, order, turn).map(lambda row: str(row["slug"]))


def _models() -> Select[Any]:
    """Models with the names of their owners."""
    owner = (accounts.c.name.label("owner"), accounts.c.uuid.label("owner_uuid"))
    return select(container_models, *owner).join(
        accounts, accounts.c.id == container_models.c.account_id
    )


def _visible(query: Select[Any], viewer: str | None) -> Select[Any]:
    if viewer is None:
        return query
    return query.where(or_(container_models.c.visibility == PUBLIC, accounts.c.name == viewer))


def _categories(connection: Connection, model_ids: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """The slugs of each model's categories, sorted."""
    found: dict[int, list[str]] = {model_id: [] for model_id in model_ids}
    columns = container_categories.c
    query = select(columns.model_id, columns.slug).where(columns.model_id.in_(found))
    for row in connection.execute(query.order_by(columns.slug)):
        found[row.model_id].append(row.slug)
    return {model_id: tuple(slugs) for model_id, slugs in found.items()}


def _model(row: RowMapping, categories: tuple[str, ...]) -> ContainerModel:
    return ContainerModel(
        uuid=row["uuid"],
        owner=row["owner"],
        owner_uuid=row["owner_uuid"],
        name=row["name"],
        visibility=row["visibility"],
        **{name: row[name] for name in _MODEL_TEXTS},
        created=row["created"],
        updated=row["updated"],
        categories=categories,
    )
