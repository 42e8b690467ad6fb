"""Which files of which versions the contents of a cache are, as far as that is remembered.

The cache knows bytes, the shelves of metadata know names; this puts them together. No registry is
asked, and what is not remembered has no name here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelfs.cache import BlockCache, Kept
from modelfs.config import Config
from modelfs.fs.nodes import identity
from modelfs.model import File
from modelfs.refs import Ref
from modelfs.registry import plain
from modelfs.registry.shelf import shelves


@dataclass(frozen=True, slots=True)
class Name:
    """A file of a version; `key` is what its bytes are called in the cache, empty if unknown."""

    registry: str
    ref: Ref
    file: File
    key: str

    @property
    def identity(self) -> str:
        return identity(self.registry, self.ref, self.file.path)

    def __str__(self) -> str:
        return f"{self.ref}/{self.file.path}"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of which something is in the cache. `kept`: its contents, by their keys."""

    registry: str
    ref: Ref
    names: tuple[Name, ...]
    kept: dict[str, Kept]

    @property
    def size(self) -> int:
        return sum(name.file.size for name in self.names)

    @property
    def here(self) -> int:
        return sum(self.kept[name.key].here for name in self.names if name.key in self.kept)

    @property
    def files_here(self) -> int:
        """How many files are here as a whole; one that is empty always is."""
        return sum(not name.file.size or self._is_whole(name) for name in self.names)

    @property
    def used_at(self) -> float:
        return max(kept.used_at for kept in self.kept.values())

    @property
    def is_pinned(self) -> bool:
        found = [self.kept.get(name.key) for name in self.names if name.file.size]
        return all(kept is not None and kept.is_pinned for kept in found)

    def _is_whole(self, name: Name) -> bool:
        kept = self.kept.get(name.key)
        return kept is not None and kept.here == kept.size


@dataclass(frozen=True, slots=True)
class Inventory:
    """All contents of a cache, and the versions that they are of, sorted by name."""

    contents: tuple[Kept, ...]
    names: tuple[Name, ...]
    versions: tuple[Version, ...]

    def names_of(self) -> dict[str, list[Name]]:
        """Key -> the files that have these bytes."""
        found: dict[str, list[Name]] = {}
        for name in self.names:
            if name.key:
                found.setdefault(name.key, []).append(name)
        return found

    def below(self, refs: Iterable[Ref]) -> list[Name]:
        """The files of the versions that `refs` name, or that are below them."""
        wanted = set(refs)
        return [name for name in self.names if wanted & {*name.ref.ancestors(), name.ref} - {Ref()}]


def unstarted(config: Config) -> BlockCache:
    """The cache, to be looked at and cleared; it has no threads, as nothing is downloaded."""
    directory = config.cache_dir / "blocks"
    return BlockCache(directory, budget=config.cache_size, floor=config.cache_floor)


def take(cache_dir: Path, cache: BlockCache) -> Inventory:
    """Look at what is there now."""
    contents = tuple(cache.contents())
    by_key = {kept.key: kept for kept in contents}
    names = tuple(_names(cache_dir, cache))
    grouped: dict[tuple[str, Ref], list[Name]] = {}
    for name in names:
        grouped.setdefault((name.registry, name.ref), []).append(name)
    versions = []
    for (registry, ref), files in grouped.items():
        kept = {name.key: by_key[name.key] for name in files if name.key in by_key}
        if kept:
            versions.append(Version(registry, ref, tuple(files), kept))
    versions.sort(key=lambda each: (each.registry, each.ref.parts))
    return Inventory(contents, names, tuple(versions))


def _names(cache_dir: Path, cache: BlockCache) -> Iterator[Name]:
    """All files of all versions whose list is remembered."""
    for registry, shelf in shelves(cache_dir):
        for ref, value in shelf.all("manifest"):
            manifest = plain.loaded(plain.MANIFEST, value)
            for file in manifest.files if manifest else ():
                known = identity(registry, ref, file.path)
                yield Name(registry, ref, file, cache.key_of(known, file.size, file.digests))
