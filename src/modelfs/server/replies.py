"""How answers are wrapped; what they hold is `registry.local.facts`. Pure."""

from __future__ import annotations

from typing import Any

from modelfs.model import Page

Reply = dict[str, Any]


def created(number: int, ref: str, url: str) -> Reply:
    """The reply to a successful create or update; clients tell success by an `id` that is not 0."""
    return {"id": number, "ref": ref, "url": url}


def page(name: str, items: list[Reply], source: Page[Any]) -> Reply:
    """A list under `name`, and the token of the rest."""
    return {name: items, "nextPageToken": source.next_token}
