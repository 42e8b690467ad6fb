"""A published version as a directory tree, made of its manifest. Pure; built once, then read.

One dictionary for each directory is all that is built; the node of a file is made when it is
looked up, since a version may have 100,000 files and few are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict

from modelfs.errors import NotFound
from modelfs.fs.nodes import Inodes, Kind, Node, Origin
from modelfs.model import RESERVED, Digests, Document, File, Manifest
from modelfs.refs import Ref
from modelfs.registry.base import Registry

# Hash algorithm -> the listing of hashes that its command-line tool checks.
_SUMS = {"sha256": "SHA256SUMS", "md5": "MD5SUMS"}

# What is told of a file beyond its attributes.
_XATTR = "user.modelfs."

# What a directory holds by name; None stands for a directory.
_Held = dict[str, "File | Document | None"]


# A name in a directory, and what the kernel is told of it: its kind, inode number, size and time.
Child = tuple[str, Kind, int, int, float]


class VersionTree:
    """The names and nodes of one published version."""

    def __init__(self, registry: Registry, ref: Ref, manifest: Manifest, mtime: float) -> None:
        self._registry = registry
        self._ref = ref
        self.mtime = mtime
        self.manifest = manifest
        self._inodes = Inodes(registry.traits.identity, ref)
        self._directories = _directories(manifest.files, manifest.documents)

    def __len__(self) -> int:
        """How many files it has: what keeping it in memory costs."""
        return len(self.manifest.files)

    @property
    def files(self) -> tuple[File, ...]:
        return self.manifest.files

    def children(self, path: str) -> Iterator[Child]:
        """What the directory `path` holds ("" is the version itself)."""
        if path not in self._directories:
            raise self._unknown(path)
        above = f"{path}/" if path else ""
        number, ours = self._inodes.of, self.mtime
        for name, held in self._directories[path].items():
            ino = number(above + name)
            if held is None:
                yield name, Kind.DIRECTORY, ino, 0, ours
            else:
                mtime = ours if held.mtime is None else held.mtime
                size = held.size if isinstance(held, File) else len(held.content)
                yield name, Kind.FILE, ino, size, mtime

    def node(self, path: str) -> Node:
        """The node of a path below the version."""
        parent, _, name = path.rpartition("/")
        try:
            held = self._directories[parent][name]
        except KeyError:
            raise self._unknown(path) from None
        is_fixed = self.manifest.is_final
        if held is None:
            return Node(Kind.DIRECTORY, self.ino(path), mtime=self.mtime, is_fixed=is_fixed)
        mtime = self.mtime if held.mtime is None else held.mtime
        if isinstance(held, Document):
            return text_node(self.ino(path), held.content, mtime, is_fixed=is_fixed)
        origin = Origin(self._registry, self._ref, held)
        return Node(Kind.FILE, self.ino(path), held.size, mtime, is_fixed, origin=origin)

    def ino(self, path: str) -> int:
        return self._inodes.of(path)

    def _unknown(self, path: str) -> NotFound:
        return NotFound(f"{self._ref} has no file of that name: {path}")

    # The hidden directory.

    def hidden_names(self) -> Iterable[str]:
        """What `.modelfs` in this version lists."""
        return self._hidden()

    def hidden_node(
        self, name: str, cached: Callable[[File], int], became: Ref | None = None
    ) -> Node:
        """A file of `.modelfs`; `cached` tells how many bytes of a file are in the cache.

        `became`: the version that a draft became which had the number of this one.
        """
        ino = self.ino(f"{RESERVED}/{name}")
        if name == "status.json":
            text = self._status(sum(cached(file) for file in self.files), became)
            return text_node(ino, text, self.mtime, is_fixed=False)
        try:
            text = self._hidden()[name]()
        except KeyError:
            raise self._unknown(f"{RESERVED}/{name}") from None
        return text_node(ino, text, self.mtime, is_fixed=self.manifest.is_final)

    def _hidden(self) -> dict[str, Callable[[], bytes]]:
        hidden: dict[str, Callable[[], bytes]] = {
            "manifest.json": self._listing,
            "status.json": lambda: b"",
        }
        for algorithm, name in _SUMS.items():
            if self.files and all(_digest(file, algorithm) for file in self.files):
                hidden[name] = lambda algorithm=algorithm: self._sums(algorithm)  # type: ignore[misc]
        return hidden

    def _listing(self) -> bytes:
        files = [
            {"path": file.path, "size": file.size, **_told(file.digests)} for file in self.files
        ]
        rejected = [asdict(item) for item in self.manifest.rejected]
        return _json({"ref": str(self._ref), "files": files, "rejected": rejected})

    def _status(self, cached: int, became: Ref | None) -> bytes:
        told: dict[str, object] = {
            "ref": str(self._ref),
            "state": "published",
            "files": len(self.files),
            "bytes": sum(file.size for file in self.files),
            "cached_bytes": cached,
        }
        if became is not None:
            told["draft_became"] = str(became)
        return _json(told)

    def _sums(self, algorithm: str) -> bytes:
        lines = [f"{_digest(file, algorithm)}  {file.path}\n" for file in self.files]
        return "".join(lines).encode()


def file_xattrs(origin: Origin, cached: int) -> dict[str, str]:
    """The extended attributes of a published file; no secrets, no network."""
    told = {
        "ref": str(origin.ref),
        "path": origin.file.path,
        "registry": origin.registry.traits.identity,
        "cached_bytes": str(cached),
        "is_cached": "1" if cached >= origin.file.size else "0",
        **_told(origin.file.digests),
    }
    return {_XATTR + name: value for name, value in told.items()}


def text_node(ino: int, content: bytes, mtime: float, *, is_fixed: bool) -> Node:
    """A small file whose content is at hand."""
    return Node(Kind.FILE, ino, len(content), mtime, is_fixed, content)


def _directories(files: Iterable[File], documents: Iterable[Document]) -> Mapping[str, _Held]:
    """Directory -> what it holds, for all directories that there are; "" is the top."""
    directories: dict[str, _Held] = {"": {}}
    for file in files:
        parent, _, name = file.path.rpartition("/")
        missing = []
        above = parent
        while above not in directories:
            missing.append(above)
            above = above.rpartition("/")[0]
        for directory in reversed(missing):
            directories[directory] = {}
            holder, _, own = directory.rpartition("/")
            directories[holder][own] = None
        directories[parent][name] = file
    for document in documents:
        # A real file of the registry's wins over a document of the same name.
        directories[""].setdefault(document.name, document)
    return directories


def _digest(file: File, algorithm: str) -> str:
    return str(getattr(file.digests, algorithm))


def _told(digests: Digests) -> dict[str, str]:
    return {name: value for name, value in asdict(digests).items() if value}


def _json(value: object) -> bytes:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # Half a surrogate pair, in a name that was rejected for it, as JSON writes it in ASCII.
    return text.encode(errors="backslashreplace") + b"\n"
