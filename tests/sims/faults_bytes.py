"""More of what a storage can answer: lies, broken HTTP, every status, redirects, compression.

Each is the script of one answer to a GET, ranged or not, as in `faults`; `ALL` has those of it too.
Those in `LIES` have a head that is right in everything, and other bytes: only a digest tells.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Mapping
from functools import cache

from sims import faults
from sims.faults import HTML, Fault, good
from sims.raw import DROP, Pause, Request, Script, Step, head, redirect, reply

_STATUSES = (
    *(400, 401, 402, 403, 404, 405, 407, 408, 409, 410, 411, 412, 413, 416, 418, 421, 422, 425),
    *(429, 451, 499, 500, 501, 502, 503, 504, 505, 507, 511, 520, 599),
)
# What is no moment, or none that anybody lives to see.
RETRY_AFTER = {
    "0": "0",
    "in the past": "Mon, 01 Jan 1990 00:00:00 GMT",
    "in a thousand years": "Fri, 01 Jan 3027 00:00:00 GMT",
    "of a billion": "1000000000",
    "of 40 digits": "9" * 40,
    "negative": "-5",
    "of words": "soon",
    "fractional": "0.5",
    "empty": "",
    "of a date that is none": "Mon, 99 Foo 2020 00:00:00 GMT",
}


def _parts(request: Request, content: bytes) -> tuple[int, int, int]:
    start, stop = request.range or (0, len(content))
    return start, stop, 206 if request.range else 200


def _fields(request: Request, content: bytes) -> dict[str, str]:
    return dict(faults.right_fields(request, content))


def lying(body: Callable[[Request, bytes], bytes]) -> Fault:
    """Another body of the same length, below a head that is right."""

    def script(request: Request, content: bytes) -> Script:
        start, stop, status = _parts(request, content)
        other = body(request, content)[: stop - start].ljust(stop - start, b"?")
        return [head(status, _fields(request, content)) + other]

    return script


def _flipped(at: Callable[[int], int]) -> Fault:
    def body(request: Request, content: bytes) -> bytes:
        start, stop, _ = _parts(request, content)
        data = bytearray(content[start:stop])
        data[at(len(data))] ^= 0x10
        return bytes(data)

    return lying(body)


def _repeated(request: Request, content: bytes) -> bytes:
    """The first half twice."""
    start, stop, _ = _parts(request, content)
    return content[start : (start + stop) // 2] * 2


def _page(request: Request, content: bytes) -> bytes:
    return HTML * (len(content) // len(HTML) + 1)


LIES: dict[str, Fault] = {
    "the first byte is another": _flipped(lambda _: 0),
    "a byte in the middle is another": _flipped(lambda size: size // 2),
    "the last byte is another": _flipped(lambda size: size - 1),
    "zeros": lying(lambda _, content: bytes(len(content))),
    "the first half twice": lying(_repeated),
    "bytes of another place": lying(
        lambda request, content: content[(request.range or (0, 0))[0] + 1 :] + b"?"
    ),
    "bytes of another file": lying(lambda _, content: content[::-1]),
    "a page of the right length": lying(_page),
    "zeros at the end": lying(
        lambda request, content: (
            content[(request.range or (0, 0))[0] :][: len(content) // 8] + bytes(len(content))
        )
    ),
}


def headed(*lines: str, drop: tuple[str, ...] = (), body: bytes | None = None) -> Fault:
    """The right answer with more header lines, without some, or with another body."""

    def script(request: Request, content: bytes) -> Script:
        start, stop, status = _parts(request, content)
        told = {key: value for key, value in _fields(request, content).items() if key not in drop}
        begin = head(status, told)[:-2] + "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        return [begin + b"\r\n" + (content[start:stop] if body is None else body), DROP]

    return script


def _coded(coding: str, encode: Callable[[bytes], bytes]) -> Fault:
    def script(request: Request, content: bytes) -> Script:
        start, stop, status = _parts(request, content)
        body = encode(content[start:stop])
        told = _fields(request, content) | {"Content-Length": str(len(body))}
        return [head(status, told | ({"Content-Encoding": coding} if coding else {})) + body, DROP]

    return script


def _chunked(*, is_cut: bool) -> Fault:
    def script(request: Request, content: bytes) -> Script:
        start, stop, status = _parts(request, content)
        told = _fields(request, content) | {"Transfer-Encoding": "chunked"}
        del told["Content-Length"]
        body = content[start:stop]
        steps: list[Step] = [head(status, told)]
        steps += [
            b"%x\r\n" % len(body[at : at + 4096]) + body[at : at + 4096] + b"\r\n"
            for at in range(0, len(body) // (2 if is_cut else 1), 4096)
        ]
        return [*steps, DROP] if is_cut else [*steps, b"0\r\n\r\n"]

    return script


def _short(*, is_consistent: bool) -> Fault:
    """Fewer bytes than were asked for; the head says so, or half of it does."""

    def script(request: Request, content: bytes) -> Script:
        start, stop, status = _parts(request, content)
        end = (start + stop) // 2
        told = _fields(request, content) | {"Content-Length": str(end - start)}
        if request.range and is_consistent:
            told["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return [head(status, told) + content[start:end]]

    return script


def _followed_by_another(request: Request, content: bytes) -> Script:
    """An answer that nobody asked for comes after the right one, and waits in the connection."""
    (right,) = good(request, content)
    (wrong,) = LIES["bytes of another file"](request, content)
    assert isinstance(right, bytes)
    assert isinstance(wrong, bytes)
    return [right + wrong]


def _unlengthed_and_cut(request: Request, content: bytes) -> Script:
    start, stop, status = _parts(request, content)
    told = _fields(request, content) | {"Connection": "close"}
    del told["Content-Length"]
    return [head(status, told) + content[start : (start + stop) // 2], DROP]


def _whole(request: Request, content: bytes) -> Script:
    return good(Request(request.method, request.target, {}, b""), content)


def _whole_as_206(request: Request, content: bytes) -> Script:
    told = _fields(Request("GET", request.target, {}, b""), content)
    return [head(206, told) + content, DROP]


def _multipart(request: Request, content: bytes) -> Script:
    start, stop, _ = _parts(request, content)
    mark = f"--x\r\nContent-Range: bytes {start}-{stop - 1}/{len(content)}\r\n\r\n".encode()
    body = mark + content[start:stop] + b"\r\n--x--\r\n"
    return reply(206, body, content_type="multipart/byteranges; boundary=x")


def _endless_head(request: Request, content: bytes) -> Script:
    yield b"HTTP/1.1 206 X\r\n"
    while True:
        yield b"X-More: and more\r\n" * 500


def _endless_body(request: Request, content: bytes) -> Script:
    """More than was asked for, until nobody listens."""
    start, stop, status = _parts(request, content)
    yield head(status, _fields(request, content) | {"Content-Length": str(1 << 60)})
    yield content[start:stop]
    while True:
        yield bytes(1 << 16)


def _trickle(request: Request, content: bytes) -> Script:
    start, stop, status = _parts(request, content)
    yield head(status, _fields(request, content))
    for at in range(start, stop):
        yield content[at : at + 1]
        yield Pause(0.25)


def _other_etag(request: Request, content: bytes) -> Script:
    """Half of the body, under an ETag that is another one each time."""
    start, stop, status = _parts(request, content)
    told = _fields(request, content) | {"ETag": f'"{random.random()}"'}
    return [head(status, told) + content[start : (start + stop) // 2], DROP]


def _told(value: str) -> Fault:
    def script(request: Request, content: bytes) -> Script:
        start, stop, status = _parts(request, content)
        return [
            head(status, _fields(request, content) | {"x-goog-hash": value}) + content[start:stop]
        ]

    return script


def _chain(request: Request, content: bytes) -> Script:
    """A redirect to another address each time, without an end."""
    return redirect(f"{request.target}&{random.random()}")


@cache
def _zeros_packed() -> bytes:
    return gzip.compress(bytes(64 << 20), 1)


_BROKEN: dict[str, Fault] = {
    "two lengths": headed("Content-Length: 7"),
    "two lengths, the second one right": lambda request, content: [
        head(206, {"content-length": "7"})[:-2]
        + head(206, _fields(request, content)).partition(b"\r\n")[2]
        + content[slice(*_parts(request, content)[:2])],
        DROP,
    ],
    "5,000 headers": headed(*(f"X-{number}: {number}" for number in range(5000))),
    "a header of 1 MB": headed(f"X-Long: {'x' * (1 << 20)}"),
    "a header without a colon": headed("nonsense"),
    "a header with NUL": headed("X-Nul: a\0b"),
    "a header on two lines": headed("X-Folded: a", " b"),
    "two ranges": headed("Content-Range: bytes 0-1/2"),
    "no length": headed(drop=("Content-Length",)),
    "a length that is negative": headed("Content-Length: -1", drop=("Content-Length",)),
    "a length of words": headed("Content-Length: many", drop=("Content-Length",)),
    "a length of 40 digits": headed(f"Content-Length: {'9' * 40}", drop=("Content-Length",)),
    "a range of words": headed("Content-Range: bytes all/all", drop=("Content-Range",)),
    "a range of other units": headed("Content-Range: lines 0-1/2", drop=("Content-Range",)),
    "a range without a total": headed("Content-Range: bytes 0-1/*", drop=("Content-Range",)),
    "chunked": _chunked(is_cut=False),
    "chunked and cut": _chunked(is_cut=True),
    "chunks of nonsense": headed(
        "Transfer-Encoding: chunked", drop=("Content-Length",), body=b"zz\r\nwhat\r\n"
    ),
    "a length and chunks": headed("Transfer-Encoding: chunked"),
    "no length, and cut": _unlengthed_and_cut,
    "short, and says so": _short(is_consistent=True),
    "short, and half says so": _short(is_consistent=False),
    "the range is ignored": _whole,
    "the whole file as a part": _whole_as_206,
    "parts of several": _multipart,
    "an answer after the answer": _followed_by_another,
    "a file that changes all the time": _other_etag,
    "a head without an end": _endless_head,
    "a body without an end": _endless_body,
    "a byte now and then": _trickle,
    "an older HTTP": lambda request, content: [content[slice(*_parts(request, content)[:2])], DROP],
    "a newer HTTP": lambda *_: [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", DROP],
    "a status of words": lambda *_: [b"HTTP/1.1 good OK\r\nContent-Length: 0\r\n\r\n"],
    "a status of 999": lambda *_: reply(999),
    "a status of 5 digits": lambda *_: [b"HTTP/1.1 20600 X\r\nContent-Length: 0\r\n\r\n"],
    "to be continued": lambda request, content: [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        *good(request, content),
    ],
    "other protocols": lambda *_: [b"HTTP/1.1 101 X\r\nUpgrade: tls\r\n\r\n"],
    "200 with nothing": lambda *_: reply(200),
    "206 with nothing": lambda *_: reply(206),
    "205": lambda *_: reply(205),
    "304": lambda *_: [b"HTTP/1.1 304 X\r\n\r\n"],
    "300": lambda *_: reply(300, HTML),
    "another md5 each time": _told("md5=AAAAAAAAAAAAAAAAAAAAAA=="),
    "digests of nonsense": _told("md5=what,crc32c=,,sha=1,=,md5"),
    "compressed, unsaid": _coded("", gzip.compress),
    "compressed by brotli": _coded("br", lambda data: data),
    "compressed by two": _coded("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    "said to be compressed": _coded("gzip", lambda data: data),
    "a bomb": _coded("gzip", lambda _: _zeros_packed()),
    "redirects without an end": _chain,
    "a redirect to ftp": lambda *_: redirect("ftp://127.0.0.1/f"),
    "a redirect to a password": lambda *_: redirect("http://a:b@127.0.0.1/f"),
    "a redirect to nobody": lambda *_: redirect("http://127.0.0.1:1/f"),
    "a redirect to no address": lambda *_: redirect("http://[::1/f"),
    "a redirect to no port": lambda *_: redirect("http://127.0.0.1:99999/f"),
    "a redirect of 64 KB": lambda *_: redirect("/" + "x" * 60000),
    "a redirect to script": lambda *_: redirect("javascript:alert(1)"),
    "a redirect without an address": lambda *_: reply(302),
}

_ANSWERED: dict[str, Fault] = {
    f"status {status}": lambda *_, status=status: reply(status) for status in _STATUSES
}
_ANSWERED |= {
    f"status {status} with a page": lambda *_, status=status: reply(
        status, HTML, content_type="text/html"
    )
    for status in (400, 401, 403, 404, 409, 429, 500, 503)
}
_ANSWERED |= {
    f"status {status}, Retry-After {kind}": lambda *_, status=status, value=value: reply(
        status, retry_after=value
    )
    for status in (429, 503)
    for kind, value in RETRY_AFTER.items()
}

# After one of these, the same question or one at a fresh address gets the right answer.
PASSING: Mapping[str, Fault] = {
    **faults.PASSING,
    **{
        f"status {status}": _ANSWERED[f"status {status}"]
        for status in (400, 401, 403, 404, 410, 429, 500, 502, 503, 504)
    },
}
ALL: Mapping[str, Fault] = {**faults.FAULTS, **_ANSWERED, **_BROKEN, **LIES}
