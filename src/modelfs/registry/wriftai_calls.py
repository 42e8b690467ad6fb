"""WriftAI's REST API, call by call: addresses, pages, and answers of the right shape.

Names become addresses here and nowhere else; one that could lead to another address is refused.
What is asked for once is never asked again blindly. No state but the client's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from modelfs.errors import Corrupt, InvalidName, NotFound, TooManyRequests, Unavailable
from modelfs.refs import Ref, name_fault
from modelfs.registry import paging, replies
from modelfs.registry.connections import NotSent
from modelfs.registry.http import Http
from modelfs.registry.likeness import holds

Reply = Mapping[str, Any]

# What the service takes for a page.
FEWEST, MOST = 5, 50
# Nobody tells what names may be made of: whatever has no meaning of its own in an address.
_NAME = re.compile(r"[^\s/\\:?#%]+")
# Nine digits are what a 32-bit number holds for certain.
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def is_name(text: str) -> bool:
    """True for what can be the name of an owner or a model."""
    return not name_fault(text) and bool(_NAME.fullmatch(text))


def is_number(text: str) -> bool:
    """True for what can be the number of a version, written as numbers are."""
    return bool(_NUMBER.fullmatch(text))


def check_size(size: object) -> None:
    """Raise InvalidName for a page that the service does not give."""
    if isinstance(size, bool) or not isinstance(size, int) or not FEWEST <= size <= MOST:
        raise InvalidName(f"page size is not from {FEWEST} to {MOST}: {size!r}")


@dataclass(frozen=True, slots=True)
class Listed:
    """One page, and where its neighbours begin; an empty cursor is none."""

    items: tuple[Reply, ...]
    following: str = ""
    previous: str = ""


class Calls:
    """The calls of one service. Paths are given name by name: `get("models", owner, name)`."""

    def __init__(self, client: Http) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def get(self, *names: str) -> Reply:
        return _checked(self._client.request("GET", _path(names)))

    def page(self, *names: str, options: Mapping[str, object] | None = None) -> Listed:
        """One page; `options` are the query: `cursor`, `page_size`, and what narrows the list."""
        chosen = {key: value for key, value in (options or {}).items() if value is not None}
        check_size(chosen.get("page_size", FEWEST))
        query = f"?{urlencode(chosen, doseq=True)}" if chosen else ""
        reply = _checked(self._client.request("GET", _path(names) + query))
        if not isinstance(reply.get("items"), list):
            raise Corrupt("a page has no items")
        cursors = (replies.text(reply, key) for key in ("next_cursor", "previous_cursor"))
        return Listed(replies.objects(reply, "items"), *cursors)

    def pages(self, *names: str) -> Iterator[Reply]:
        """The items of all pages, in order."""

        def page(cursor: str) -> tuple[Iterable[Reply], str]:
            found = self.page(*names, options={"page_size": MOST, "cursor": cursor or None})
            return found.items, found.following

        return paging.every(page, "/".join(names))

    def create(self, *names: str, message: Mapping[str, object]) -> Reply:
        """Asked once. Unavailable or Corrupt: the outcome is not known."""
        reply = self._client.request("POST", _path(names), message, is_idempotent=False)
        return _checked(reply)

    def update(self, *names: str, message: Mapping[str, object]) -> Reply:
        return _checked(self._client.request("PATCH", _path(names), message))

    def delete(self, *names: str) -> None:
        """Whatever the answer holds: the service says `null`, others nothing at all."""
        self._client.request("DELETE", _path(names))

    def create_version(
        self, model: Ref, message: Mapping[str, object], before: Set[int] | None = None
    ) -> Reply:
        """The new version. After an answer that was lost or makes no sense, it is looked for.

        `before` are those that were there a moment ago, which is asked for if it is not given.
        Unavailable: the outcome is not known, and no version like it is listed by now.
        """
        place = ("models", *model.parts, "versions")
        if before is None:
            before = {replies.number(item, "number") for item in self.pages(*place)}
        try:
            made = self.create(*place, message=message)
            if replies.number(made, "number") > 0:
                return made
            raise Corrupt("a version was made that has no number")
        except (TooManyRequests, NotSent):
            raise
        except (Unavailable, Corrupt) as exc:
            found = self._like(place, message, before)
            if found is None:
                raise Unavailable(
                    f"whether {model} has the version by now is not known: {exc}",
                    hint="look at its list of versions before asking again",
                ) from exc
            return found

    def _like(
        self, place: tuple[str, ...], message: Mapping[str, object], before: Set[int]
    ) -> Reply | None:
        """The version that says what `message` does and was not there before; None if none does."""
        wanted = {key: message.get(key) for key in ("release_notes", "schemas")}
        digest = message.get("container_image_digest")
        numbers = {replies.number(item, "number") for item in self.pages(*place)}
        for number in sorted(numbers - before):
            found = self.get(*place, str(number))
            if holds(found, wanted) and found.get("container_image_digest", digest) == digest:
                return found
        return None


def _path(names: tuple[str, ...]) -> str:
    for name in names:
        if not is_name(name):
            raise NotFound(f"there cannot be such a name: {name[:100]!r}")
    return "/".join(quote(name, safe="") for name in names)


def _checked(reply: object) -> Reply:
    if not isinstance(reply, dict):
        raise Corrupt(f"an answer is not a JSON object, but {type(reply).__name__}")
    return reply
