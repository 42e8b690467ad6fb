"""A registry that remembers what another one told: in memory, and on a shelf between runs.

Owns all metadata that has a time to live. A published version's manifest is remembered for ever,
everything else for `ttl` seconds; afterwards it is asked for again, and given although it is old
only where the registry does not answer. Questions are asked on worker threads, each once at a
time; callers wait through the `Wait` they brought. What is remembered and being asked is in
`remembered`, with its lock: nothing is locked while asking, reading the shelf or waiting. What is
changed goes straight through, on the thread that asks; what that makes untrue is forgotten, also
where the answer was lost.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, TypeVar, cast

from modelfs.errors import Error, NotFound, Unavailable, Unsupported
from modelfs.model import (
    Account,
    Bundle,
    Document,
    Entry,
    File,
    Item,
    Manifest,
    Page,
    Part,
    Query,
    Traits,
)
from modelfs.refs import Ref
from modelfs.registry import plain
from modelfs.registry.asking import Key, Question, within
from modelfs.registry.base import Body, Registry, WritableRegistry
from modelfs.registry.lookedup import LookedUp
from modelfs.registry.plain import Form
from modelfs.registry.remembered import Answer, Remembered
from modelfs.registry.shelf import Shelf
from modelfs.waiting import Clock, Wait

log = logging.getLogger(__name__)

T = TypeVar("T")

# Long enough that a tree can be walked without asking twice, short enough that somebody who
# publishes elsewhere does not wonder.
TTL = 30.0
# A registry that did not answer is asked again after this time, about anything of which something
# old is at hand: finding out takes seconds, and a walk through a tree asks many questions.
_TTL_OLD = 10.0
# How long somebody waits for a fresh answer if an old one is at hand, in memory or on the shelf.
_PATIENCE = 3.0


class CachingRegistry:
    """`inner`, remembered. `executor` has worker threads of ours; its owner stops it.

    `shelf` outlives the run. With `is_offline` the registry is never asked.
    """

    def __init__(
        self,
        inner: Registry,
        *,
        shelf: Shelf,
        executor: Executor,
        wait: Wait,
        clock: Clock = time.monotonic,
        now: Clock = time.time,
        ttl: float = TTL,
        is_offline: bool = False,
    ) -> None:
        self._inner = inner
        self._shelf = shelf
        self._executor = executor
        self._wait = wait
        self._clock = clock
        self._now = now
        self._ttl = ttl
        self._is_offline = is_offline
        self._looked_up = LookedUp(shelf)
        self._remembered = Remembered(ttl, clock)
        self._has_told_old = False
        # Until when (on the clock) a registry that did not answer, or not soon, is left alone.
        self._silent_until = float("-inf")

    @property
    def traits(self) -> Traits:
        return self._inner.traits

    def canonical(self, ref: Ref) -> Ref:
        return self._inner.canonical(ref)

    def account(self) -> Account:
        return self._answer("account", Ref(), plain.ACCOUNT, self._inner.account)

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        ref = self.canonical(ref)
        found = self._answer(
            "children", ref, plain.ENTRIES, lambda: self._inner.children(ref), self._last_listing
        )
        if self._is_listed_below(ref):
            return found
        return self._looked_up.beside(found, ref)

    def stat(self, ref: Ref) -> Entry:
        ref = self.canonical(ref)
        if self._is_found_by_listing(ref):
            for entry in self.children(ref.parent):
                if entry.name == ref.name:
                    return entry
            raise NotFound(f"not found: {ref}")
        return self._answer("stat", ref, plain.ENTRY, lambda: self._stat(ref), self._shelved_stat)

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        ref = self.canonical(ref)
        return self._answer("documents", ref, plain.DOCUMENTS, lambda: self._inner.documents(ref))

    def manifest(self, ref: Ref) -> Manifest:
        ref = self.canonical(ref)
        if (known := self._remembered.manifest(ref)) is not None:
            return known
        return self._answer("manifest", ref, plain.MANIFEST, lambda: self._manifest(ref))

    def _manifest(self, ref: Ref) -> Manifest:
        manifest = self._inner.manifest(ref)
        return replace(manifest, is_final=self._is_settled(manifest))

    def item(self, ref: Ref) -> Item:
        return self._asked_now(ref).item(self.canonical(ref))

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        found = self._asked_now(ref)
        return found.page(self.canonical(ref), query, size=size, token=token)

    def _asked_now(self, ref: Ref) -> Registry:
        """The registry, for what is asked on the caller's thread and not remembered."""
        if self._is_offline:
            raise Unavailable(f"offline, and not remembered: {ref}")
        return self._inner

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        if self._is_offline:
            raise Unavailable(f"offline, and not in the cache: {ref}/{file.path}")
        return self._inner.open(self.canonical(ref), file, start, stop)

    def close(self) -> None:
        self._inner.close()

    def forget(self, ref: Ref) -> None:
        """Ask again for `ref`, for what is below it and for the listings that it is in."""
        ref = self.canonical(ref)
        self._remembered.forget(ref)
        if ref.depth:
            self._shelf.drop(ref)

    def made(self, ref: Ref, manifest: Manifest | None = None) -> None:
        """`ref` was just made; with `manifest`, it is a version that was found to be right as that.

        What was known of others stays known.
        """
        ref = self.canonical(ref)
        entry = None if manifest is None else Entry(ref.name, manifest.mtime)
        listings = [above for above in ref.ancestors() if self._is_listed_below(above)]
        listing, epoch = self._remembered.made(ref, entry, listings)
        self._shelf.drop(ref)
        if listing is not None:
            self._shelf.write("children", ref.parent, plain.ENTRIES.dump(listing))
        if manifest is not None:
            told = replace(manifest, is_final=self._is_settled(manifest))
            self._remember(("manifest", ref), told, self._ttl, epoch)
            self._shelf.write("manifest", ref, plain.MANIFEST.dump(told))

    # Changes, which go through

    def blank(self, ref: Ref) -> tuple[Document, ...]:
        return self._writable().blank(self.canonical(ref))

    def check(self, bundle: Bundle) -> None:
        self._writable().check(bundle)

    def begin(self, part: Part) -> str:
        return self._online().begin(part)

    def send(self, session: str, part: Part, fd: int, progress: Callable[[int], None]) -> str:
        return self._online().send(session, part, fd, progress)

    def create(self, bundle: Bundle) -> Ref:
        try:
            made = self._online().create(bundle)
        except BaseException:
            # What was made nevertheless, nobody knows.
            self.forget(bundle.parents[0][0] if bundle.parents else bundle.ref)
            raise
        self.made(made)
        return made

    def add(self, ref: Ref, documents: tuple[Document, ...]) -> None:
        ref = self.canonical(ref)
        try:
            self._online().add(ref, documents)
        except BaseException:
            self.forget(ref)
            raise
        self.made(ref)

    def update(self, ref: Ref, document: Document) -> None:
        ref = self.canonical(ref)
        try:
            self._online().update(ref, document)
        finally:
            self._remembered.changed(ref)
            for kind in ("documents", "stat"):
                self._shelf.discard(kind, ref)

    def delete(self, ref: Ref) -> None:
        try:
            self._online().delete(ref)
            self._looked_up.remove(self.canonical(ref))
        finally:
            self.forget(ref)

    def direct(self) -> WritableRegistry:
        """The registry itself, for who must not be told what was: nothing is remembered of it.

        While offline that is us, who refuse.
        """
        return self if self._is_offline else self._writable()

    def _online(self) -> WritableRegistry:
        if self._is_offline:
            raise Unavailable("offline: nothing is published or changed")
        return self._writable()

    def _writable(self) -> WritableRegistry:
        if not self.traits.is_writable:
            raise Unsupported(f"this registry is only read: {self.traits.identity}")
        return cast(WritableRegistry, self._inner)

    # Questions, each asked once at a time

    def _answer(
        self,
        kind: str,
        ref: Ref,
        form: Form[T],
        ask: Callable[[], T],
        last_resort: Callable[[Ref], T | None] = lambda _: None,
    ) -> T:
        """What is remembered, or what `ask` gives on a worker thread."""
        key = (kind, ref)
        found = self._remembered.look(key)
        if isinstance(found, Answer):
            return cast(T, found.value)
        question = Question(key, form, ask, last_resort, found.flight, found.epoch)
        if found.is_first:
            self._submit(question)
        flight = found.flight
        if not self._is_offline:
            if self._is_silent():
                flight = within(flight, 0.0, lambda: self._told_earlier(question))
            else:
                flight = within(flight, _PATIENCE, lambda: self._instead(question))
        return cast(T, self._wait(flight))

    def _submit(self, question: Question) -> None:
        """Give a question to the workers; the flight fails if they are gone or are sent home."""

        def give_up() -> None:
            self._remembered.landed(question.key, question.flight)
            question.flight.set_exception(Unavailable("the registry is closed"))

        try:
            work = self._executor.submit(self._resolve, question)
        except RuntimeError:
            give_up()
        else:
            work.add_done_callback(lambda done: give_up() if done.cancelled() else None)

    def _resolve(self, question: Question) -> None:
        """On a worker: ask, remember, tell those who wait."""
        try:
            value = self._find(question)
        except BaseException as exc:
            if isinstance(exc, NotFound) and not self._is_offline:
                self._remembered.keep_missing(question.key, str(exc), question.epoch)
            self._remembered.landed(question.key, question.flight)
            question.flight.set_exception(exc)
        else:
            self._remembered.landed(question.key, question.flight)
            question.flight.set_result(value)

    def _find(self, question: Question) -> Any:
        if self._is_offline:
            return self._old(question, Unavailable(f"offline, and not known: {question.name}"))
        if (final := self._final(question)) is not None:
            return final
        if self._is_silent() and (old := self._before(question)) is not None:
            self._remember(question.key, old, _TTL_OLD, question.epoch)
            return old
        try:
            value = question.ask()
        except NotFound:
            self._looked_up.remove(question.key[1])
            raise
        except Unavailable as exc:
            self._silent_until = self._clock() + _TTL_OLD
            return self._old(question, exc)
        self._silent_until = float("-inf")
        self._remember(question.key, value, self._ttl, question.epoch)
        self._shelf.write(*question.key, question.form.dump(value))
        return value

    def _is_silent(self) -> bool:
        return self._clock() < self._silent_until

    def _final(self, question: Question) -> Manifest | None:
        """The shelved manifest of a version that does not change any more."""
        kind, ref = question.key
        if kind != "manifest":
            return None
        shelved = plain.loaded(plain.MANIFEST, self._shelf.read(kind, ref))
        if shelved is None or not self._is_settled(shelved):
            return None
        final = replace(shelved, is_final=True)
        self._remember(question.key, final, 0, question.epoch)
        return final

    def _is_settled(self, manifest: Manifest) -> bool:
        """True if the registry cannot be unpacking it any more, and nothing of it is strange."""
        if self._is_strange(manifest):
            return False
        settling = self.traits.settling
        age = self._now() - (manifest.mtime or 0.0)
        return not settling or age > settling

    def _is_strange(self, manifest: Manifest) -> bool:
        """True for one without files, or with some that cannot be.

        That may have been a bad moment: what is kept for ever, or believed in haste, makes it last.
        """
        return bool(manifest.rejected) or (self.traits.has_files and not manifest.files)

    def _old(self, question: Question, error: Error) -> Any:
        """What was known before; raises `error` if nothing was."""
        value = self._before(question)
        if value is None:
            raise error
        if not self._has_told_old and not self._is_offline:
            self._has_told_old = True
            log.info("the registry does not answer, what was known before is shown: %s", error)
        self._remember(question.key, value, _TTL_OLD, question.epoch)
        return value

    def _instead(self, question: Question) -> Any:
        """What the registry told before, for who has waited long enough; None if it told nothing.

        Others need not find that out again.
        """
        if (value := self._told_earlier(question)) is not None:
            self._silent_until = self._clock() + _TTL_OLD
        return value

    def _told_earlier(self, question: Question) -> Any:
        """What may be given while an answer may still come; None if there is nothing."""
        if question.epoch:  # something was forgotten, which may be on the shelf still
            return self._remembered.value(question.key)
        value = self._told(question)
        return None if isinstance(value, Manifest) and self._is_strange(value) else value

    def _before(self, question: Question) -> Any:
        """What was known before, be it by other names; None if nothing was."""
        value = self._told(question)
        return question.last_resort(question.key[1]) if value is None else value

    def _told(self, question: Question) -> Any:
        """What was told before, from memory or the shelf; None if nothing was."""
        if (value := self._remembered.value(question.key)) is not None:
            return value
        return plain.loaded(question.form, self._shelf.read(*question.key))

    def _remember(self, key: Key, value: Any, seconds: float, epoch: int) -> None:
        if key[0] == "manifest" and self._is_settled(value):
            self._remembered.keep_manifest(key, value, epoch)
        else:
            self._remembered.keep(key, value, seconds, epoch)

    # How each kind is asked for

    def _stat(self, ref: Ref) -> Entry:
        entry = self._inner.stat(ref)
        self._looked_up.add(ref)
        return entry

    def _is_found_by_listing(self, ref: Ref) -> bool:
        """Whether `ref` is looked up in the listing that it is in.

        Below a model, lists are short and needed anyway. A listing of all models of an owner can
        be long, so it serves only while it is fresh.
        """
        if not self._is_listed_below(ref.parent):
            return False
        if ref.depth > 2:
            return True
        return self._remembered.is_fresh(("children", ref.parent))

    def _is_listed_below(self, ref: Ref) -> bool:
        listed = self.traits.is_listed
        return ref.depth >= len(listed) or listed[ref.depth]

    # What is known where the registry does not answer

    def _last_listing(self, ref: Ref) -> tuple[Entry, ...] | None:
        """What was listed together with the level above, or the names looked up below `ref`."""
        if ref.depth and (above := self._shelved_stat(ref)) and above.children is not None:
            return above.children
        names = self._looked_up.below(ref)
        is_known = names or not self._is_listed_below(ref)
        return tuple(Entry(name) for name in sorted(names)) if is_known else None

    def _shelved_stat(self, ref: Ref) -> Entry | None:
        """The entry of `ref` from the shelved listing that it is in."""
        listing = plain.loaded(plain.ENTRIES, self._shelf.read("children", ref.parent)) or ()
        return next((entry for entry in listing if entry.name == ref.name), None)
