"""What a registry must answer: the protocol, its contract in words.

Every implementation passes the one suite in `tests/contract`, bare and behind `CachingRegistry`.
Calls block, may do network I/O and may come from many threads at once; none of them may take
longer than the deadline of `modelfs.waiting`. Names and sizes that come back are checked. All
errors are of `modelfs.errors`:

* `NotFound`: no such name at that level (also when the registry hides what it has).
* `Unauthenticated`, `Forbidden`: as HTTP means them.
* `Unavailable` (and below): worth trying again; nothing is known about the name.
* `Corrupt`: an answer that makes no sense.
"""

from __future__ import annotations

from typing import Protocol

from modelfs.bodies import Body, Source
from modelfs.model import Account, Document, Entry, File, Manifest, Traits
from modelfs.refs import Ref

__all__ = ["Body", "Registry", "Source"]


class Registry(Protocol):
    """A model registry, read."""

    @property
    def traits(self) -> Traits: ...

    def account(self) -> Account:
        """Who we are here; an empty name without credentials. Unauthenticated if they are bad."""
        ...

    def canonical(self, ref: Ref) -> Ref:
        """The one spelling of `ref` (a registry may accept several). Pure and fast, no request.

        A part that cannot be right is left as it is; the look-up then finds nothing.
        """
        ...

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        """All names one level below `ref`, which is above the version level; pages to the end.

        Where a level is not listed (see Traits), the names that are known to exist.
        Numbers come in ascending order, names sorted.
        """
        ...

    def stat(self, ref: Ref) -> Entry:
        """The entry of `ref` itself (depth 1 and more), looked up by exact name."""
        ...

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        """The documents of a ref above the version level, named as `traits.documents` says."""
        ...

    def manifest(self, ref: Ref) -> Manifest:
        """All files and documents of the version `ref`."""
        ...

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        """Bytes [start, stop) of a file of the version `ref`, 0 <= start < stop <= file.size.

        Raises Corrupt if the registry now tells another size or hash than `file` has.
        """
        ...

    def close(self) -> None:
        """Give back connections and files; the registry is not used afterwards."""
        ...
