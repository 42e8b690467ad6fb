"""One range of one file, on its way: checked, resumed when the connection drops. No I/O itself.

Owns the rules of a ranged answer: which bytes they are, how many, of what file. Connections come
from a callable, so nothing here knows the HTTP library. One thread uses a body.
"""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol

from modelfs.errors import Corrupt, DeadlinePassed, Error, NotFound, Unavailable
from modelfs.model import Digests
from modelfs.waiting import Clock

log = logging.getLogger(__name__)

# Of a server that ignores ranges, as many bytes are thrown away as one block of read-ahead has;
# beyond that, reading would cost many times what is read.
SKIP_AT_MOST = 1 << 20
_SKIP_PIECE = 1 << 16
# Losses in a row, without one byte between them, before a reader is told. With half of all
# connections failing, that is one read in 256.
_LOSSES = 8

# Less than this, in as long as a reader waits: such a transfer is no use to anybody.
_TRICKLE = 1 << 14

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
# 416 and the like say that the request was wrong; these may mean that an address has expired.
# Google's storage answers 400, Amazon's 403, a signature service of ours 410 or 404.
_EXPIRED = frozenset({400, 401, 403, 404, 410})


class Stream(Protocol):
    """An answer whose body is still on its way."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    def readinto(self, view: memoryview, /) -> int:
        """Fill the front of `view` with what is there; how many bytes, 0 at the end.

        Raises Unavailable when the connection is lost.
        """
        ...

    def close(self) -> None: ...


class Storage(Protocol):
    """Where the bytes of one file are."""

    def get(self, headers: Mapping[str, str], is_fresh: bool, /) -> Stream:
        """Ask for the file with `headers`, at an address known before or at a fresh one.

        Answers 200, 206 or a status that may mean an expired address (`is_expired`); raises the
        class of any other status.
        """
        ...


def is_expired(status: int) -> bool:
    return status in _EXPIRED


class RangeBody:
    """Bytes [start, stop) of a file of `size` bytes, as a `Body`."""

    def __init__(
        self,
        storage: Storage,
        size: int,
        start: int,
        stop: int,
        *,
        clock: Clock,
        pause: Callable[[int], None],
        patience: float,
    ) -> None:
        self.digests = Digests()
        self._storage = storage
        self._size = size
        self._at = start
        self._stop = stop
        self._clock = clock
        self._pause = pause
        self._patience = patience
        self._etag = ""
        self._stream: Stream | None = None
        # For how long the last bytes were waited for, and how many they are.
        self._waited = 0.0
        self._came = 0

    def open(self) -> None:
        """Ask for the bytes, so that an error is raised before anybody reads."""
        self._stream = self._connect()

    def readinto(self, buffer: memoryview, /) -> int:
        wanted = min(len(buffer), self._stop - self._at)
        if wanted <= 0:
            return 0
        begun = self._clock()
        count = self._next(buffer[:wanted])
        self._check_pace(self._clock() - begun, count)
        self._at += count
        if self._at == self._stop:
            self._drop()
        return count

    def _next(self, view: memoryview) -> int:
        """The next bytes, through as many connections as it takes."""
        since, losses = self._clock(), 0
        while True:
            if self._stream is None:
                self._stream = self._connect()
            try:
                if count := self._stream.readinto(view):
                    return count
                raise Unavailable(f"the answer ended early: {self._stop - self._at} bytes missing")
            except Unavailable as exc:
                self._drop()
                losses += 1
                if losses >= _LOSSES or self._clock() - since > self._patience:
                    raise
                log.debug("resuming at byte %d: %s", self._at, exc)
                self._pause(losses)
            except Error:
                self._drop()
                raise

    def _check_pace(self, waited: float, came: int) -> None:
        """Raise DeadlinePassed if hardly anything comes: no read of the socket takes too long."""
        self._waited += waited
        self._came += came
        if self._waited > self._patience:
            if self._came < _TRICKLE:
                self._drop()
                raise DeadlinePassed(f"{self._came} bytes came within {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0

    def _connect(self) -> Stream:
        stream = self._storage.get(self._headers(), False)
        if is_expired(stream.status):
            stream.close()
            stream = self._renewed(stream.status)
        try:
            self._check(stream)
        except BaseException:
            stream.close()
            raise
        return stream

    def _renewed(self, status: int) -> Stream:
        """The answer at a fresh address; once without a byte between is all a registry gets."""
        stream = self._storage.get(self._headers(), True)
        if is_expired(stream.status):
            stream.close()
            if stream.status in (404, 410):
                raise NotFound("the storage does not have the file")
            raise Corrupt(f"the storage refuses a fresh address: {stream.status}, before {status}")
        return stream

    def _headers(self) -> dict[str, str]:
        headers = {"Range": f"bytes={self._at}-{self._stop - 1}", "Accept-Encoding": "identity"}
        if self._etag:
            headers["If-Range"] = self._etag
        return headers

    def _check(self, stream: Stream) -> None:
        """Raise Corrupt unless `stream` gives exactly the bytes that are wanted, next."""
        headers = stream.headers
        if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise Corrupt("the storage sends the file compressed")
        self._check_same(stream.status, headers)
        length = _number(headers.get("Content-Length"))
        if stream.status == 206:
            self._check_range(headers.get("Content-Range", ""), length)
        else:
            self._check_whole(stream, length)

    def _check_same(self, status: int, headers: Mapping[str, str]) -> None:
        """A file that changes between two connections must not be put together of both."""
        etag = headers.get("ETag", "")
        etag = "" if etag.startswith("W/") else etag
        digests = digests_of(headers.get("x-goog-hash", ""))
        if (etag and self._etag and etag != self._etag) or (
            digests and self.digests and digests != self.digests
        ):
            raise Corrupt("the file changed while it was read")
        if self._etag and status == 200 and not etag:
            raise Corrupt("the file may have changed while it was read")
        self._etag, self.digests = etag or self._etag, digests or self.digests

    def _check_range(self, text: str, length: int | None) -> None:
        match = _CONTENT_RANGE.fullmatch(text.strip())
        if not match:
            raise Corrupt(f"a range without a range: {text[:80]!r}")
        first, last, total = (int(number) for number in match.groups())
        if total != self._size:
            raise Corrupt(f"the storage has a file of another size: {total}, not {self._size}")
        if (first, last + 1) != (self._at, self._stop):
            raise Corrupt(
                f"another range was sent: {first} to {last}, not {self._at} to {self._stop - 1}"
            )
        if length != self._stop - self._at:
            raise Corrupt(f"a range and its length disagree: {length}, {text[:80]!r}")

    def _check_whole(self, stream: Stream, length: int | None) -> None:
        """The whole file came: use it from its front, or throw away a little."""
        if length != self._size:
            raise Corrupt(f"the storage has a file of another size: {length}, not {self._size}")
        if self._at > SKIP_AT_MOST:
            raise Corrupt("the storage cannot send a part of a file")
        left, sink = self._at, memoryview(bytearray(_SKIP_PIECE))
        while left:
            count = stream.readinto(sink[: min(left, _SKIP_PIECE)])
            if not count:
                raise Unavailable("the answer ended early")
            left -= count

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        self._drop()

    def __enter__(self) -> RangeBody:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def digests_of(header: str) -> Digests:
    """The digests of an `x-goog-hash` header: `crc32c=<base64>,md5=<base64>`."""
    found: dict[str, str] = {}
    for item in header.split(","):
        name, _, value = item.strip().partition("=")
        try:
            found[name] = base64.b64decode(value, validate=True).hex()
        except (binascii.Error, ValueError):
            continue
    md5, crc32c = found.get("md5", ""), found.get("crc32c", "")
    return Digests(md5=md5 if len(md5) == 32 else "", crc32c=crc32c if len(crc32c) == 8 else "")
