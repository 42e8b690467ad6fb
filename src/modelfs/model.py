"""What a registry holds, as values: entries, files, manifests, documents, traits. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from modelfs.refs import Ref, file_path_fault

T = TypeVar("T")

# Reachable by name in every version and draft, listed in none: ours, so a file may not be in it.
RESERVED = ".modelfs"
# What a file system cannot count any more.
_SIZES = 1 << 63
NOTES = "NOTES"


@dataclass(frozen=True, slots=True)
class Digests:
    """Hashes of a whole file, lower-case hex; empty where the registry does not tell."""

    md5: str = ""
    crc32c: str = ""
    sha256: str = ""

    def __bool__(self) -> bool:
        return bool(self.md5 or self.crc32c or self.sha256)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a published version. `path` is relative and checked; `size` is in bytes."""

    path: str
    size: int
    mtime: float | None = None
    digests: Digests = Digests()


@dataclass(frozen=True, slots=True)
class Document:
    """A small text that a registry keeps beside its files: notes, metadata."""

    name: str
    content: bytes
    mtime: float | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A name that a level lists.

    `children`, where not None, is the complete list of the level below, for registries that
    answer two levels with one request.
    """

    name: str
    mtime: float | None = None
    children: tuple[Entry, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A listed file that cannot be shown, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of one published version: its files, sorted by path, and its documents.

    `is_final` is false while the registry may still be unpacking what was uploaded.
    """

    files: tuple[File, ...] = ()
    documents: tuple[Document, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    mtime: float | None = None
    is_final: bool = True

    @classmethod
    def of(
        cls,
        files: Iterable[File],
        documents: Iterable[Document] = (),
        mtime: float | None = None,
    ) -> Manifest:
        """A manifest of what a registry listed, without what no directory can hold.

        A registry's names and sizes are not trusted: a path that leaves the version, a name no
        kernel takes, a negative size, a path listed twice, a file where others have a directory,
        two names that are the same text in another Unicode form: the first of them (in the order
        listed) is kept, the rest are in `rejected`.
        """
        kept: dict[str, File] = {}
        spelled: dict[str, str] = {}
        directories: set[str] = set()
        rejected: list[Rejected] = []
        for file in files:
            parents = _parents(file.path)
            if fault := _file_fault(file, parents, kept, spelled, directories):
                rejected.append(Rejected(file.path, fault))
                continue
            kept[file.path] = file
            for path in (file.path, *parents):
                spelled[unicodedata.normalize("NFC", path)] = path
            directories.update(parents)
        ordered = tuple(sorted(kept.values(), key=lambda file: file.path))
        return cls(ordered, tuple(documents), tuple(rejected), mtime)


def _file_fault(
    file: File,
    parents: tuple[str, ...],
    kept: dict[str, File],
    spelled: dict[str, str],
    directories: set[str],
) -> str:
    """Why `file` cannot stand beside what is `kept`, or an empty string if it can."""
    if fault := file_path_fault(file.path):
        return fault
    if file.path.split("/", 1)[0] == RESERVED:
        return f"the name {RESERVED} is ours"
    if file.size < 0:
        return f"its size is negative: {file.size}"
    if file.size >= _SIZES:
        return f"no file is that large: {file.size}"
    if file.path in kept:
        return "it is listed twice"
    if file.path in directories or any(parent in kept for parent in parents):
        return "one name is both a file and a directory"
    for path in (file.path, *parents):
        if spelled.get(unicodedata.normalize("NFC", path), path) != path:
            return "the same text in another Unicode form is listed too"
    return ""


def _parents(path: str) -> tuple[str, ...]:
    """Every directory above a file's path, nearest last: `a/b/c` gives `a`, `a/b`."""
    parts = path.split("/")
    return tuple("/".join(parts[:stop]) for stop in range(1, len(parts)))


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a version that is to be: its local bytes, and what the registry calls them.

    `digests` are of the local bytes, md5 and sha256 always. `token` is empty until uploaded.
    """

    path: str
    size: int
    mtime: float
    digests: Digests
    token: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that a new version is made of.

    The last part of `ref` is the wanted number or, where the registry numbers, any name.
    `documents` are the version's (NOTES among them); `parents` are the refs above it that do not
    exist yet, from the top, each with its documents. `archive`, if there is one, was uploaded in
    place of the parts that have no token: the registry unpacks it (see Traits). `before`, where
    given, are the versions that were there a moment ago.
    """

    ref: Ref
    parts: tuple[Part, ...]
    documents: tuple[Document, ...]
    parents: tuple[tuple[Ref, tuple[Document, ...]], ...] = ()
    archive: Part | None = None
    before: tuple[str, ...] | None = None

    @property
    def uploads(self) -> tuple[Part, ...]:
        """What the version is made of on the wire."""
        if self.archive is None:
            return self.parts
        return (*(part for part in self.parts if part.token), self.archive)

    @property
    def notes(self) -> str:
        """The text of NOTES, without white space around it."""
        found = (document for document in self.documents if document.name == NOTES)
        return next((document.content.decode().strip() for document in found), "")


@dataclass(frozen=True, slots=True)
class Traits:
    """Facts about a registry as data; nobody asks a registry for its type.

    `levels` names the levels from the top, the last being the version. `is_listed[i]` says
    whether all names of level i can be listed; where not, what is known is listed. `documents`
    names, per level, the documents that a ref of that level has (index 0 is the top level).
    `identity` names the registry in caches and logs: the same for everybody who reads the same
    content, and without secrets.
    """

    identity: str
    levels: tuple[str, ...]
    is_listed: tuple[bool, ...]
    documents: tuple[tuple[str, ...], ...]
    # Is it a WritableRegistry?
    is_writable: bool = False
    # The most characters that notes may have; 0 where nobody tells.
    notes_limit: int = 0
    # Do versions have files, or only documents?
    has_files: bool = True
    # Documents of a version that the registry words itself, so that nobody compares them.
    reworded: tuple[str, ...] = ()
    # Is what is above a version made when its document is saved, without waiting for a version?
    is_made_alone: bool = False
    # For how many seconds after its publishing a version's list of files may still grow.
    settling: float = 0.0
    # What a ZIP at the top of a version is called that the registry unpacks into the version,
    # names and folders as they are in it; empty where it does not, or nobody can say so.
    archive: str = ""

    @property
    def depth(self) -> int:
        """How many parts the ref of a version has."""
        return len(self.levels)

    def is_version(self, ref: Ref) -> bool:
        return ref.depth == self.depth

    def documents_of(self, ref: Ref) -> tuple[str, ...]:
        """The names of the documents that `ref` can have."""
        return self.documents[ref.depth - 1] if ref.parts else ()


@dataclass(frozen=True, slots=True)
class Account:
    """Who a registry says we are; an empty name is nobody."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a listing: what a registry says of a ref or, with `path`, of a file of a version.

    `facts` are the registry's own, by the names that it gives them on the wire: JSON values.
    """

    ref: Ref
    facts: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a listing, and where the next one begins; an empty token ends it."""

    items: tuple[T, ...] = ()
    next_token: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """What a listing is narrowed to and sorted by; what a registry cannot do is refused by it."""

    search: str = ""
    owner: str = ""
    sort_by: str = ""
