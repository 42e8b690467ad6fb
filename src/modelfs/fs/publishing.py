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
from modelfs.fs.creating import Creation, missing_parents
from modelfs.fs.journal import ASKED_FOR, Item, Journal, Phase
from modelfs.fs.material import Material
from modelfs.fs.nodes import identity
from modelfs.fs.progress import Progress
from modelfs.fs.uploading import Uploads
from modelfs.model import Bundle
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from modelfs.waiting import Clock

log = logging.getLogger(__name__)

# A session lost in a crash costs the bytes sent since; writing the journal costs a flush.
_REMEMBER_EVERY = 1.0
# The journal of many files takes a while to write; this share of the time is the most for it.
_SHARE = 10
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
            self._seal()
            self._on_checked()
            self._upload()
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

    def fail(self, reason: str) -> None:
        """Remember why it failed, and keep what the next attempt can use."""
        self._course.remember(Phase.FAILED, reason=reason)

    def put_away(self, version: Ref) -> None:
        """Have what was published move into the cache, and write a receipt."""
        self.progress.phase = "putting away"
        items = list(self._course.journal.items.values())
        receipts.write(self._material.receipts, self._ref, version, items)
        try:
            manifest = self._creation.manifest or self._means.registry.manifest(version)
        except Error as exc:
            log.info("%s will be downloaded when it is read: %s", version, exc)
            return
        listed = {file.path: file for file in manifest.files}
        for item in items:
            if item.path in listed and (path := self._material.keepable(item)) is not None:
                self._means.cache.adopt(
                    identity(self._means.registry.traits.identity, version, item.path),
                    item.stamp.size,
                    item.digests,
                    path,
                    listed[item.path].digests,
                )

    def end(self) -> None:
        """Have it end soon, as it stands; it remembers nothing more."""
        self._course.end()

    def cancel(self) -> None:
        """End it for good; WrongState once the version may have been asked for."""
        self._course.cancel()

    def _seal(self) -> None:
        """Check and hash."""
        course, registry = self._course, self._means.registry
        self.progress.phase = "checking"
        course.remember(Phase.SEALED, boot=boot_id(), reason="")
        # From here on the same bytes are there after a power cut, or the journal tells that not.
        self._material.settle()
        found = self._material.survey()
        self.progress.ignored = found.ignored
        bundle = Bundle(self._ref, tuple(item.part for item in found.items), found.documents)
        needs_notes = self._material.needs_notes
        sealing.check(registry.traits, bundle, needs_notes=needs_notes)
        parents = missing_parents(registry, self._material, course, self._means.patience.tries)
        bundle = replace(bundle, parents=parents)
        sealing.check(registry.traits, bundle, needs_notes=needs_notes)
        registry.check(bundle)
        known = course.journal.items
        self.progress.hashing(found.items)
        self._hash([item for item in found.items if not _recall(item, known.get(item.path))])
        reused = [_reuse(item, known.get(item.path)) for item in found.items]
        course.remember(
            Phase.UPLOADING,
            items={item.path: item for item in found.items},
            documents=found.documents,
            parents=parents,
            ignored=found.ignored,
            has_reused=any(reused),
        )

    def _hash(self, items: list[Item]) -> None:
        def work(item: Item, buffer: memoryview) -> None:
            is_over = lambda: self._course.is_over  # noqa: E731
            path = self._material.path(item.path)
            item.digests = sealing.hashed(path, item, buffer, is_over)
            self.progress.hashed(item)

        self._run(Batch(self._means.crew, self._means.lanes, items, work), lambda: None)

    def _upload(self) -> None:
        course = self._course
        self.progress.uploading(course.journal)
        uploads = Uploads(
            self._means.registry,
            self._material.path,
            self.progress,
            self._means.patience,
            lambda: course.is_over,
        )
        left = [item for item in course.journal.items.values() if not item.token]
        remembered, next_at = 0, time.monotonic() + _REMEMBER_EVERY

        def remember() -> None:
            nonlocal remembered, next_at
            now = time.monotonic()
            if uploads.changes != remembered and now >= next_at:
                remembered = uploads.changes
                course.remember(Phase.UPLOADING)
                took = time.monotonic() - now
                next_at = now + took + max(_REMEMBER_EVERY, _SHARE * took)

        self._run(Batch(self._means.crew, self._means.lanes, left, uploads.send), remember)
        if left:
            course.remember(Phase.UPLOADING)

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


def _recall(item: Item, known: Item | None) -> bool:
    """True if the hashes of a file are known, as it has not been touched since."""
    if known is None or known.stamp != item.stamp or not known.digests:
        return False
    item.digests = known.digests
    return True


def _reuse(item: Item, known: Item | None) -> bool:
    """Take over what was uploaded in an earlier attempt; true if something was."""
    if known is None or replace(known.part, token="") != item.part:
        return False
    item.session, item.token = known.session, known.token
    return bool(item.token)
