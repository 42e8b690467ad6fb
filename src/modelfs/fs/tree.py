"""What a path means: the registries' levels, and in a version its files.

Turns a path of the kernel's into a `Place` once, and a place into a node or a listing. Knows no
HTTP and no FUSE. Owns only what it can build again: the directory trees of recent versions, under
one lock that is held for look-ups alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cachetools import LRUCache

from modelfs.errors import NotFound
from modelfs.fs.nodes import Kind, Node, Origin, identity, inode
from modelfs.fs.versions import VersionTree, text_node
from modelfs.model import RESERVED
from modelfs.refs import Ref, highest, is_never_a_slug, name_fault
from modelfs.registry.base import Registry
from modelfs.waiting import Clock

LATEST = "latest"

# Empty files at the root, never listed: what indexers of Linux, of Android and of macOS look for,
# and then leave a tree alone of which every look is a question to a registry.
UNINDEXED = frozenset({".trackerignore", ".nomedia", ".metadata_never_index"})

# Files of remembered version trees: a few hundred bytes each, so that a walk of the largest
# version we test (100,000 files) stays in memory beside others.
_MOST_FILES = 400_000

# A name, its `st_mode` and its inode number: what a directory listing tells.
Listed = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A parsed path: the mounted name of a registry, a ref in it, and a path below its version.

    `registry` is None at the root of a mount of several registries, and for what is of no registry.
    `path` is not empty only there, and where `ref` is as deep as the registry is.
    """

    registry: Registry | None
    ref: Ref
    path: str = ""

    @property
    def name(self) -> tuple[Ref, str]:
        """The place as a name: of what it is in, and the path from there."""
        return (self.ref, self.path) if self.path else (self.ref.parent, self.ref.name)

    @property
    def is_root(self) -> bool:
        """True at the top of a mount of several registries, or of a sole one."""
        return not self.path and self.ref.depth == 0

    @property
    def is_in_version(self) -> bool:
        return self.registry is not None and self.registry.traits.is_version(self.ref)


