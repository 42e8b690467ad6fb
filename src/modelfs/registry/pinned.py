"""A registry that shows only what a lock file says, and nothing else under its names.

While the lock file is *recorded*, what is used is added to it: a version when its files are first
asked for, and the highest one when the versions of an instance are first listed: from then on that
is `latest`, and later ones are hidden. Otherwise only what is locked exists. In both cases a
version whose files differ from those locked is an error. Only reads; owns no bytes.

`Pins` owns the lock file's content in memory. One lock guards it, never held while the file is
read or written, which is done on worker threads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from modelfs.errors import Corrupt, Error, NotFound, Unavailable, Usage
from modelfs.model import (
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
from modelfs.refs import Ref, highest
from modelfs.registry import lockfile
from modelfs.registry.base import Body, Registry
from modelfs.registry.lockfile import Lock, Locked, Section
from modelfs.waiting import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")

# Digests that come with the bytes are written together: a registry that tells them only so may
# have ten thousand small files in a version.
_TOGETHER = 5.0


class Aside(Protocol):
    """Runs something that may wait for a disk, where no request of the kernel is held up."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


class Pins:
    """A lock file in use, by one mount."""

    def __init__(self, path: Path, lock: Lock, aside: Aside, clock: Clock = time.monotonic) -> None:
        self._path = path
        self._aside = aside
        self._clock = clock
        # Decided once: what another mount does to the file afterwards ends no recording here.
        self.is_recording = lock.is_recording
        self._lock = threading.Lock()
        self._known = lock
        self._told: dict[tuple[str, Ref], dict[str, Digests]] = {}
        self._write_at = 0.0

    def section(self, identity: str) -> Section:
        with self._lock:
            return self._known.section(identity)

    def record(
        self, identity: str, ref: Ref, manifest: Manifest, *, is_latest: bool = False
    ) -> Section:
        """Lock the version `ref`, unless somebody has; what is locked of its registry now."""
        latest = {ref.parent: ref.name} if is_latest else {}
        wanted = Section(latest, {ref: Locked(manifest.files, manifest.mtime)})
        self._aside(lambda: self._add(Lock({identity: wanted})))
        return self.section(identity)

    def learn(self, identity: str, ref: Ref, path: str, digests: Digests) -> None:
        """Remember the digests that came with the bytes of a file; they are written in a while."""
        with self._lock:
            told = self._told.setdefault((identity, ref), {})
            if path in told:
                return
            told[path] = digests
            is_due = self._clock() >= self._write_at
            if is_due:
                self._write_at = self._clock() + _TOGETHER
        if is_due:
            try:
                self._add(self._learned())
            except Error as exc:  # sizes and names are locked; the bytes have come
                log.info("digests are not locked yet: %s", exc)

    def close(self) -> None:
        """The recording ends: who mounts with the file from now on gets only what is in it."""
        if self.is_recording:
            learned = self._learned()
            lockfile.change(
                self._path, lambda lock: replace(lock.joined(learned), is_recording=False)
            )

    def _add(self, more: Lock) -> None:
        known = lockfile.change(self._path, lambda lock: lock.joined(more))
        with self._lock:
            self._known = known.joined(self._known)

    def _learned(self) -> Lock:
        """What the digests that have been told make of what is locked."""
        with self._lock:
            registries: dict[str, Section] = {}
            for (identity, ref), told in self._told.items():
                locked = self._known.section(identity).versions.get(ref)
                if locked is None:
                    continue
                files = [replace(f, digests=told.get(f.path, f.digests)) for f in locked.files]
                learned = {ref: Locked(tuple(files), locked.mtime)}
                known = registries.get(identity, Section())
                registries[identity] = known.joined(Section({}, learned))
            return Lock(registries)


