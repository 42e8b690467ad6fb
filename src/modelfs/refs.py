"""Names in a registry: parse once, at the edge, into a value.

A `Ref` is a path of names through a registry's levels (`alice/bert/pytorch/base/3`); below a
version come file paths, which are plain strings checked by `file_path_fault`. Pure: no I/O, and
nothing here knows a particular registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modelfs.errors import InvalidName

# The kernel's limits for a component (NAME_MAX) and for a path (PATH_MAX, less our mountpoint).
NAME_MAX = 255
PATH_MAX = 3072

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# Written by operating systems into any directory they see; asking a registry for one is a waste.
OS_JUNK = frozenset(
    {"Thumbs.db", "desktop.ini", "autorun.inf", "Icon\r", "System Volume Information"}
)


@dataclass(frozen=True, slots=True)
class Ref:
    """A name in a registry: one part per level, from the top. `Ref()` is the registry itself."""

    parts: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Ref:
        """The ref that `a/b/c` names; raises InvalidName on an empty or impossible part."""
        parts = tuple(text.strip("/").split("/")) if text.strip("/") else ()
        for part in parts:
            if fault := name_fault(part):
                raise InvalidName(f"not a name, {fault}: {part!r}")
        return cls(parts)

    @property
    def depth(self) -> int:
        return len(self.parts)

    @property
    def name(self) -> str:
        """The last part; empty for the registry itself."""
        return self.parts[-1] if self.parts else ""

    @property
    def parent(self) -> Ref:
        """One level up; the registry is its own parent."""
        return Ref(self.parts[:-1])

    def child(self, name: str) -> Ref:
        return Ref((*self.parts, name))

    def ancestors(self) -> Iterator[Ref]:
        """Every ref above this one, from the registry down."""
        for depth in range(self.depth):
            yield Ref(self.parts[:depth])

    def __str__(self) -> str:
        return "/".join(self.parts)


def name_fault(name: str) -> str:
    """Why `name` cannot be one component of a path, or an empty string if it can."""
    if not name:
        return "it is empty"
    if name in (".", ".."):
        return "it means another directory"
    if "/" in name:
        return "it holds a slash"
    if _CONTROL.search(name):
        return "it holds a control character"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not Unicode text"
    if size > NAME_MAX:
        return f"it is longer than {NAME_MAX} bytes"
    return ""


def file_path_fault(path: str) -> str:
    """Why `path` cannot be a file's path in a version, or an empty string if it can."""
    if path.startswith("/"):
        return "it is absolute"
    for part in path.split("/"):
        if fault := name_fault(part):
            return fault
    if len(path.encode()) > PATH_MAX:
        return f"it is longer than {PATH_MAX} bytes"
    return ""


def highest(names: Iterable[str]) -> str:
    """The highest of the names that are numbers; empty if none is."""
    return max((name for name in names if name.isdecimal()), key=int, default="")


def is_never_a_slug(name: str) -> bool:
    """True for names no registry has, so that nobody has to be asked: dot files and OS junk."""
    return name.startswith(".") or name in OS_JUNK
