"""What a registry lists, page by page as it is iterated. No lock: a listing is for one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelfs.errors import Corrupt
from modelfs.model import Item, Page


class Listing:
    """The items of a listing; each page is asked for when it is wanted. Can be iterated again.

    `ask(token)` gives the page at `token`.
    """

    def __init__(self, ask: Callable[[str], Page[Item]], token: str = "") -> None:
        self._ask = ask
        self._token = token

    def __iter__(self) -> Iterator[Item]:
        for page in self.pages():
            yield from page.items

    def pages(self) -> Iterator[Page[Item]]:
        """The pages as the registry gives them; one may have few items or none and not be last."""
        token, seen = self._token, {self._token}
        while True:
            page = self._ask(token)
            yield page
            token = page.next_token
            if not token:
                return
            if token in seen:
                raise Corrupt("the pages of a list go in a circle")
            seen.add(token)