def open_pins(path: Path, registries: Iterable[Registry], aside: Aside) -> Pins:
    """The lock file at `path`, to be recorded if there is none yet.

    Raises Usage for a file that is none, or says nothing of one of the registries.
    """
    identities = sorted({registry.traits.identity for registry in registries})
    blank = Lock({identity: Section() for identity in identities}, is_recording=True)
    try:
        lock = lockfile.read(path)
    except FileNotFoundError:
        lock = blank if lockfile.create(path, blank) else lockfile.read(path)
    if lock.is_recording:
        lock = lockfile.change(path, lambda found: found.joined(blank))
    for registry in registries:
        _expect(registry.traits, lock, path)
    return Pins(path, lock, aside)


def _expect(traits: Traits, lock: Lock, path: Path) -> None:
    if traits.identity not in lock.registries:
        known = ", ".join(sorted(lock.registries)) or "nothing"
        raise Usage(f"the lock file is not of {traits.identity} but of {known}: {path}")
    for ref in lock.section(traits.identity).versions:
        if not traits.is_version(ref):
            raise Usage(f"damaged lock file, not a version: {ref}: {path}")


class PinnedRegistry:
    """`inner`, as far as `pins` lock it."""

    def __init__(self, inner: Registry, pins: Pins) -> None:
        self._inner = inner
        self._pins = pins
        self.traits = replace(inner.traits, is_writable=False)

    def account(self) -> Account:
        return self._inner.account()

    def canonical(self, ref: Ref) -> Ref:
        return self._inner.canonical(ref)

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        ref = self.canonical(ref)
        if not self._pins.is_recording:
            return self._locked_children(ref)
        entries = self._inner.children(ref)
        if ref.depth < self.traits.depth - 1:
            return entries
        if ref not in self._section.latest and (name := highest(e.name for e in entries)):
            self._record(ref.child(name), is_latest=True)
        section = self._section
        shown = [entry for entry in entries if not section.is_later(ref.child(entry.name))]
        latest = section.latest.get(ref)
        if latest and latest not in {entry.name for entry in shown}:
            shown.append(Entry(latest))  # locked by a mount that was told of it before we were
        return tuple(shown)

    def stat(self, ref: Ref) -> Entry:
        ref = self.canonical(ref)
        if self._pins.is_recording:
            self._expect_shown(ref)
            return self._inner.stat(ref)
        found = [lock for place, lock in self._section.versions.items() if _is_below(place, ref)]
        if not found:
            raise self._unknown(ref)
        return Entry(ref.name, _newest(found))

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        self._expect_shown(self.canonical(ref))
        return self._inner.documents(ref)

    def manifest(self, ref: Ref) -> Manifest:
        ref = self.canonical(ref)
        self._expect_shown(ref)
        locked = self._section.versions.get(ref)
        if locked is None:
            locked = self._record(ref)
        if locked is None:  # another mount has locked an earlier one as the latest
            raise self._unknown(ref)
        return agreed(ref, locked, self._inner.manifest(ref))

    def item(self, ref: Ref) -> Item:
        self._expect_shown(self.canonical(ref))
        return self._inner.item(ref)

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        page = self._inner.page(ref, query, size=size, token=token)
        return replace(page, items=tuple(item for item in page.items if self._is_shown(item.ref)))

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        ref = self.canonical(ref)
        self._expect_shown(ref)
        body = self._inner.open(ref, file, start, stop)
        if self._pins.is_recording and body.digests and not file.digests:
            self._pins.learn(self.traits.identity, ref, file.path, body.digests)
        return body

    def close(self) -> None:
        try:
            self._pins.close()
        finally:
            self._inner.close()

    @property
    def _section(self) -> Section:
        return self._pins.section(self.traits.identity)

    def _locked_children(self, ref: Ref) -> tuple[Entry, ...]:
        found: dict[str, list[Locked]] = {}
        for version, locked in self._section.versions.items():
            if _is_below(version, ref) and version != ref:
                found.setdefault(version.parts[ref.depth], []).append(locked)
        if not found and ref.depth:
            raise self._unknown(ref)
        return tuple(Entry(name, _newest(found[name])) for name in sorted(found, key=_by_number))

    def _record(self, ref: Ref, *, is_latest: bool = False) -> Locked | None:
        """Lock a version that is used for the first time."""
        manifest = self._inner.manifest(ref)
        _expect_sound(ref, manifest)
        if not manifest.is_final:
            raise Unavailable(f"cannot be locked while the registry may be unpacking it: {ref}")
        section = self._pins.record(self.traits.identity, ref, manifest, is_latest=is_latest)
        return section.versions.get(ref)

    def _is_shown(self, ref: Ref) -> bool:
        if self._pins.is_recording:
            return not self._section.is_later(ref)
        return any(_is_below(version, ref) for version in self._section.versions)

    def _expect_shown(self, ref: Ref) -> None:
        if not self._is_shown(ref):
            raise self._unknown(ref)

    def _unknown(self, ref: Ref) -> NotFound:
        return NotFound(f"not in the lock file: {ref}")


