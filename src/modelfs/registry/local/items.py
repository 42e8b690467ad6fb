"""A registry directory in its own words: `Item`s, by the names that the wire gives their facts.

Functions of a `Reader`; no state. Under no address, so the web pages among the facts are paths.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from modelfs.model import Item, Page, Query
from modelfs.refs import Ref
from modelfs.registry.local import facts
from modelfs.registry.local.reader import Reader
from modelfs.registry.local.records import InstanceRecord, ModelRecord, VersionRecord

R = TypeVar("R")

_BASE = ""


def of_model(reader: Reader, owner: str, slug: str) -> Item:
    return _of_model(reader, reader.model(owner, slug))


def of_instance(record: InstanceRecord) -> Item:
    return Item(_ref(record), facts.instance(record, _BASE))


def of_version(reader: Reader, instance: InstanceRecord, record: VersionRecord) -> Item:
    model = reader.model(instance.owner, instance.model)
    return _of_version(model, instance, record)


def models(reader: Reader, query: Query, size: int, token: str) -> Page[Item]:
    page = reader.models(
        owner=query.owner, search=query.search, order=query.sort_by, size=size, token=token
    )
    return _each(page, lambda record: _of_model(reader, record))


def instances(reader: Reader, owner: str, model: str, size: int, token: str) -> Page[Item]:
    page = reader.instances(owner, model, size=size, token=token)
    return _each(page, lambda record: Item(_ref(record), facts.listed_instance(record, _BASE)))


def versions(reader: Reader, instance: InstanceRecord, size: int, token: str) -> Page[Item]:
    model = reader.model(instance.owner, instance.model)
    owner, name, framework, slug = _ref(instance).parts
    page = reader.versions(owner, name, framework, slug, size=size, token=token)
    return _each(page, lambda record: _of_version(model, instance, record))


def files(reader: Reader, ref: Ref, record: VersionRecord, size: int, token: str) -> Page[Item]:
    owner, model, framework, slug, _ = ref.parts
    page = reader.files(owner, model, framework, slug, record.number, size=size, token=token)
    return _each(page, lambda file: Item(ref, facts.file(file), file.path))


def _of_model(reader: Reader, record: ModelRecord) -> Item:
    below = reader.all_instances(record.owner, record.slug)
    return Item(Ref((record.owner, record.slug)), facts.model(record, below, _BASE))


def _of_version(model: ModelRecord, instance: InstanceRecord, record: VersionRecord) -> Item:
    told = facts.listed_version(record, instance, model, _BASE)
    return Item(_ref(instance).child(str(record.number)), told)


def _ref(record: InstanceRecord) -> Ref:
    return Ref((record.owner, record.model, record.framework, record.slug))


def _each(page: Page[R], item: Callable[[R], Item]) -> Page[Item]:
    return Page(tuple(item(record) for record in page.items), page.next_token)
