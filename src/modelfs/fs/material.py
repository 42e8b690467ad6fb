"""What a version is to be made of: a draft, or anything else that files can be taken from.

`Material` is all that an attempt at publishing knows of it. The methods are called by one attempt
at a time, `path` by its threads as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from modelfs.cache.directory import sync_disk
from modelfs.errors import WrongState
from modelfs.fs import sealing
from modelfs.fs.journal import Item
from modelfs.fs.sealing import Survey
from modelfs.fs.staging import Staging
from modelfs.refs import Ref


class Material(Protocol):
    """The files and documents of one version that is to be, and where its journal is."""

    # Is it gone once it is a version? Then it must not hold anything that the version does not.
    is_given_away: bool
    needs_notes: bool
    # Where the receipts of what was published lie.
    receipts: Path
    # Where files may lie that have no name, for as long as an attempt takes.
    scratch: Path

    def survey(self) -> Survey:
        """What is in it; InvalidName or TooLarge for what cannot be in a version."""
        ...

    def path(self, path: str) -> Path:
        """Where the bytes of a file of it lie."""
        ...

    def document(self, ref: Ref, name: str) -> bytes | None:
        """A document of a ref above, if there is one here; raises OSError."""
        ...

    def settle(self) -> None:
        """Have what is there on the disk for certain; WrongState if that cannot be."""
        ...

    def keepable(self, items: Iterable[Item]) -> Iterator[tuple[Item, Path]]:
        """Those of `items` whose bytes the cache may keep, and where; on the disk for certain."""
        ...

    def read_journal(self) -> dict[str, Any]: ...

    def write_journal(self, value: dict[str, Any]) -> None:
        """Remember `value`; when this returns, a power cut does not lose it."""
        ...


class StagedDraft:
    """The draft `ref` of `staging`, whose `documents` are no files."""

    is_given_away = True
    needs_notes = True

    def __init__(self, staging: Staging, ref: Ref, documents: tuple[str, ...]) -> None:
        self._staging = staging
        self._ref = ref
        self._documents = documents
        self.receipts = staging.directory / "receipts"
        self.scratch = staging.directory

    def survey(self) -> Survey:
        directory = self._staging.path(self._ref)
        found = sealing.survey(directory, self._documents)
        if written := self._staging.unseen.within(directory):
            raise WrongState(f"{sealing.printable(written[0])} is open or mapped for writing")
        return found

    def path(self, path: str) -> Path:
        return self._staging.path(self._ref) / path

    def document(self, ref: Ref, name: str) -> bytes | None:
        try:
            return self._staging.path(ref, name).read_bytes()
        except FileNotFoundError:
            return None

    def settle(self) -> None:
        try:
            sync_disk(self._staging.path(self._ref))
        except OSError as exc:
            raise WrongState(f"the draft cannot be written to disk: {exc.strerror}") from exc

    def keepable(self, items: Iterable[Item]) -> Iterator[tuple[Item, Path]]:
        """Those that are what they were when the draft was settled."""
        for item in items:
            path = self.path(item.path)
            if sealing.is_unchanged(path, item):
                yield item, path

    def read_journal(self) -> dict[str, Any]:
        return self._staging.read_journal(self._ref)

    def write_journal(self, value: dict[str, Any]) -> None:
        self._staging.write_journal(self._ref, value)
