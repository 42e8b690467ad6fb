"""What can go wrong between a reader and a storage, each fault as the script of one answer.

`good` is a storage as it should be; everything in `FAULTS` answers a ranged GET wrongly in one
way. Those in `PASSING` harm one connection: a reader that tries again gets the right bytes. The
others must end in an error, never in wrong bytes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Callable, Iterator
from functools import lru_cache

import google_crc32c

from sims.raw import DROP, RESET, STALL, Answer, Request, Script, Step, head, redirect, reply

Fault = Callable[[Request, bytes], Script]

HTML = b"<!DOCTYPE html><html><body>Sign in to the hotel's network</body></html>"


@lru_cache(maxsize=128)
def digest_header(content: bytes) -> str:
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    crc = base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()
    return f"crc32c={crc},md5={md5}"


@lru_cache(maxsize=128)
def _etag(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def right_fields(request: Request, content: bytes) -> dict[str, str]:
    """The headers of a right answer."""
    start, stop = request.range or (0, len(content))
    fields = {
        "Content-Length": str(stop - start),
        "Content-Type": "application/octet-stream",
        "ETag": f'"{_etag(content)}"',
        "x-goog-hash": digest_header(content),
    }
    if request.range:
        fields["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return fields


def _body(request: Request, content: bytes) -> bytes:
    start, stop = request.range or (0, len(content))
    return content[start:stop]


def good(request: Request, content: bytes) -> Script:
    status = 206 if request.range else 200
    return [head(status, right_fields(request, content)) + _body(request, content)]


def _half(end: Step) -> Fault:
    def script(request: Request, content: bytes) -> Script:
        body = _body(request, content)
        return [head(206, right_fields(request, content)) + body[: len(body) // 2], end]

    return script


def _only(*steps: Step) -> Fault:
    return lambda request, content: list(steps)


def _whole(request: Request, content: bytes) -> Script:
    """The range is ignored, as some proxies do."""
    return good(Request(request.method, request.target, {}, b""), content)


def _too_much(request: Request, content: bytes) -> Script:
    return [*good(request, content), b"and more that nobody asked for"]


def _zipped(request: Request, content: bytes) -> Script:
    body = gzip.compress(_body(request, content))
    fields = right_fields(request, content) | {
        "Content-Encoding": "gzip",
        "Content-Length": str(len(body)),
    }
    return [head(206, fields) + body]


def _shifted(request: Request, content: bytes) -> Script:
    """The right number of bytes, from elsewhere, and it says so."""
    start, stop = request.range or (0, len(content))
    fields = right_fields(request, content)
    fields["Content-Range"] = f"bytes {start + 1}-{stop}/{len(content)}"
    return [head(206, fields) + _body(request, content)]


def _other_size(request: Request, content: bytes) -> Script:
    start, stop = request.range or (0, len(content))
    fields = right_fields(request, content)
    fields["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content) + 1}"
    return [head(206, fields) + _body(request, content)]


def _no_range(request: Request, content: bytes) -> Script:
    fields = right_fields(request, content)
    del fields["Content-Range"]
    return [head(206, fields) + _body(request, content)]


def _long(request: Request, content: bytes) -> Script:
    fields = right_fields(request, content) | {"Content-Length": str(len(content) * 2)}
    return [head(206, fields) + _body(request, content), DROP]


def _loop(request: Request, content: bytes) -> Script:
    return redirect(request.target)


# Answers after which the same question gets the right one.
PASSING: dict[str, Fault] = {
    "drop before the head": _only(DROP),
    "reset before the head": _only(RESET),
    "drop in the head": _only(b"HTTP/1.1 206 X\r\nContent-Le", DROP),
    "nonsense for a head": _only(b"\x00\xff\x00 what\r\n\r\n", DROP),
    "drop in the body": _half(DROP),
    "reset in the body": _half(RESET),
    "stall in the body": _half(STALL),
    "stall before the head": _only(STALL),
    "500": lambda *_: reply(500),
    "502 with a page": lambda *_: reply(502, HTML),
    "503": lambda *_: reply(503),
    "503 with Retry-After": lambda *_: reply(503, retry_after="0"),
    "429": lambda *_: reply(429),
    "429 with Retry-After": lambda *_: reply(429, retry_after="0"),
    "more than the range": _too_much,
}

# Answers that no number of them makes right.
LASTING: dict[str, Fault] = {
    "compressed": _zipped,
    "another range": _shifted,
    "another size": _other_size,
    "a range without a range": _no_range,
    "a length that is too long": _long,
    "a page instead of bytes": lambda *_: reply(200, HTML, content_type="text/html"),
    "a redirect to itself": _loop,
    "a redirect to a file": lambda *_: redirect("file:///etc/passwd"),
    "a redirect to nowhere": lambda *_: redirect(""),
    "416": lambda *_: reply(416),
    "204": lambda *_: reply(204),
}

FAULTS: dict[str, Fault] = {**PASSING, **LASTING}


def first(faults: Iterator[Fault], content: bytes) -> Answer:
    """A storage that answers with `faults` one after another, and rightly afterwards."""
    return lambda request: next(faults, good)(request, content)
