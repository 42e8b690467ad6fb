"""Page tokens: where a list goes on, opaque to who carries it.

A token holds the list's name and the key of the last item given, so that a page costs the same
wherever it is, and items that come and go meanwhile move no others. Pure.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from modelfs.errors import InvalidName
from modelfs.model import Page

T = TypeVar("T")
Key = tuple[str | int | float, ...]


def encode(scope: str, key: Key) -> str:
    """The token of what follows `key` in the list named `scope`."""
    return base64.urlsafe_b64encode(json.dumps([scope, *key]).encode()).decode()


def decode(scope: str, token: str, kinds: Sequence[type]) -> Key | None:
    """The key in `token`, None for an empty one; InvalidName if it is not of this list."""
    if not token:
        return None
    try:
        found, *key = json.loads(base64.b64decode(token.encode(), b"-_", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error) as exc:
        raise InvalidName("page token is not one of ours") from exc
    if found != scope or [type(part) for part in key] != list(kinds):
        raise InvalidName("page token is of another list")
    return tuple(key)


def cut(scope: str, found: Sequence[T], size: int, key: Callable[[T], Key]) -> Page[T]:
    """A page of at most `size` items, of `found` that holds one more if more follow."""
    items = tuple(found[:size])
    has_more = len(found) > size
    return Page(items, encode(scope, key(items[-1])) if has_more else "")


def checked_size(size: int) -> int:
    """`size` itself; InvalidName unless it is positive."""
    if size < 1:
        raise InvalidName(f"page size is not positive: {size}")
    return size
