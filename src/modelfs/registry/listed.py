"""What is asked of a listing, checked; and one page of what Kaggle answers, as items. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from modelfs.errors import InvalidName
from modelfs.model import Item, Query
from modelfs.refs import Ref, name_fault
from modelfs.registry import frameworks, replies
from modelfs.registry.replies import Reply

log = logging.getLogger(__name__)

_ORDERS = (
    "HOTNESS",
    "DOWNLOAD_COUNT",
    "VOTE_COUNT",
    "NOTEBOOK_COUNT",
    "PUBLISH_TIME",
    "CREATE_TIME",
    "UPDATE_TIME",
    "VIEW_TIME_DESC",
)
_PREFIX = "LIST_MODELS_ORDER_BY_"
_BY_BARE_ORDER = {words.replace("_", "").lower(): words for words in _ORDERS}


def narrowed(ref: Ref, query: Query | None, size: int) -> Query:
    """`query` of what is below `ref`, with the owner that it names; InvalidName if it cannot be."""
    if size < 0:
        raise InvalidName(f"page size is negative: {size}")
    query = query or Query()
    if ref.depth > 1:
        if query != Query():
            raise InvalidName(f"{ref}: only models can be searched, chosen by owner or sorted")
        return query
    if ref.parts:
        if query.owner not in ("", ref.name):
            raise InvalidName(f"{ref}: has no models of {query.owner}")
        query = replace(query, owner=ref.name)
    if query.sort_by:
        wire_order(query.sort_by)
    return query


def wire_order(text: str) -> str:
    """The wire's name of an order, from any spelling of it: `createTime`, `create_time`."""
    bare = text.replace("_", "").lower().removeprefix(_PREFIX.replace("_", "").lower())
    if bare not in _BY_BARE_ORDER:
        raise InvalidName(
            f"order is not known: {text!r}",
            hint=f"possible are {', '.join(words.lower() for words in _ORDERS)}",
        )
    return _PREFIX + _BY_BARE_ORDER[bare]


def models(told: Iterable[Reply], owner: str) -> tuple[Item, ...]:
    """Models of one owner or, without one, of all."""
    found = []
    for reply in told:
        whose, _, slug = replies.text(reply, "ref").rpartition("/")
        ref = Ref((whose or owner, slug or replies.text(reply, "slug")))
        if not owner or whose.lower() in ("", owner.lower()):
            found.append(Item(ref, dict(reply)))
    return _named(found)


def instances(told: Iterable[Reply], model: Ref) -> tuple[Item, ...]:
    """Instances of a model; those of a framework that nobody knows are left out."""
    found = []
    for reply in told:
        spelled = replies.text(reply, "framework")
        try:
            framework = frameworks.parse(spelled)
        except InvalidName:
            log.info("left out an instance of a framework that is not known: %r", spelled)
            continue
        found.append(Item(Ref((*model.parts, framework, replies.text(reply, "slug"))), dict(reply)))
    return _named(found)


def versions(told: Iterable[Reply], instance: Ref) -> tuple[Item, ...]:
    numbered = ((replies.number(reply, "versionNumber"), reply) for reply in told)
    return tuple(
        Item(instance.child(str(number)), dict(reply)) for number, reply in numbered if number > 0
    )


def files(told: Iterable[Reply], version: Ref) -> tuple[Item, ...]:
    return tuple(Item(version, dict(reply), replies.text(reply, "name")) for reply in told)


def _named(items: Iterable[Item]) -> tuple[Item, ...]:
    """Those whose names can be names."""
    return tuple(item for item in items if not any(name_fault(part) for part in item.ref.parts))
