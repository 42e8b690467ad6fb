"""What to drop from a full cache: pure policy.

Whole contents, the longest unused first, never one that is open or pinned. Some more is dropped
than is needed at the moment, so that a cache that is full does not look through its directory for
every request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Of the budget, and never more than this: dropping much would lose what is wanted next.
_SLACK_SHARE, _SLACK_MOST = 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Stored:
    """One content on disk: what it takes up there and when it was last opened."""

    key: str
    allocated: int
    used_at: float
    is_complete: bool


def excess(*, used: int, wanted: int, budget: int, free: int, floor: int) -> int:
    """How many bytes are too many if `wanted` more are written; 0 if they fit."""
    return max(used + wanted - budget, floor + wanted - free, 0)


def with_slack(size: int, budget: int) -> int:
    return size + min(budget // _SLACK_SHARE, _SLACK_MOST)


def victims(stored: Iterable[Stored], kept: frozenset[str], size: int) -> list[Stored]:
    """Contents to try to drop, in this order, until `size` bytes are free.

    All that may be dropped: any of them can turn out to be open, then the next is tried.
    """
    if size <= 0:
        return []
    droppable = (item for item in stored if item.key not in kept and item.allocated > 0)
    return sorted(droppable, key=lambda item: (item.used_at, item.key))
