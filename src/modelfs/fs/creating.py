"""Uploaded -> a version on the registry: created once, and compared with what was sent.

A version is asked for only when nobody can have asked already. After an answer that was lost, here
or in an earlier run, the registry is looked at until it says whether there is one: a second version
is never made of one draft, and what cannot be told apart is left to a person.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

from modelfs.errors import (
    Corrupt,
    Error,
    Interrupted,
    InvalidName,
    NotFound,
    TooLarge,
    Unavailable,
    WrongState,
)
from modelfs.fs.comparing import Comparison, compared
from modelfs.fs.course import Course
from modelfs.fs.journal import Parents, Phase
from modelfs.fs.material import Material
from modelfs.model import Bundle, Document, Manifest
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from modelfs.waiting import Clock

# These leave open whether the registry did what was asked.
_OUTCOME_UNKNOWN = (Unavailable, Corrupt, Interrupted)
# For how many seconds a listing counts as one of now. An older one would make no second version
# either, but more of others' versions had to be told from ours if an answer was lost.
_LATELY = 10.0


class Creation:
    """The creation of the version that a course is about."""

    def __init__(
        self, registry: WritableRegistry, material: Material, course: Course, clock: Clock
    ) -> None:
        self._registry = registry
        self._material = material
        self._course = course
        self._clock = clock
        # What was listed last.
        self.manifest: Manifest | None = None
        # The versions that were there, and since when that was asked.
        self._seen: tuple[tuple[str, ...], float] | None = None
        self._ahead: Future[tuple[str, ...]] | None = None

    def look_ahead(self) -> None:
        """Have it asked which versions there are, while something else is done."""
        ahead = self._ahead = Future[tuple[str, ...]]()

        def look() -> None:
            try:
                ahead.set_result(self._list(self._course.patience.tries))
            except BaseException as exc:
                ahead.set_exception(exc)

        threading.Thread(target=look, name="publish-look", daemon=True).start()

    def missing(self) -> Parents:
        """The refs above the draft that do not exist, from the top, with their documents."""
        tries = self._course.patience.tries
        if self._ahead is not None:
            try:
                self._ahead.result()
                return ()  # what can be listed is there
            except NotFound:
                pass
        return _missing_parents(self._registry, self._material, self._course, tries)

    def create(self) -> Ref:
        """Have the version made, once; its ref."""
        course = self._course
        course.progress.phase = "creating"
        may_exist = course.journal.before is not None
        if may_exist:
            course.remember(Phase.CREATING)
        else:
            before = self._lately
            if before is None:
                course.remember(Phase.UPLOADING)  # what is sent, however long it takes to be told
                before = self._versions(course.patience.tries)
            course.remember(Phase.CREATING, before=before)
        for _ in range(course.patience.tries):
            if may_exist:
                if found := self._look():
                    return found
                parents = _missing_parents(self._registry, self._material, course, None)
                course.remember(Phase.CREATING, parents=parents)
            try:
                return self._registry.canonical(self._registry.create(self._bundle()))
            except _OUTCOME_UNKNOWN as exc:
                course.progress.note = str(exc)
                may_exist = True
            except Error as exc:
                # What was asked for before may have been done meanwhile, and be in the way; or who
                # stands between us and the registry refuses what it has done.
                if found := self._found() if may_exist else self._found_at_once():
                    return found
                if isinstance(exc, InvalidName | TooLarge):
                    self._trust_no_archive()
                self._forget_asking()
                raise
        raise Unavailable(f"the registry did not create the version: {course.progress.note}")

    def difference(self, version: Ref, tries: int | None = None) -> Comparison:
        """How a version differs from what was sent, once its list of files grows no more."""
        parts, documents = self._bundle().parts, self._course.journal.documents
        reworded = self._registry.traits.reworded
        packed = self._course.journal.archive
        archive = packed.path if packed else ""
        until = self._clock() + self._course.patience.settling
        count = 0
        while True:
            try:
                manifest = self._course.ask(lambda: self._registry.manifest(version), tries)
            except NotFound:
                manifest = Manifest(is_final=False)
            self.manifest = manifest
            found = compared(manifest, parts, documents, reworded, archive)
            if found.is_same or not found.is_settling or self._clock() >= until:
                return found
            count += 1
            self._course.pause(self._course.patience.delay(count))

    def confirm(self, version: Ref) -> None:
        """Raises WrongState if the version is not what was sent, and stays so."""
        self._course.progress.phase = "confirming"
        for pause in self._course.patience.looks:
            self._course.pause(pause)
            found = self.difference(version)
            if found.is_same:
                return
            if found.is_settling:
                break
        self._trust_no_archive()
        raise WrongState(f"{version} was created, but is not what was sent: {found}")

    def _look(self) -> Ref | None:
        """The version that was made without our being told, looked for long enough; or None."""
        for pause in self._course.patience.looks:
            self._course.pause(pause)
            if found := self._found():
                return found
        return None

    def _found(self, tries: int | None = None) -> Ref | None:
        """The version that is what we asked for, among those that were not there before.

        Raises WrongState for one of which that cannot be said.
        """
        for name in self._versions(tries):
            if name in (self._course.journal.before or ()):
                continue
            version = self._registry.canonical(self._course.ref.parent.child(name))
            found = self.difference(version, tries)
            if found.is_same and found.has_same_notes:
                return version
            if found.is_same or found.is_settling:
                self._forget_asking()
                raise WrongState(
                    f"{version} appeared while the registry did not say whether it made one, and"
                    f" is not quite what was sent ({str(found) or 'other notes'}): see if it is"
                    " yours, and publish again if it is not"
                )
        return None

    def _found_at_once(self) -> Ref | None:
        """The same, as far as a registry tells that has just refused: that is what to say, then."""
        try:
            return self._found(tries=1)
        except Interrupted:
            raise
        except Error:
            return None

    def _trust_no_archive(self) -> None:
        """What went wrong may be the archive: the next attempt sends each file by itself."""
        journal = self._course.journal
        if journal.archive is not None:
            journal.archive, journal.is_plain = None, True

    def _forget_asking(self) -> None:
        """Nobody needs to look for what was asked for; the uploads may have been too old for it."""
        journal = self._course.journal
        journal.before = None
        journal.phase = Phase.UPLOADING
        if journal.has_reused:
            for item in journal.uploads:
                item.session = item.token = ""

    @property
    def _lately(self) -> tuple[str, ...] | None:
        """The versions that were there a moment ago; None if nobody has looked."""
        if self._seen is None or self._clock() - self._seen[1] > _LATELY:
            return None
        return self._seen[0]

    def _versions(self, tries: int | None) -> tuple[str, ...]:
        try:
            return self._list(tries)
        except NotFound:
            return ()

    def _list(self, tries: int | None) -> tuple[str, ...]:
        """The versions that there are; NotFound if there is nothing that they could be of."""
        instance, now = self._course.ref.parent, self._clock()
        try:
            found = self._course.ask(lambda: self._registry.children(instance), tries)
        except NotFound:
            self._seen = (), now
            raise
        self._seen = tuple(entry.name for entry in found), now
        return self._seen[0]

    def _bundle(self) -> Bundle:
        journal = self._course.journal
        parts = tuple(item.part for item in journal.items.values())
        archive = journal.archive.part if journal.archive else None
        return Bundle(
            self._course.ref, parts, journal.documents, journal.parents, archive, self._lately
        )


def _missing_parents(
    registry: WritableRegistry, material: Material, course: Course, tries: int | None
) -> Parents:
    """The refs above the draft that do not exist, from the top, with their documents."""
    missing: list[tuple[Ref, tuple[Document, ...]]] = []
    for ref in reversed([above for above in course.ref.ancestors() if above.parts]):
        try:
            course.ask(lambda ref=ref: registry.stat(ref), tries)  # type: ignore[misc]
            break
        except NotFound:
            missing.insert(0, (ref, _documents(registry, material, ref)))
    return tuple(missing)


def _documents(registry: WritableRegistry, material: Material, ref: Ref) -> tuple[Document, ...]:
    """The metadata of a ref that is to be: as written beside the draft, else as proposed."""
    found = []
    for document in registry.blank(ref):
        try:
            own = material.document(ref, document.name)
        except OSError as exc:
            raise WrongState(f"{ref}/{document.name} cannot be read: {exc.strerror}") from exc
        found.append(document if own is None else Document(document.name, own))
    return tuple(found)
