"""What a publication must not forget, as values, and as JSON for the draft's journal. No I/O.

    armed       waiting for quiet
    sealed      frozen: being checked and hashed
    uploading   hashed, and on disk for certain; files have sessions, then tokens
    creating    the version may have been asked for; `before` are the versions that were there
    created     `version` exists, and is being compared with what was sent
    published   it is right; local files may go
    failed      broken off; what was uploaded may serve the next attempt

Sessions and tokens are secrets: nothing here is logged.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelfs.errors import InvalidName, WrongState
from modelfs.model import Digests, Document, Part
from modelfs.refs import Ref

# Another number here means another layout, of a program older or newer than this. One that knows
# no archives must not take files without a token for a version.
_FORMAT, _PACKED = 1, 2

Parents = tuple[tuple[Ref, tuple[Document, ...]], ...]


class Phase(enum.StrEnum):
    NONE = ""
    ARMED = "armed"
    SEALED = "sealed"
    UPLOADING = "uploading"
    CREATING = "creating"
    CREATED = "created"
    PUBLISHED = "published"
    FAILED = "failed"


# Phases in which the version exists, or may.
ASKED_FOR = frozenset({Phase.CREATING, Phase.CREATED, Phase.PUBLISHED})


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as it was at a moment: not written to since, if all is the same."""

    inode: int
    size: int
    mtime_ns: int
    # Nobody can set this one.
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


_UNKNOWN = Digests()


@dataclass(slots=True)
class Item:
    """One file of a draft on its way; what it is does not change, where it stands does."""

    path: str
    stamp: Stamp
    digests: Digests = _UNKNOWN
    session: str = ""
    token: str = ""
    # Is it sent in the archive?
    is_packed: bool = False

    def dump(self) -> dict[str, Any]:
        """As `asdict`, which takes ten times as long, and there may be many."""
        stamp, digests = self.stamp, self.digests
        return {
            "path": self.path,
            "stamp": {name: getattr(stamp, name) for name in Stamp.__slots__},
            "digests": {name: getattr(digests, name) for name in Digests.__slots__},
            "session": self.session,
            "token": self.token,
            "is_packed": self.is_packed,
        }

    @property
    def part(self) -> Part:
        mtime = self.stamp.mtime_ns / 1e9
        return Part(self.path, self.stamp.size, mtime, self.digests, self.token)


@dataclass(slots=True)
class Journal:
    """All that is remembered about the publication of one draft."""

    phase: Phase = Phase.NONE
    # The boot of the machine under which it was sealed.
    boot: str = ""
    reason: str = ""
    items: dict[str, Item] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()
    parents: Parents = ()
    ignored: tuple[str, ...] = ()
    # The versions before one was asked for; None if none was, or the answer came.
    before: tuple[str, ...] | None = None
    version: Ref | None = None
    # Is something of an earlier attempt's uploads in use?
    has_reused: bool = False
    # The one upload for all items that have no token of their own; see `packing`.
    archive: Item | None = None
    # Was an archive refused, or not unpacked? Then each file goes by itself.
    is_plain: bool = False

    @property
    def uploads(self) -> list[Item]:
        """What is to be sent, all of it: each file, or the archive that it is in."""
        items = self.items.values()
        if self.archive is None:
            return list(items)
        return [self.archive, *(item for item in items if not item.is_packed)]

    def dump(self) -> dict[str, Any]:
        return {
            "format": _PACKED if self.archive else _FORMAT,
            "phase": str(self.phase),
            "boot": self.boot,
            "reason": self.reason,
            "items": [item.dump() for item in self.items.values()],
            "documents": _texts(self.documents),
            "parents": [[str(ref), _texts(documents)] for ref, documents in self.parents],
            "ignored": list(self.ignored),
            "before": None if self.before is None else list(self.before),
            "version": None if self.version is None else str(self.version),
            "has_reused": self.has_reused,
            "archive": self.archive.dump() if self.archive else None,
            "is_plain": self.is_plain,
        }

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> Journal:
        """What was dumped; an empty one for what makes no sense.

        Raises WrongState for one of another version of this program: only that knows whether it
        has asked for the version.
        """
        if is_foreign(value):
            raise WrongState(
                "another version of modelfs has begun to publish it, and has to go on with that"
                f" (journal format {value['format']!r:.20}, not {_FORMAT} or {_PACKED})",
                hint="or copy the files to a new draft",
            )
        try:
            before, version, archive = value["before"], value["version"], value.get("archive")
            return cls(
                phase=Phase(value["phase"]),
                boot=value["boot"],
                reason=value["reason"],
                items={item["path"]: _item(item) for item in value["items"]},
                documents=_documents(value["documents"]),
                parents=tuple((Ref.parse(ref), _documents(own)) for ref, own in value["parents"]),
                ignored=tuple(value["ignored"]),
                before=None if before is None else tuple(before),
                version=None if version is None else Ref.parse(version),
                has_reused=value["has_reused"],
                archive=_item(archive) if archive else None,
                is_plain=value.get("is_plain", False),
            )
        except (AttributeError, KeyError, TypeError, ValueError, InvalidName):
            return cls()


def is_foreign(value: Mapping[str, Any]) -> bool:
    """Is it the journal of another version of this program, older or newer?"""
    return bool(value.get("format", _FORMAT) not in (_FORMAT, _PACKED))


def _item(value: Mapping[str, Any]) -> Item:
    stamp, digests = Stamp(**value["stamp"]), Digests(**value["digests"])
    is_packed = value.get("is_packed", False)
    return Item(value["path"], stamp, digests, value["session"], value["token"], is_packed)


def _texts(documents: tuple[Document, ...]) -> dict[str, str]:
    return {document.name: document.content.decode("latin-1") for document in documents}


def _documents(texts: Mapping[str, str]) -> tuple[Document, ...]:
    return tuple(Document(name, text.encode("latin-1")) for name, text in texts.items())
