"""Names that were looked up one by one, to be listed where a registry lists none (or not now).

Owns, per directory, the names that were found; kept on the shelf, so that they are there in the
next run. One lock, never held while the shelf is used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from cachetools import LRUCache

from modelfs.model import Entry
from modelfs.refs import Ref
from modelfs.registry import plain
from modelfs.registry.shelf import Shelf

_KIND = "names"
_MOST_DIRECTORIES = 10_000
_MOST_NAMES = 1000


class LookedUp:
    """The names that are known below a ref."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._lock = threading.Lock()
        self._names: LRUCache[Ref, frozenset[str]] = LRUCache(_MOST_DIRECTORIES)

    def below(self, ref: Ref) -> frozenset[str]:
        with self._lock:
            known = self._names.get(ref)
        if known is not None:
            return known
        shelved = plain.loaded(plain.NAMES, self._shelf.read(_KIND, ref)) or ()
        with self._lock:
            return self._names.setdefault(ref, frozenset(shelved))

    def beside(self, entries: Iterable[Entry], ref: Ref) -> tuple[Entry, ...]:
        """What is listed below `ref`, with the names that are known there besides."""
        found = {name: Entry(name) for name in self.below(ref)}
        found |= {entry.name: entry for entry in entries}
        return tuple(found[name] for name in sorted(found))

    def add(self, ref: Ref) -> None:
        self._change(ref.parent, lambda names: names | {ref.name})

    def remove(self, ref: Ref) -> None:
        self._change(ref.parent, lambda names: names - {ref.name})

    def _change(self, ref: Ref, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        self.below(ref)
        with self._lock:
            old = self._names.get(ref, frozenset())
            new = change(old)
            if new == old or len(new) > _MOST_NAMES:
                return
            self._names[ref] = new
        self._shelf.write(_KIND, ref, plain.NAMES.dump(tuple(sorted(new))))
