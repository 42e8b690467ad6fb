"""What the kernel is told of one name: values, no I/O."""

from __future__ import annotations

import enum
import hashlib
import stat
from dataclasses import dataclass

from modelfs.model import File
from modelfs.refs import Ref
from modelfs.registry.base import Registry


class Kind(enum.IntEnum):
    """The kinds of node; the values are what `st_mode` says of them, published modes included."""

    DIRECTORY = stat.S_IFDIR | 0o555
    FILE = stat.S_IFREG | 0o444
    LINK = stat.S_IFLNK | 0o777


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a published file's bytes come from."""

    registry: Registry
    ref: Ref
    file: File

    @property
    def identity(self) -> str:
        """Names the file among all files of all registries."""
        return identity(self.registry.traits.identity, self.ref, self.file.path)


@dataclass(frozen=True, slots=True)
class Node:
    """One name in the tree.

    Exactly one of these holds: `origin` (a published file), `content` (a text of ours or of the
    registry's), a directory, or a link, whose target is the content. `is_fixed` says that it can
    never change, so that the kernel may keep all it learns.
    """

    kind: Kind
    ino: int
    size: int = 0
    mtime: float = 0.0
    is_fixed: bool = False
    content: bytes | None = None
    origin: Origin | None = None


def identity(registry: str, ref: Ref, path: str = "") -> str:
    """The name of something in the world; no part of it can hold the separator."""
    return "\n".join((registry, str(ref), path))


def inode(identity: str) -> int:
    """An inode number that is the same after a remount; 1 is the root's and never given."""
    return _number(hashlib.blake2b(_encoded(identity), digest_size=8))


class Inodes:
    """The same numbers for all paths in one version, in a third of the time."""

    def __init__(self, registry: str, ref: Ref) -> None:
        self._begun = hashlib.blake2b(_encoded(identity(registry, ref)), digest_size=8)

    def of(self, path: str) -> int:
        """As `inode(identity(registry, ref, path))`."""
        hasher = self._begun.copy()
        hasher.update(_encoded(path))
        return _number(hasher)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _number(hasher: hashlib.blake2b) -> int:
    return int.from_bytes(hasher.digest()) >> 1 | 2
