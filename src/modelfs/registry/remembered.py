"""What a registry told, while it may be taken for true, and what it is being asked.

The memory of `caching`: values by question, what was not found, manifests that never change, and
the questions on their way. One lock, held for look-ups only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, MutableMapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache, TTLCache

from modelfs.errors import NotFound
from modelfs.model import Entry, Manifest
from modelfs.refs import Ref
from modelfs.registry.asking import Key
from modelfs.waiting import Clock

# What is not there yet may be there soon: `until ls DIR/4; do sleep 1; done` must end.
_TTL_MISSING = 5.0
# Names and small answers: some 300 bytes each.
_MOST_ANSWERS = 50_000
# Files in remembered manifests, some 300 bytes each.
_MOST_FILES = 500_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What the registry told, and until when (on the clock) it is taken for true."""

    value: Any
    until: float


@dataclass(frozen=True, slots=True)
class Asking:
    """A question without a fresh answer. `is_first` tells the one who has to ask it."""

    flight: Future[Any]
    is_first: bool
    epoch: int


class Remembered:
    """Answers by their question, each for its time on `clock`; what is missing, `ttl` at most."""

    def __init__(self, ttl: float, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: LRUCache[Key, Answer] = LRUCache(_MOST_ANSWERS)
        self._manifests: LRUCache[Ref, Manifest] = LRUCache(
            _MOST_FILES, getsizeof=lambda manifest: len(manifest.files) + 1
        )
        self._missing: TTLCache[Key, str] = TTLCache(
            _MOST_ANSWERS, ttl=min(_TTL_MISSING, ttl), timer=clock
        )
        self._asked: dict[Key, Future[Any]] = {}
        # Counts forget(): an answer that was on its way meanwhile is not remembered.
        self._epoch = 0

    def look(self, key: Key) -> Answer | Asking:
        """A fresh answer, or who asks for one; raises NotFound for what was missing just now."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and self._clock() < known.until:
                return known
            if (reason := self._missing.get(key)) is not None:
                raise NotFound(reason)
            is_first = key not in self._asked
            flight = self._asked.setdefault(key, Future())
            return Asking(flight, is_first, self._epoch)

    def landed(self, key: Key, flight: Future[Any]) -> None:
        """The next caller asks afresh."""
        with self._lock:
            if self._asked.get(key) is flight:
                del self._asked[key]

    def value(self, key: Key) -> Any:
        """What was told last, however old; None if nothing was."""
        with self._lock:
            known = self._known.get(key)
        return None if known is None else known.value

    def is_fresh(self, key: Key) -> bool:
        with self._lock:
            known = self._known.get(key)
        return known is not None and self._clock() < known.until

    def manifest(self, ref: Ref) -> Manifest | None:
        """That of a version which does not change any more."""
        with self._lock:
            return self._manifests.get(ref)

    def keep(self, key: Key, value: Any, seconds: float, epoch: int) -> None:
        """Remember `value` unless something was forgotten since `epoch`."""
        kind, ref = key
        until = self._clock() + seconds
        with self._lock:
            if self._epoch != epoch:
                return
            self._missing.pop(key, None)
            self._known[key] = Answer(value, until)
            if kind == "children":
                for entry in value:
                    # Two levels came with one answer.
                    if entry.children is not None:
                        below = (kind, ref.child(entry.name))
                        self._known[below] = Answer(entry.children, until)

    def keep_manifest(self, key: Key, manifest: Manifest, epoch: int) -> None:
        """Remember for ever. One larger than all the memory is read from the shelf each time."""
        with self._lock:
            if self._epoch != epoch:
                return
            self._missing.pop(key, None)
            if len(manifest.files) < _MOST_FILES:
                self._manifests[key[1]] = manifest

    def keep_missing(self, key: Key, reason: str, epoch: int) -> None:
        with self._lock:
            if self._epoch == epoch:
                self._known.pop(key, None)
                self._missing[key] = reason

    def forget(self, ref: Ref) -> None:
        """Forget `ref`, what is below it and all that is above it."""
        above = set(ref.ancestors())

        def is_about(place: Ref) -> bool:
            return place in above or place.parts[: ref.depth] == ref.parts

        with self._lock:
            self._drop((self._known, self._missing, self._asked), lambda key: is_about(key[1]))
            for version in [version for version in self._manifests if is_about(version)]:
                del self._manifests[version]

    def changed(self, ref: Ref) -> None:
        """What is told of `ref` itself is another now: forget it, and the listings that it is in.

        Of two levels that are told together, the upper one tells of it too.
        """
        listings = {("children", ref.parent), ("children", ref.parent.parent)}

        def is_about(key: Key) -> bool:
            return key in listings or (key[1] == ref and key[0] != "children")

        with self._lock:
            self._drop((self._known, self._missing, self._asked), is_about)

    def made(
        self, ref: Ref, entry: Entry | None, listings: Collection[Ref]
    ) -> tuple[tuple[Entry, ...] | None, int]:
        """`ref` is there now: forget what says otherwise, and nothing else; the epoch from now on.

        One of the `listings` above that lacks it is forgotten; but where the last number is the one
        before it, so that nothing can be between them, `entry` is added, and that listing given.
        """
        line = {*ref.ancestors(), ref}
        with self._lock:
            self._drop((self._missing, self._asked), lambda key: key[1] in line)
            listing = None if entry is None else self._followed(ref.parent, entry)
            for above in listings:
                known = self._known.get(("children", above))
                if known is not None and not _lists(known.value, ref.parts[above.depth :]):
                    del self._known["children", above]
            return listing, self._epoch

    def _followed(self, ref: Ref, entry: Entry) -> tuple[Entry, ...] | None:
        """The listing of `ref`, if `entry` is the number after its last; under the lock."""
        key = ("children", ref)
        known = self._known.get(key)
        if known is None:
            return None
        last = known.value[-1].name if known.value else "0"
        if not (last.isdecimal() and entry.name == str(int(last) + 1)):
            return None
        listing = (*known.value, entry)
        self._known[key] = Answer(listing, known.until)
        return listing

    def _drop(
        self, tables: tuple[MutableMapping[Key, Any], ...], is_about: Callable[[Key], bool]
    ) -> None:
        """Forget what `is_about` says, and what is on its way; under the lock."""
        self._epoch += 1
        for table in tables:
            for key in [key for key in table if is_about(key)]:
                table.pop(key, None)


def _lists(listing: tuple[Entry, ...], rest: tuple[str, ...]) -> bool:
    """True if the name at the head of `rest` is listed, and below it the others, if that is told"""
    for entry in listing:
        if entry.name == rest[0]:
            below = entry.children if rest[1:] else None
            return below is None or _lists(below, rest[1:])
    return False
