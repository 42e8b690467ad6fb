"""What a registry told, while it may be taken for true, and what it is being asked.

The memory of `caching`: values by question, what was not found, manifests that never change, and
the questions on their way. One lock, held for look-ups only.
"""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache, TTLCache

from modelfs.errors import NotFound
from modelfs.model import Manifest
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
    old: Answer | None


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
            return Asking(flight, is_first, self._epoch, known)

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
        """Forget `ref`, what is below it and the listings that it is in."""
        above = set(ref.ancestors())

        def is_about(place: Ref) -> bool:
            return place in above or place.parts[: ref.depth] == ref.parts

        with self._lock:
            self._epoch += 1
            tables: tuple[MutableMapping[Key, Any], ...]
            tables = (self._known, self._missing, self._asked)
            for table in tables:
                for key in [key for key in table if is_about(key[1])]:
                    table.pop(key, None)
            for version in [version for version in self._manifests if is_about(version)]:
                del self._manifests[version]
