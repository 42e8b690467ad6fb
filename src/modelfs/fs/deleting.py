"""Deleting what is published: names are held back one by one, and go with their version.

`rm -r` takes a tree apart from the leaves, and what is published exists whole or not at all. So an
unlink only hides a name, and what the registry is asked to delete is the version, the instance or
the model whose directory is removed in the end. Owns what is hidden; single set operations.
"""

from __future__ import annotations

from modelfs.errors import NotPermitted
from modelfs.refs import Ref
from modelfs.registry.base import Registry

# A registry, the ref that a name is held back with, and the path below it.
_Key = tuple[str, Ref, str]


class Deletions:
    """What was taken away of published things in this mount. Nothing, unless `is_allowed`."""

    def __init__(self, *, is_allowed: bool) -> None:
        self.is_allowed = is_allowed
        self._hidden: set[_Key] = set()

    def check(self) -> None:
        """Raises NotPermitted in a mount that does not delete."""
        if not self.is_allowed:
            raise NotPermitted("nothing is deleted on the registry: mount with --allow-delete")

    def hide(self, registry: Registry, ref: Ref, path: str) -> None:
        """A name was unlinked; it counts when what it belongs to is deleted."""
        self.check()
        self._hidden.add((registry.traits.identity, ref, path))

    def hides(self, registry: Registry | None, ref: Ref, path: str) -> bool:
        """True for a name that was unlinked, or lies in a directory that was removed."""
        if not self._hidden or registry is None:
            return False
        identity = registry.traits.identity
        while (identity, ref, path) not in self._hidden:
            if not path:
                return False
            path = path.rpartition("/")[0]
        return True

    def forget(self, registry: Registry, ref: Ref) -> None:
        """`ref` is deleted; a new one of that name has all its names."""
        identity, depth = registry.traits.identity, ref.depth
        self._hidden = {
            key for key in self._hidden if key[0] != identity or key[1].parts[:depth] != ref.parts
        }