def _expect_sound(ref: Ref, manifest: Manifest) -> None:
    for item in manifest.rejected:
        raise Corrupt(f"{ref} lists what no directory can hold, {item.path!r:.100}: {item.reason}")


def agreed(ref: Ref, locked: Locked, manifest: Manifest) -> Manifest:
    """The manifest of a locked version, with all digests known; Corrupt if it is another."""
    files = {file.path: file for file in manifest.files}
    for expected in locked.files:
        found = files.pop(expected.path, None)
        if found is None:
            raise _drift(ref, expected.path, "the registry does not have it any more")
        if found.size != expected.size:
            raise _drift(ref, expected.path, f"its size is {found.size}, not {expected.size}")
        if name := disagreement(expected.digests, found.digests):
            raise _drift(ref, expected.path, f"the registry tells another {name}")
    for path in files:
        raise _drift(ref, path, "it is not locked")
    known = {file.path: file.digests for file in locked.files}
    merged = (
        replace(file, digests=lockfile.united(known[file.path], file.digests))
        for file in manifest.files
    )
    return replace(manifest, files=tuple(merged), is_final=True)


def locked_version(
    registry: Registry, ref: Ref, each: Callable[[Sequence[Callable[[], File]]], list[File]]
) -> Locked:
    """What a version holds, to be written down; `each` does many requests.

    Where the registry tells digests only with the bytes, the first byte of each file is asked for.
    """
    manifest = registry.manifest(ref)
    _expect_sound(ref, manifest)
    if not manifest.is_final:
        raise Error(f"cannot be locked while the registry may be unpacking it: {ref}")
    asked = each([lambda file=file: _asked(registry, ref, file) for file in manifest.files])  # type: ignore[misc]
    return Locked(tuple(asked), manifest.mtime)


def _asked(registry: Registry, ref: Ref, file: File) -> File:
    if file.digests.md5 or file.digests.sha256 or not file.size:
        return file
    with registry.open(ref, file, 0, 1) as body:
        return replace(file, digests=lockfile.united(file.digests, body.digests))


def disagreement(known: Digests, told: Digests) -> str:
    """The name of a digest that both have and that differs, or nothing."""
    for name in ("sha256", "md5", "crc32c"):
        mine, theirs = getattr(known, name), getattr(told, name)
        if mine and theirs and mine != theirs.lower():
            return name
    return ""


def _drift(ref: Ref, path: str, what: str) -> Corrupt:
    return Corrupt(f"{ref} is not what is locked: {path}: {what}")


def _is_below(version: Ref, ref: Ref) -> bool:
    """True if `version` is `ref`, or in it."""
    return version.parts[: ref.depth] == ref.parts


def _newest(found: Iterable[Locked]) -> float | None:
    return max((locked.mtime for locked in found if locked.mtime is not None), default=None)


def _by_number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (-1, name)
