"""Is a version on the registry what was sent? Pure.

A registry may unpack archives after a version was created: files in place of an archive are no
difference. Nor is what it tells of a document beyond what was sent: values that it filled in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from modelfs.model import NOTES, Digests, Document, Manifest, Part
from modelfs.registry.likeness import says

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".gz")
# Of a list of names in a sentence.
_MOST = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a listing has otherwise than what was sent."""

    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    extra: tuple[str, ...]
    # May the list still grow?
    is_final: bool
    has_same_notes: bool

    @property
    def is_same(self) -> bool:
        return not (self.missing or self.wrong or self.extra)

    @property
    def is_settling(self) -> bool:
        """True if it may become the same."""
        return not (self.is_final or self.wrong or self.extra)

    def __str__(self) -> str:
        told = (("missing", self.missing), ("not the same", self.wrong), ("not ours", self.extra))
        return "; ".join(f"{word}: {_named(paths)}" for word, paths in told if paths)


def compared(
    manifest: Manifest,
    parts: Sequence[Part],
    documents: Sequence[Document],
    reworded: Collection[str] = (),
    archive: str = "",
) -> Comparison:
    """How the version of `manifest` differs from what `parts` and `documents` made of it.

    Documents that the registry does not tell, or that are `reworded` by it, are as they should be.
    The `archive` that parts were sent in may be listed as long as it may still be unpacked.
    """
    sent = {part.path: part for part in parts}
    listed = {file.path: file for file in manifest.files}
    missing = [path for path in sent if path not in listed]
    wrong = [
        path
        for path, file in listed.items()
        if path in sent and not _is_same(sent[path], file.size, file.digests)
    ]
    told = {document.name: document.content for document in manifest.documents}
    wrong += [
        document.name
        for document in documents
        if document.name in told.keys() - {NOTES, *reworded}
        and not says(told[document.name], document.content)
    ]
    is_waited_for = archive if missing and not manifest.is_final else ""
    strange = [path for path in listed if path not in sent and path != is_waited_for]
    unpacked = [
        archive
        for archive in missing
        if archive.lower().endswith(_ARCHIVES)
        and any(_may_be_of(path, archive) for path in strange)
    ]
    theirs = _notes(manifest.documents)
    return Comparison(
        missing=tuple(path for path in missing if path not in unpacked),
        wrong=tuple(wrong),
        extra=tuple(p for p in strange if not any(_may_be_of(p, archive) for archive in unpacked)),
        is_final=manifest.is_final,
        has_same_notes=not theirs or theirs == _notes(documents),
    )


def _is_same(part: Part, size: int, told: Digests) -> bool:
    pairs = ((part.digests.md5, told.md5), (part.digests.sha256, told.sha256))
    return part.size == size and all(mine == theirs for mine, theirs in pairs if mine and theirs)


def _may_be_of(path: str, archive: str) -> bool:
    """True if a file may have come out of an archive, into the directory that it was in."""
    directory = archive.rpartition("/")[0]
    return not directory or path.startswith(f"{directory}/")


def _notes(documents: Iterable[Document]) -> str:
    """The words of the notes: registries change line ends and white space."""
    found = (document.content for document in documents if document.name == NOTES)
    return " ".join(next(found, b"").decode(errors="replace").split())


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - _MOST
    return ", ".join(paths[:_MOST]) + (f" and {more} more" if more > 0 else "")
