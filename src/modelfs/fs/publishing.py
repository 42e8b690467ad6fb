"""One attempt at publishing a draft or other material: seal, upload, create, confirm, put away.

Every step is remembered before it has effects elsewhere, so that an attempt which is broken off
anywhere goes on where it was. Runs on a thread of its own; hashing and uploads are on the crew's.
No lock of its own: see `course` for what several threads touch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from modelfs.cache.blocks import BlockCache
from modelfs.cache.crew import Crew
from modelfs.errors import Error, WrongState
from modelfs.fs import receipts, sealing
from modelfs.fs.batches import Batch
from modelfs.fs.course import Course, Patience
from modelfs.fs.creating import Creation
from modelfs.fs.journal import ASKED_FOR, Item, Journal, Phase, Stamp
from modelfs.fs.material import Material
from modelfs.fs.nodes import identity
from modelfs.fs.packing import chosen
from modelfs.fs.progress import Progress
from modelfs.fs.sending import Sending, recall, reuse
from modelfs.model import Bundle, Manifest
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from modelfs.waiting import Clock

log = logging.getLogger(__name__)

# A session lost in a crash costs the bytes sent since; writing the journal costs a flush.
_REMEMBER_EVERY = 1.0
# The journal of many files takes a while to write; this share of the time is the most for it.
_SHARE = 10
# Of smaller files round trips take longer than bytes: so many times as many are under way.
_SMALL, MANY = 1 << 20, 4
# How soon an attempt that is told to end does.
_LOOK_UP = 0.1


@dataclass(frozen=True, slots=True)
class Means:
    """What all attempts of one registry work with.

    `registry` is asked directly: one that remembers would hide a new version.
    """

    registry: WritableRegistry
    cache: BlockCache
    crew: Crew
    lanes: int
    patience: Patience
    clock: Clock


class Attempt:
    """One attempt to make `material` the version `ref`, which goes on where its journal says."""

    def __init__(
        self,
        means: Means,
        material: Material,
        ref: Ref,
        journal: Journal | None = None,
        on_checked: Callable[[], None] = lambda: None,
    ) -> None:
        self._means = means
        self._material = material
        self._ref = ref
        self._on_checked = on_checked
        self.progress = Progress(means.clock)
        self._course = Course(material, ref, journal, means.patience, self.progress)
        self._creation = Creation(means.registry, material, self._course, means.clock)

    def run(self) -> Ref:
        """Publish; the new version's ref. The material is still there: see `put_away`.

        Raises Over when told to end, any other Error if it cannot be published.
        """
        course = self._course
        if course.journal.phase not in ASKED_FOR:
            known = self._seal()
            self._on_checked()
            self._upload(known)
        else:
            self._on_checked()
        self.progress.began(course.journal)
        if course.journal.phase in (Phase.UPLOADING, Phase.CREATING):
            course.remember(Phase.CREATED, version=self._creation.create(), before=None)
        version = course.journal.version
        if version is None:
            raise WrongState("the journal of the draft is damaged")
        if course.journal.phase is Phase.CREATED:
            self._creation.confirm(version)
            if self._material.is_given_away:
                self._check_unchanged(version)
            course.remember(Phase.PUBLISHED)
        return version

    @property
    def manifest(self) -> Manifest | None:
        """The new version, as it was listed when it was found to be what was sent."""
        return self._creation.manifest

    def fail(self, reason: str) -> None:
        """Remember why it failed, and keep what the next attempt can use."""
        self._course.remember(Phase.FAILED, reason=reason)

    def put_away(self, version: Ref) -> None:
        """Have what was published move into the cache, and write a receipt."""
        self.progress.phase = "putting away"
        items = list(self._course.journal.items.values())
        receipts.write(self._material.receipts, self._ref, version, items)
        try:
            manifest = self.manifest or self._means.registry.manifest(version)
        except Error as exc:
            log.info("%s will be downloaded when it is read: %s", version, exc)
            return
        listed = {file.path: file for file in manifest.files}
        there = [item for item in items if item.path in listed]
        for item, path in self._material.keepable(there):
            self._means.cache.adopt(
                identity(self._means.registry.traits.identity, version, item.path),
                item.stamp.size,
                item.digests,
                path,
                listed[item.path].digests,
                is_synced=True,
            )

    def pause(self, seconds: float) -> None:
        """Do nothing for a while; raises Over when told to end."""
        self._course.pause(seconds)

    def end(self) -> None:
        """Have it end soon, as it stands; it remembers nothing more."""
        self._course.end()

    def cancel(self) -> None:
        """End it for good; WrongState once the version may have been asked for."""
        self._course.cancel()

    def _seal(self) -> Journal:
        """Check what there is, and remember it; what was remembered before."""
        course, registry = self._course, self._means.registry
        self.progress.phase = "checking"
        course.remember(Phase.SEALED, boot=boot_id(), reason="")
        self._creation.look_ahead()
        # From here on the same bytes are there after a power cut, or the journal tells that not.
        self._material.settle()
        found = self._material.survey()
        self.progress.ignored = found.ignored
        bundle = Bundle(self._ref, tuple(item.part for item in found.items), found.documents)
        needs_notes = self._material.needs_notes
        sealing.check(registry.traits, bundle, needs_notes=needs_notes)
        parents = self._creation.missing()
        bundle = replace(bundle, parents=parents)
        sealing.check(registry.traits, bundle, needs_notes=needs_notes)
        registry.check(bundle)
        known = course.journal
        for item in found.items:
            recall(item, known.items.get(item.path))
        reused = [reuse(item, known.items.get(item.path)) for item in found.items if item.digests]
        packed = [] if known.is_plain or not registry.traits.archive else chosen(found.items)
        for item in packed:
            item.is_packed = True
        course.remember(
            Phase.UPLOADING,
            items={item.path: item for item in found.items},
            documents=found.documents,
            parents=parents,
            ignored=found.ignored,
            has_reused=any(reused),
            archive=Item(registry.traits.archive, Stamp(0, 0, 0, 0)) if packed else None,
        )
        return known

    def _upload(self, known: Journal) -> None:
        """Have every file there, hashed before it is sent; `known` is what was there before."""
        course = self._course
        journal = course.journal
        self.progress.uploading(journal)
        memory = self._means.cache.memory
        sending = Sending(self._means.registry, self._material, course, known, memory)
        left = [item for item in journal.uploads if not item.token]
        remembered, next_at = 0, time.monotonic() + _REMEMBER_EVERY

        def remember() -> None:
            nonlocal remembered, next_at
            now = time.monotonic()
            if sending.changes != remembered and now >= next_at:
                remembered = sending.changes
                course.remember(Phase.UPLOADING)
                took = time.monotonic() - now
                next_at = now + took + max(_REMEMBER_EVERY, _SHARE * took)

        is_many = sum(item.stamp.size < _SMALL for item in left) > len(left) / 2
        lanes = self._means.lanes * (MANY if is_many else 1)
        with sending:
            self._run(Batch(self._means.crew, lanes, left, sending.send), remember)
        course.journal.has_reused |= sending.has_reused

    def _run(self, batch: Batch[Item], meanwhile: Callable[[], None]) -> None:
        batch.start()
        try:
            while not batch.wait(_LOOK_UP):
                self._course.check_over()
                meanwhile()
            self._course.check_over()
        finally:
            batch.end()

    def _check_unchanged(self, version: Ref) -> None:
        """Raises WrongState if something in the draft is not in the version: it must not go."""
        found = self._material.survey()
        known = self._course.journal.items
        changed = [
            item.path
            for item in found.items
            if item.path not in known or known[item.path].stamp != item.stamp
        ]
        if changed:
            raise WrongState(f"{version} was created, but the draft changed since: {changed[0]}")


def boot_id() -> str:
    """Names the time since the machine was started; empty where the system does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""
