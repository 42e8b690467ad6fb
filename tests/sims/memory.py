"""A registry in memory: counts what it is asked, fails and blocks on demand."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter

from modelfs.errors import Error, NotFound
from modelfs.model import (
    NOTES,
    Account,
    Digests,
    Document,
    Entry,
    File,
    Item,
    Manifest,
    Page,
    Query,
    Traits,
)
from modelfs.refs import Ref
from modelfs.registry.base import Body

MODEL_DOCUMENT = "model-metadata.json"


class Memory:
    """Versions as a dict of refs to files; what is above them follows. Thread-safe.

    `error`, while set, is raised by every call; while `gate` is clear, calls wait at it.
    """

    def __init__(
        self,
        versions: dict[str, dict[str, bytes]],
        *,
        listed: tuple[bool, ...] = (False, True, True, True, True),
        mtime: float = 1_700_000_000.0,
        user: str = "",
    ) -> None:
        self.versions = {Ref.parse(text): files for text, files in versions.items()}
        self.calls: Counter[str] = Counter()
        self.error: Error | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.mtime = mtime
        self.user = user
        self.is_closed = False
        self._lock = threading.Lock()
        self.traits = Traits(
            identity="memory",
            levels=("owner", "model", "framework", "instance", "version"),
            is_listed=listed,
            documents=((), (MODEL_DOCUMENT,), (), (), (NOTES,)),
            settling=600.0,
        )

    def _asked(self, call: str, ref: Ref | None = None) -> None:
        with self._lock:
            self.calls[f"{call} {ref}" if ref is not None else call] += 1
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error

    def account(self) -> Account:
        self._asked("account")
        return Account(self.user)

    def canonical(self, ref: Ref) -> Ref:
        return Ref(tuple(part.lower() for part in ref.parts))

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        self._asked("children", ref)
        if ref.depth == 0 and not self.traits.is_listed[0]:
            return (Entry(self.user),) if self.user else ()
        return self._children(ref, is_nested=ref.depth == 2)

    def _children(self, ref: Ref, is_nested: bool = False) -> tuple[Entry, ...]:
        names = {
            version.parts[ref.depth]
            for version in self.versions
            if version.depth > ref.depth and version.parts[: ref.depth] == ref.parts
        }
        if not names:
            raise NotFound(f"not found: {ref}")
        ordered = sorted(names, key=int) if ref.depth == 4 else sorted(names)
        return tuple(
            Entry(name, self.mtime, self._children(ref.child(name)) if is_nested else None)
            for name in ordered
        )

    def stat(self, ref: Ref) -> Entry:
        self._asked("stat", ref)
        if not any(version.parts[: ref.depth] == ref.parts for version in self.versions):
            raise NotFound(f"not found: {ref}")
        return Entry(ref.name, self.mtime)

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        self._asked("documents", ref)
        if ref.depth != 2:
            return ()
        return (Document(MODEL_DOCUMENT, f"{ref}".encode() + b"\xff", self.mtime),)

    def manifest(self, ref: Ref) -> Manifest:
        self._asked("manifest", ref)
        if ref not in self.versions:
            raise NotFound(f"not found: {ref}")
        files = [
            File(path, len(data), self.mtime, Digests(sha256=hashlib.sha256(data).hexdigest()))
            for path, data in self.versions[ref].items()
        ]
        return Manifest.of(files, (Document(NOTES, b"notes\n", self.mtime),), self.mtime)

    def item(self, ref: Ref) -> Item:
        self._asked("item", ref)
        return Item(ref, {"name": ref.name})

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        self._asked("page", ref)
        return Page(tuple(Item(ref.child(entry.name)) for entry in self._children(ref)))

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        self._asked("open", ref)
        raise NotFound("no bytes here")

    def close(self) -> None:
        self.is_closed = True
