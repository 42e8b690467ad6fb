"""What a content is called on disk, and how its bytes are checked. Pure.

A key names bytes, not a file of a registry: `<algorithm>-<hex>-<size>`, so that two files with one
digest are one content. Where the registry tells no digest that stands for the bytes, the key is
`id-<sha256 of the identity>-<size>`. Digests come from outside and end up in file names, so they
are checked here.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Protocol

import google_crc32c

from modelfs.model import Digests

_HEX_DIGITS = {"sha256": 64, "md5": 32, "crc32c": 8}
_KEY = re.compile(r"(sha256-[0-9a-f]{64}|md5-[0-9a-f]{32}|id-[0-9a-f]{64})-(0|[1-9]\d{0,18})")


def legible(digests: Digests) -> Digests:
    """`digests` without those that are not what they say they are."""

    def checked(name: str, value: str) -> str:
        value = value.lower()
        return value if re.fullmatch(rf"[0-9a-f]{{{_HEX_DIGITS[name]}}}", value) else ""

    return Digests(
        md5=checked("md5", digests.md5),
        crc32c=checked("crc32c", digests.crc32c),
        sha256=checked("sha256", digests.sha256),
    )


def disagreement(known: Digests, told: Digests) -> str:
    """The name of a digest that `known` and `told` both have and that differs, or nothing."""
    for name in _HEX_DIGITS:
        mine, theirs = getattr(known, name), getattr(told, name)
        if mine and theirs and mine != theirs:
            return name
    return ""


def identity_hash(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()


def content_key(digests: Digests, size: int) -> str:
    """The key of the bytes with these digests; nothing if they do not stand for the bytes.

    crc32c does not: any two files have the same one with a chance of one in four billion, and
    somebody who wants that can have it at once.
    """
    if digests.sha256:
        return f"sha256-{digests.sha256}-{size}"
    if digests.md5:
        return f"md5-{digests.md5}-{size}"
    return ""


def private_key(identity: str, size: int) -> str:
    """The key of bytes that nobody gave a digest for: theirs alone."""
    return f"id-{identity_hash(identity)}-{size}"


def is_key(name: str) -> bool:
    return _KEY.fullmatch(name) is not None


def size_of(key: str) -> int:
    return int(key.rpartition("-")[2])


def digests_of(key: str) -> Digests:
    """What a key says about its bytes; empty for a private key."""
    name, value, _ = key.split("-")
    return Digests(**{name: value}) if name in _HEX_DIGITS else Digests()


def seal_of(key: str) -> int:
    """The modification time, in seconds, of the finished file of that key.

    Any program that writes to the file afterwards moves it, which is noticed at the next open.
    Thirty bits, so that it lies in the past (1970 to 2004) on every file system.
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4]) >> 2


class Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class _Crc32c:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview) -> None:
        self._value = google_crc32c.extend(self._value, bytes(data))

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


@dataclass(frozen=True, slots=True)
class Check:
    """One hash over a whole content, and what it should be ("" if nobody told)."""

    name: str
    expected: str

    @classmethod
    def strongest(cls, digests: Digests) -> Check:
        for name in ("sha256", "md5", "crc32c"):
            if value := getattr(digests, name):
                return cls(name, value)
        return cls("sha256", "")

    def hasher(self) -> Hasher:
        if self.name == "crc32c":
            return _Crc32c()
        return hashlib.new(self.name, usedforsecurity=False)

    def accepts(self, value: str) -> bool:
        return not self.expected or self.expected == value


def quick_sum(digests: Digests) -> int | None:
    """The crc32c that may let the last bytes of a content out before its md5 is known.

    None where there is no md5 to follow it, and where there is a sha256: that is told by somebody
    who means more than that nothing was lost on the way.
    """
    if digests.crc32c and digests.md5 and not digests.sha256:
        return int(digests.crc32c, 16)
    return None
