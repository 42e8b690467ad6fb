"""What part of a file a request is for: Range, If-Range, If-None-Match (RFC 9110). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from modelfs.errors import InvalidName

_SINGLE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE | re.ASCII)
_CONTENT = re.compile(r"\s*bytes\s+(?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes [start, stop) to send, and the status that says so: 200, 206, 304 or 416."""

    status: int
    start: int
    stop: int


def wanted(headers: Mapping[str, str], size: int, etag: str, modified: str) -> Part:
    """The part of a file of `size` bytes that a GET with `headers` is for.

    Several ranges in one request, and a range that makes no sense, get the whole file, as the
    standard allows.
    """
    if _names(headers.get("If-None-Match", ""), etag):
        return Part(304, 0, 0)
    if "If-None-Match" not in headers and headers.get("If-Modified-Since") == modified:
        return Part(304, 0, 0)
    whole = Part(200, 0, size)
    text = headers.get("Range")
    if text is None or not _is_same(headers.get("If-Range"), etag, modified):
        return whole
    match = _SINGLE.fullmatch(text)
    if not match or not (match[1] or match[2]):
        return whole
    if not match[1]:
        start, stop = size - min(int(match[2]), size), size
    else:
        start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return whole
    return Part(206, start, stop) if start < stop else Part(416, 0, 0)


def http_date(seconds: float) -> str:
    """A moment as Last-Modified has it; whole seconds."""
    return formatdate(int(seconds), usegmt=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a Content-Range says is in a PUT: bytes [start, stop) of `size`.

    `start` None asks how much is here; `size` None is an unknown total.
    """

    start: int | None
    stop: int
    size: int | None


def sent(text: str) -> Sent:
    """The Content-Range of an upload; raises InvalidName if it makes no sense."""
    match = _CONTENT.fullmatch(text)
    if not match:
        raise InvalidName(f"Content-Range is malformed: {text!r}")
    size = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return Sent(None, 0, size)
    start, stop = int(match[1]), int(match[2]) + 1
    if stop <= start or (size is not None and stop > size):
        raise InvalidName(f"Content-Range is impossible: {text!r}")
    return Sent(start, stop, size)


def _is_same(condition: str | None, etag: str, modified: str) -> bool:
    """Whether If-Range allows a part: absent, or naming exactly what we have."""
    return condition is None or condition.strip() in (etag, modified)


def _names(header: str, etag: str) -> bool:
    candidates = [item.strip().removeprefix("W/") for item in header.split(",")]
    return etag in candidates or candidates == ["*"]
