"""Pages that can be turned in both directions: some rows of a query, and cursors to either side.

A cursor holds the key of the first or last row given, as the tokens of `paging.py` do, and is as
opaque. Pure but for running the query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, literal, tuple_

from modelfs.errors import InvalidName
from modelfs.registry.local import paging

T = TypeVar("T")
U = TypeVar("U")

_AFTER, _BEFORE = "after", "before"


@dataclass(frozen=True, slots=True)
class Turn:
    """Which page of a list: so many rows from a cursor on; an empty one is the list's begin."""

    size: int
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """Some of a list, and the cursors of what is before and after it; empty where nothing is."""

    items: tuple[T, ...]
    next_cursor: str = ""
    previous_cursor: str = ""

    def map(self, change: Callable[[T], U]) -> Window[U]:
        items = tuple(change(item) for item in self.items)
        return Window(items, self.next_cursor, self.previous_cursor)


@dataclass(frozen=True, slots=True)
class Order:
    """How a list is sorted. `kinds` are the types of the key's columns, `scope` is its name."""

    scope: str
    key: Sequence[ColumnElement[Any]]
    kinds: Sequence[type]
    is_descending: bool = True


def window(
    connection: Connection, query: Select[Any], order: Order, turn: Turn
) -> Window[RowMapping]:
    """The page of `query`, which says neither order nor limit, that `turn` is about.

    Raises InvalidName for a cursor that is not one of this list.
    """
    direction, place = _decoded(order, turn.cursor)
    is_backward = direction == _BEFORE
    is_down = order.is_descending != is_backward
    columns = [column.label(f"key_{index}") for index, column in enumerate(order.key)]
    ordered = [column.desc() if is_down else column.asc() for column in order.key]
    query = query.add_columns(*columns).order_by(*ordered)
    if place:
        key, there = tuple_(*order.key), tuple_(*map(literal, place))
        query = query.where(key < there if is_down else key > there)
    limit = paging.checked_size(turn.size) + 1
    found = [row._mapping for row in connection.execute(query.limit(limit))]
    rows = found[: turn.size]
    if is_backward:
        rows.reverse()
    if not rows:
        return Window(())
    has_more = len(found) > turn.size
    has_next = is_backward or has_more
    has_previous = has_more if is_backward else bool(place)
    return Window(
        tuple(rows),
        _encoded(order, _AFTER, rows[-1]) if has_next else "",
        _encoded(order, _BEFORE, rows[0]) if has_previous else "",
    )


def _encoded(order: Order, direction: str, row: RowMapping) -> str:
    key = (order.kinds[index](row[f"key_{index}"]) for index in range(len(order.key)))
    return paging.encode(_scope(order), (direction, *key))


def _decoded(order: Order, cursor: str) -> tuple[str, paging.Key]:
    found = paging.decode(_scope(order), cursor, (str, *order.kinds))
    if found is None:
        return _AFTER, ()
    direction, *place = found
    if direction not in (_AFTER, _BEFORE):
        raise InvalidName("page token is not one of ours")
    return str(direction), tuple(place)


def _scope(order: Order) -> str:
    return f"{order.scope} {'down' if order.is_descending else 'up'}"
