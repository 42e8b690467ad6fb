"""All pages of a list of which each page names the next. No state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from modelfs.errors import Corrupt
from modelfs.registry.replies import Reply

# Of 50 to 200 names each: a quarter of a million names of one level or more is a registry that
# pages for ever, not a directory.
_MOST_PAGES = 5000


def every(page: Callable[[str], tuple[Iterable[Reply], str]], what: str) -> Iterator[Reply]:
    """The items of all pages, in order.

    `page` gives the items of the page that a token names, and the token of the next one: "" names
    the first page, and follows the last. `what` is listed, for errors: Corrupt for a list that goes
    in a circle or does not end.
    """
    token, seen = "", {""}
    for _ in range(_MOST_PAGES):
        items, token = page(token)
        yield from items
        if not token:
            return
        if token in seen:
            raise Corrupt(f"the pages of a list go in a circle: {what}")
        seen.add(token)
    raise Corrupt(f"a list does not end after {_MOST_PAGES} pages: {what}")