class Tree:
    """The tree of one mount. `registries` maps mounted names to registries; a sole one is at "".

    `cached` tells how many bytes of a published file are in the cache.
    """

    def __init__(
        self,
        registries: Mapping[str, Registry],
        cached: Callable[[Origin], int],
        clock: Clock = time.time,
    ) -> None:
        self._registries = registries
        self._cached = cached
        # Drafts that have become versions, under the name they had; until the unmount.
        self._aliases: dict[tuple[str, Ref], Ref] = {}
        # Versions that were published from here.
        self._new: set[tuple[str, Ref]] = set()
        # The time of directories that no registry gives one.
        self._since = clock()
        self._lock = threading.Lock()
        self._versions: LRUCache[tuple[str, Ref], VersionTree] = LRUCache(
            _MOST_FILES, getsizeof=lambda tree: len(tree) + 1
        )

    def place(self, path: str, *, is_inside: bool = False) -> Place:
        """The place that a path of the kernel's names; nobody is asked whether it exists.

        `is_inside`: as who is in it has it; a draft that became a version is that version to him.
        """
        parts = [part for part in path.split("/") if part]
        if len(parts) == 1 and parts[0] in UNINDEXED:
            return Place(None, Ref(), parts[0])
        registry = self._registries.get("")
        if registry is None:
            if not parts:
                return Place(None, Ref())
            registry = self._registries.get(parts.pop(0))
            if registry is None:
                raise NotFound(f"no such registry in this mount: {path}")
        depth = registry.traits.depth
        ref = registry.canonical(Ref(tuple(parts[:depth])))
        below = "/".join(parts[depth:])
        if below or is_inside:
            ref = self._became(registry, ref) or ref
        return Place(registry, ref, below)

    def became(self, registry: Registry, draft: Ref, version: Ref) -> None:
        """A draft is a version now; if its name is no number, it stays as a link to it.

        A number is the version of that number, also if a draft had it that became a later one.
        """
        identity = registry.traits.identity
        # The kernel may have something of what the name was before.
        self._new |= {(identity, draft), (identity, version)}
        if draft != version:
            self._aliases[identity, draft] = version

    def is_new(self, place: Place) -> bool:
        """True in a version that was a draft of this mount, or has the name of one."""
        registry = place.registry
        return registry is not None and (registry.traits.identity, place.ref) in self._new

    def _aliases_of(self, registry: Registry, ref: Ref) -> list[str]:
        """The names of drafts below `ref` that have become versions by another name."""
        identity = registry.traits.identity
        return [
            draft.name
            for owner, draft in list(self._aliases)
            if owner == identity and draft.parent == ref and not draft.name.isdecimal()
        ]

    def _became(self, registry: Registry, ref: Ref) -> Ref | None:
        """The version that the draft of a name became, where that is no version's name."""
        if not self._aliases or ref.name.isdecimal():
            return None
        return self._aliases.get((registry.traits.identity, ref))

    def node(self, place: Place) -> Node:
        """The node of a place; NotFound if there is nothing."""
        registry, ref = place.registry, place.ref
        if registry is None:
            if place.path:
                return text_node(inode(place.path), b"", self._since, is_fixed=False)
            return Node(Kind.DIRECTORY, 1, mtime=self._since)
        if place.path:
            return self._node_in_version(registry, ref, place.path)
        if ref.depth == 0:
            return self._level(registry, ref, self._since)
        above = ref.parent
        if ref.name in registry.traits.documents_of(above):
            return self._document(registry, above, ref.name)
        if ref.name == LATEST and registry.traits.is_version(ref):
            return self._latest(registry, above)
        if version := self._became(registry, ref):
            return self._link(registry, ref, version.name)
        if is_never_a_slug(ref.name) or name_fault(ref.name):
            raise NotFound(f"no registry has such a name: {ref.name!r}")
        return self._level(registry, ref, self._mtime(registry, ref))

    def listing(self, place: Place) -> Iterator[Listed]:
        """What the directory at `place` lists."""
        registry, ref = place.registry, place.ref
        if registry is None:
            for name, mounted in self._registries.items():
                yield name, Kind.DIRECTORY, self._level(mounted, Ref(), 0.0).ino
        elif registry.traits.is_version(ref):
            yield from self._listing_in_version(registry, ref, place.path)
        else:
            yield from self._listing_of_level(registry, ref)

    def version(self, registry: Registry, ref: Ref) -> VersionTree:
        """The directory tree of the version `ref`."""
        known = self._known(registry, ref)
        if known is not None and known.manifest.is_final:
            return known
        manifest = registry.manifest(ref)
        if known is not None and known.manifest is manifest:
            return known
        mtime = registry.stat(ref).mtime or manifest.mtime
        tree = VersionTree(registry, ref, manifest, self._since if mtime is None else mtime)
        with self._lock:
            if len(tree) + 1 <= _MOST_FILES:
                self._versions[registry.traits.identity, ref] = tree
        return tree

    def is_final(self, place: Place) -> bool:
        """True in a version that we have seen and that cannot change any more."""
        if place.registry is None or not place.is_in_version:
            return False
        known = self._known(place.registry, place.ref)
        return known is not None and known.manifest.is_final

    def _known(self, registry: Registry, ref: Ref) -> VersionTree | None:
        with self._lock:
            return self._versions.get((registry.traits.identity, ref))

    # Levels above the files.

    def _level(self, registry: Registry, ref: Ref, mtime: float) -> Node:
        ino = inode(identity(registry.traits.identity, ref))
        return Node(Kind.DIRECTORY, ino, mtime=mtime)

    def _mtime(self, registry: Registry, ref: Ref) -> float:
        """The time of what `ref` names: the registry's, else its newest child's, else ours."""
        entry = registry.stat(ref)
        if entry.mtime is not None:
            return entry.mtime
        if registry.traits.is_version(ref):
            known = self._known(registry, ref)
            return known.mtime if known else self._since
        times = [child.mtime for child in entry.children or () if child.mtime is not None]
        return max(times, default=self._since)

    def _document(self, registry: Registry, ref: Ref, name: str) -> Node:
        for document in registry.documents(ref):
            if document.name == name:
                ino = inode(identity(registry.traits.identity, ref, name))
                mtime = document.mtime or self._mtime(registry, ref)
                return text_node(ino, document.content, mtime, is_fixed=False)
        raise NotFound(f"{ref} has no {name}")

    def _latest(self, registry: Registry, ref: Ref) -> Node:
        target = highest(entry.name for entry in registry.children(ref))
        if not target:
            raise NotFound(f"{ref} has no version")
        return self._link(registry, ref.child(LATEST), target)

    def _link(self, registry: Registry, ref: Ref, target: str) -> Node:
        """A link to another name beside it."""
        ino = inode(identity(registry.traits.identity, ref.parent, ref.name))
        mtime = self._mtime(registry, ref.parent.child(target))
        content = target.encode()
        return Node(Kind.LINK, ino, size=len(content), mtime=mtime, content=content)

    def _listing_of_level(self, registry: Registry, ref: Ref) -> Iterator[Listed]:
        """What is there because of something else comes first: `rm -r` asks for it before that."""
        entries = registry.children(ref)
        if ref.depth == registry.traits.depth - 1 and highest(e.name for e in entries):
            yield LATEST, Kind.LINK, inode(identity(registry.traits.identity, ref, LATEST))
        for name in self._aliases_of(registry, ref):
            yield name, Kind.LINK, inode(identity(registry.traits.identity, ref, name))
        for name in registry.traits.documents_of(ref):
            yield name, Kind.FILE, inode(identity(registry.traits.identity, ref, name))
        for entry in entries:
            yield entry.name, Kind.DIRECTORY, self._level(registry, ref.child(entry.name), 0.0).ino

    # Below a version.

    def _node_in_version(self, registry: Registry, ref: Ref, path: str) -> Node:
        version = self.version(registry, ref)
        top, _, rest = path.partition("/")
        if top != RESERVED:
            return version.node(path)
        if rest:
            became = self._aliases.get((registry.traits.identity, ref))
            return version.hidden_node(
                rest, lambda file: self._cached(Origin(registry, ref, file)), became
            )
        return Node(Kind.DIRECTORY, version.ino(RESERVED), mtime=version.mtime)

    def _listing_in_version(self, registry: Registry, ref: Ref, path: str) -> Iterator[Listed]:
        version = self.version(registry, ref)
        if path == RESERVED:
            for name in version.hidden_names():
                yield name, Kind.FILE, version.ino(f"{RESERVED}/{name}")
        else:
            for name, kind, ino, _, _ in version.children(path):
                yield name, kind, ino
