"""One file on its way to a registry: resumed when a connection drops, confirmed at its end.

Owns the rules of a resumable upload, as Google's storage has them: ask how much is there, send
the rest, believe only what the storage confirms. Connections come from a callable, so nothing
here knows the HTTP library. One thread uses an upload. There is no deadline for the whole: it
goes on for as long as the storage gets more bytes.
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from modelfs.errors import Corrupt, Error, Expired, Unavailable
from modelfs.model import Part
from modelfs.registry import envelopes
from modelfs.registry.transfer import digests_of

log = logging.getLogger(__name__)

# Large enough that reading costs little beside sending, small enough for progress to be seen.
_PIECE = 256 << 10
# Tries in a row that brought the storage no byte further. With the pauses between them these are
# some 20 s if connections are refused, and some minutes if they hang.
_FRUITLESS = 8
# 4xx says that the session is gone or was never what we think it is; these say something else.
_PASSING = frozenset({408, 416, 425, 429})

_RANGE = re.compile(r"bytes=0-(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a storage said: status, headers, and the JSON that came with them (None if none)."""

    status: int
    headers: Mapping[str, str]
    document: object
    host: str


Send = Callable[[Mapping[str, str], Iterable[bytes | memoryview] | None], Reply]


class Rest:
    """The bytes of an open file from `start` on, in pieces. Its length is told beforehand.

    A piece is good until the next: new memory for each is a page fault for every 4 KiB.
    """

    def __init__(self, fd: int, part: Part, start: int, sent: Callable[[int], None]) -> None:
        self._fd = fd
        self._part = part
        self._start = start
        self._sent = sent

    def __len__(self) -> int:
        return self._part.size - self._start

    def __iter__(self) -> Iterator[memoryview]:
        at = self._start
        memory = memoryview(bytearray(min(_PIECE, self._part.size - at)))
        while at < self._part.size:
            try:
                count = os.preadv(self._fd, [memory[: self._part.size - at]], at)
            except OSError as exc:
                raise Error(f"{self._part.path}: cannot be read: {exc.strerror}") from exc
            if not count:
                raise Corrupt(f"{self._part.path}: shorter than it was: {at} bytes")
            yield memory[:count]
            at += count
            self._sent(at)


class Upload:
    """One session's upload of the file `fd`, which is `part`.

    `send` makes a request, `pause(n)` waits after n fruitless tries, `is_lasting` tells errors
    that another try does not help. `is_new`: nobody has sent anything to this session yet.
    """

    def __init__(
        self,
        send: Send,
        part: Part,
        fd: int,
        *,
        progress: Callable[[int], None],
        pause: Callable[[int], None],
        is_lasting: Callable[[Error], bool],
        is_new: bool,
    ) -> None:
        self._send = send
        self._part = part
        self._fd = fd
        self._progress = progress
        self._pause = pause
        self._is_lasting = is_lasting
        self._is_new = is_new
        self._furthest = 0
        self._fruitless = 0

    def run(self) -> None:
        """Send what is missing and have it confirmed; Expired if the session is gone."""
        while True:
            try:
                return self._try()
            except Unavailable as exc:
                self._is_new = False
                self._fruitless += 1
                if self._fruitless >= _FRUITLESS or self._is_lasting(exc):
                    raise
                log.debug("%s: upload goes on: %s", self._part.path, exc)
                self._pause(self._fruitless)

    def _try(self) -> None:
        start = 0 if self._is_new else self._ask()
        if start is not None:
            start = self._put(start)
        if start is not None:
            self._note(start)
            raise Unavailable(f"the storage does not finish: it has {start} of {self._part.size}")
        self._progress(self._part.size)

    def _ask(self) -> int | None:
        """How many bytes are there; None if all are, and confirmed."""
        reply = self._send({"Content-Range": f"bytes */{self._part.size}"}, None)
        start = self._outcome(reply)
        if start is None:
            self._confirm(reply)
        else:
            self._note(start)
            self._progress(start)
        return start

    def _put(self, start: int) -> int | None:
        """Send everything from `start` on; the new start if that was not all."""
        size = self._part.size
        if start == size and size:
            return start
        headers = {"Content-Type": "application/octet-stream"}
        if size:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        rest = Rest(self._fd, self._part, start, self._progress) if size else None
        reply = self._send(headers, rest)
        left = self._outcome(reply)
        if left is None and not self._confirm(reply):
            # It did not say what it has. Whoever asks names the size, and is told if it is wrong.
            return self._ask()
        return left

    def _note(self, start: int) -> None:
        if start > self._furthest:
            self._furthest, self._fruitless = start, 0

    def _outcome(self, reply: Reply) -> int | None:
        """Where to go on; None if the upload is complete."""
        if reply.status in (200, 201):
            return None
        if reply.status == 308:
            return self._start(reply.headers.get("Range", ""))
        error = envelopes.failure(reply.status, reply.document, reply.host)
        if reply.status in _PASSING or reply.status >= 500:
            raise error if isinstance(error, Unavailable) else Unavailable(str(error)) from error
        if reply.status >= 400:
            raise Expired(f"{self._part.path}: the upload has expired: {error}") from error
        raise Corrupt(f"{reply.host} answers an upload with {reply.status}")

    def _start(self, text: str) -> int:
        """The byte after the last one that is there."""
        match = _RANGE.fullmatch(text.strip())
        if text and not match:
            raise Corrupt(f"a range that makes no sense: {text[:80]!r}")
        start = int(match[1]) + 1 if match else 0
        if start > self._part.size:
            raise Corrupt(f"{self._part.path}: the storage has more than was sent: {start} bytes")
        return start

    def _confirm(self, reply: Reply) -> bool:
        """Whether the storage told what it has; raises Corrupt if that is something else."""
        part = self._part
        told = reply.document if isinstance(reply.document, dict) else {}
        size = str(told.get("size", ""))
        if size.isascii() and size.isdigit() and len(size) < 20 and int(size) != part.size:
            raise Corrupt(f"{part.path}: the storage has {size} bytes, not {part.size}")
        hashes = digests_of(reply.headers.get("x-goog-hash", ""))
        pairs = [
            (part.digests.md5, hashes.md5 or _hex(told.get("md5Hash"))),
            (part.digests.crc32c, hashes.crc32c or _hex(told.get("crc32c"))),
        ]
        if any(ours and theirs and ours != theirs for ours, theirs in pairs):
            raise Corrupt(f"{part.path}: the storage has other bytes than were sent")
        return bool(size) or any(theirs for _, theirs in pairs)


def _hex(value: object) -> str:
    """Lower-case hex of a hash in base64; empty for anything else."""
    try:
        return base64.b64decode(value, validate=True).hex() if isinstance(value, str) else ""
    except (binascii.Error, ValueError):
        return ""
