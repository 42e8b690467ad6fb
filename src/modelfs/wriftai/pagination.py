"""Pages of lists, and what is asked for of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, NotRequired, TypedDict, TypeVar, cast

from modelfs.registry.wriftai_calls import Calls

T = TypeVar("T")


class PaginationOptions(TypedDict):
    """Where a page begins, and how many items it has: 5 to 50, 25 where nothing is said."""

    cursor: NotRequired[str]
    page_size: NotRequired[int]


@dataclass
class PaginatedResponse(Generic[T]):
    """One page, and the cursors of those beside it; None where there is none."""

    items: list[T]
    next_cursor: str | None
    previous_cursor: str | None


def page(
    calls: Calls, *names: str, options: Mapping[str, Any] | None, kind: type[T]
) -> PaginatedResponse[T]:
    """The page of what is listed at `names`; `kind` is what its items are, for type checkers."""
    del kind
    listed = calls.page(*names, options=options)
    items = [cast(T, dict(item)) for item in listed.items]
    return PaginatedResponse(items, listed.following or None, listed.previous or None)
