"""What a registry must answer: the protocol, its contract in words.

Every implementation passes the one suite in `tests/contract`, bare and behind `CachingRegistry`.
Calls block, may do network I/O and may come from many threads at once; none of them may take
longer than the deadline of `modelfs.waiting`, but for `send` and `create`, whose work is long.
Names and sizes that come back are checked. All errors are of `modelfs.errors`:

* `NotFound`: no such name at that level (also when the registry hides what it has).
* `Unauthenticated`, `Forbidden`: as HTTP means them.
* `Unavailable` (and below): worth trying again; nothing is known about the name.
* `Corrupt`: an answer that makes no sense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from modelfs.bodies import Body, Source
from modelfs.model import (
    Account,
    Bundle,
    Document,
    Entry,
    File,
    Item,
    Manifest,
    Page,
    Part,
    Query,
    Traits,
)
from modelfs.refs import Ref

__all__ = ["Body", "Registry", "Source", "WritableRegistry"]


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

    def item(self, ref: Ref) -> Item:
        """What the registry says of `ref` (a model and below), in its own words."""
        ...

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        """One page of what the registry lists below `ref`, with one request; never remembered.

        Models where `ref` is the root or an owner, then the next level, the files of a version.
        `size` is a wish (0: the registry's own); a `token` comes from the page before. Raises
        InvalidName for a size or a query that cannot be.
        """
        ...

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        """Bytes [start, stop) of a file of the version `ref`, 0 <= start < stop <= file.size.

        Raises Corrupt if the registry now tells another size or hash than `file` has.
        """
        ...

    def close(self) -> None:
        """Give back connections and files; the registry is not used afterwards."""
        ...


class WritableRegistry(Registry, Protocol):
    """A model registry that can be published to. `traits.is_writable` says that it is one."""

    def blank(self, ref: Ref) -> tuple[Document, ...]:
        """The documents of a new `ref` above the version, filled in from its name. No request.

        Raises InvalidName for a name that this level cannot have.
        """
        ...

    def check(self, bundle: Bundle) -> None:
        """Refuse what can be refused without asking anybody: InvalidName or TooLarge, saying why.

        Parts need no token yet.
        """
        ...

    def begin(self, part: Part) -> str:
        """Open a resumable upload; what it gives is a secret for `send`, and valid for days."""
        ...

    def send(self, session: str, part: Part, fd: int, progress: Callable[[int], None]) -> str:
        """Upload the bytes of `fd` from where the registry has them; the token of the part.

        `progress(n)`: n bytes in all are there. Size and hash are confirmed by the registry where
        it tells them: Corrupt if they differ. Expired if the session is gone.
        """
        ...

    def create(self, bundle: Bundle) -> Ref:
        """Create missing parents, then the version, with one request that is never repeated here.

        Exists: an instance that was to be new with this version is there meanwhile; nothing was
        made, and the caller looks what it holds.

        Unavailable (DeadlinePassed too) means that the outcome is not known: look before asking
        again. Any other error is a refusal in the registry's words.
        """
        ...

    def add(self, ref: Ref, documents: tuple[Document, ...]) -> None:
        """Create `ref`, above the version level, without a version.

        Exists if it is there, Unsupported where it cannot be without a version, InvalidName for a
        document that does not describe it. Unavailable means that the outcome is not known.
        """
        ...

    def update(self, ref: Ref, document: Document) -> None:
        """Change what exists as `document` says; only fields that differ are sent.

        InvalidName, saying why, for a text that is no such document.
        """
        ...

    def delete(self, ref: Ref) -> None:
        """Delete a version, or a level above it with all below; one that is gone is no error."""
        ...
