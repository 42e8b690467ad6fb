"""What an API can answer instead of the right thing: refusals, pages, JSON of other shapes.

Each fault is given the request and what hands it on to who answers rightly; it may do without, or
spoil the answer on its way back, as `relay.Meddle` does.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

from sims.faults import HTML
from sims.faults_bytes import RETRY_AFTER
from sims.raw import DROP, RESET, STALL, Script, Step, head, json_reply, redirect, reply
from sims.relay import Answered, Meddle

_STATUSES = (400, 401, 403, 404, 405, 409, 410, 413, 418, 422, 429, 500, 501, 502, 503, 504)

# Names that no directory can hold, or that are hard to show.
HOSTILE_NAMES = (
    *("", ".", "..", "../evil", "/etc/passwd", "a/b", "a//b", "a/", "a\\b", "a\0b", "a\nb"),
    *("a\x1b[2Jb", "x" * 256, "x" * 4096, "é" * 128, "a\ud800b", "a\u202eb", "CON", "-rf", "~"),
    *(
        "e\u0301.txt",
        "\u00e9.txt",
        "Readme",
        "README",
        ".modelfs",
        "NOTES",
        "latest",
        " ",
        "%2e%2e",
    ),
)


def _instead(*steps: Step) -> Meddle:
    return lambda request, hand_on: list(steps)


def _answered(script: Script) -> Meddle:
    return lambda request, hand_on: script


def _spoiled(spoil: Callable[[Answered], Script]) -> Meddle:
    return lambda request, hand_on: spoil(hand_on(request))


def bent(change: Callable[[Any], Any]) -> Meddle:
    """Other JSON than was answered; what is no JSON goes through."""

    def spoil(answered: Answered) -> Script:
        try:
            value = json.loads(answered.body)
        except ValueError:
            return answered.script
        return json_reply(change(value), answered.status)

    return _spoiled(spoil)


def each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`change` for each value in a document that holds no others."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return change(value)

    return walk


def _lists(change: Callable[[list[Any]], Any]) -> Meddle:
    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        return change(value) if isinstance(value, list) else value

    return bent(walk)


def _hostile(items: list[Any]) -> list[Any]:
    """As many more items as there are hostile names, each with one for all of its texts."""
    if not items or not isinstance(items[0], dict):
        return [*items, *HOSTILE_NAMES]
    texts = {key for key, value in items[0].items() if isinstance(value, str)}
    more = [items[0] | dict.fromkeys(texts, name) for name in HOSTILE_NAMES]
    return [*items, *more]


def _no_end() -> Meddle:
    tokens = itertools.count()
    return bent(
        lambda value: (
            {**value, "nextPageToken": f"t{next(tokens)}", "next_cursor": f"t{next(tokens)}"}
            if isinstance(value, dict)
            else value
        )
    )


def _with(**more: object) -> Meddle:
    return bent(lambda value: {**value, **more} if isinstance(value, dict) else value)


def _cut(answered: Answered) -> Script:
    """Half of the JSON, and a length that says so."""
    body = answered.body[: len(answered.body) // 2]
    return reply(answered.status, body, content_type="application/json")


def _cut_off(answered: Answered) -> Script:
    """Half of the JSON, and a length that promises all of it."""
    told = {**answered.headers, "Content-Length": str(len(answered.body) + 1)}
    return [head(answered.status, told) + answered.body[: len(answered.body) // 2], DROP]


def _coded(answered: Answered) -> Script:
    body = gzip.compress(answered.body)
    told = {**answered.headers, "Content-Length": str(len(body)), "Content-Encoding": "gzip"}
    return [head(answered.status, told) + body]


def _in(encoding: str) -> Meddle:
    return _spoiled(
        lambda answered: reply(
            answered.status,
            answered.body.decode().encode(encoding),
            content_type="application/json",
        )
    )


def _relocated(location: str) -> Meddle:
    """Where it says that a file is, is somewhere else."""
    return _spoiled(
        lambda answered: redirect(location) if 300 <= answered.status < 400 else answered.script
    )


def _lines(*more: str) -> Meddle:
    def spoil(answered: Answered) -> Script:
        lines = "".join(f"{line}\r\n" for line in more).encode()
        return [
            head(answered.status, answered.headers)[:-2] + lines + b"\r\n" + answered.body,
            DROP,
        ]

    return _spoiled(spoil)


REFUSED: Mapping[str, Meddle] = {
    "drop": _instead(DROP),
    "reset": _instead(RESET),
    "stall": _instead(STALL),
    "drop in the head": _instead(b"HTTP/1.1 200 X\r\nConte", DROP),
    "nonsense for a head": _instead(b"\x00\xff\x00 what\r\n\r\n", DROP),
    **{
        f"status {status}": _answered(json_reply({"code": status, "message": "no"}, status))
        for status in _STATUSES
    },
    **{
        f"status {status} with a page": _answered(reply(status, HTML, content_type="text/html"))
        for status in (200, 400, 401, 403, 404, 429, 500, 502, 503)
    },
    **{
        f"status {status} with nothing": _answered(reply(status)) for status in (200, 403, 404, 500)
    },
    **{
        f"status {status}, Retry-After {kind}": _answered(
            json_reply({"code": status}, status, retry_after=value)
        )
        for status in (429, 503)
        for kind, value in RETRY_AFTER.items()
    },
    **{
        f"200 that says {code!r}": _answered(json_reply({"code": code, "message": "no"}))
        for code in (400, "401", 403, 404, 429, 500, -1, 10**30, None, True)
    },
    "200 that says error": _answered(json_reply({"error": "no"})),
    "200 that says a nested error": _answered(json_reply({"error": {"code": 500, "message": 7}})),
    "a redirect to a login": _answered(redirect("/account/login")),
    "a redirect to itself": lambda request, hand_on: redirect(request.target),
    "a redirect to a file": _answered(redirect("file:///etc/passwd")),
    "204": _answered([b"HTTP/1.1 204 X\r\n\r\n"]),
    "304": _answered([b"HTTP/1.1 304 X\r\n\r\n"]),
    "999": _answered(reply(999)),
    "null": _answered(json_reply(None)),
    "true": _answered(json_reply(True)),
    "a number": _answered(json_reply(7)),
    "a text": _answered(json_reply("fine")),
    "a list": _answered(json_reply([{}])),
    "an empty object": _answered(json_reply({})),
    "deep nesting": _answered(reply(200, b"[" * 200_000)),
    "not JSON": _answered(reply(200, b"{'a': 1}")),
    "NaN": _answered(reply(200, b'{"size": NaN}')),
    "17 MB": _answered(reply(200, b'{"a": "' + b"x" * (17 << 20) + b'"}')),
    "zeros": _answered(reply(200, bytes(1000))),
    "not text": _answered(reply(200, b'{"a": "\xff\xfe"}')),
}

SPOILED: Mapping[str, Meddle] = {
    "cut": _spoiled(_cut),
    "cut off": _spoiled(_cut_off),
    "compressed": _spoiled(_coded),
    "a mark at the beginning": _spoiled(
        lambda answered: reply(answered.status, b"\xef\xbb\xbf" + answered.body)
    ),
    "in UTF-16": _in("utf-16"),
    "in UTF-32": _in("utf-32"),
    "two lengths": _lines("Content-Length: 3"),
    "5,000 headers": _lines(*(f"X-{n}: {n}" for n in range(5000))),
    "more after it": _spoiled(lambda answered: [*answered.script, b"HTTP/1.1 200 X\r\n\r\n{}"]),
    "pages without an end": _no_end(),
    "one token again and again": _with(nextPageToken="again", next_cursor="again"),
    "a token that is a number": _with(nextPageToken=7, next_cursor=7),
    "a token that is a list": _with(nextPageToken=["x"], next_cursor=["x"]),
    "a token of 1 MB": _with(nextPageToken="x" * (1 << 20), next_cursor="x" * (1 << 20)),
    "hostile names": _lists(_hostile),
    "everything twice": _lists(lambda items: [*items, *items]),
    "lists that are objects": _lists(lambda items: {"items": items}),
    "lists that are null": _lists(lambda items: None),
    "lists in lists": _lists(lambda items: [items]),
    "lists of nulls": _lists(lambda items: [None for _ in items]),
    "lists of texts": _lists(lambda items: ["x" for _ in items]),
    "texts that are numbers": bent(each(lambda item: 7 if isinstance(item, str) else item)),
    "texts that are lists": bent(each(lambda item: [item] if isinstance(item, str) else item)),
    "texts that are null": bent(each(lambda item: None if isinstance(item, str) else item)),
    "texts of 1 MB": bent(each(lambda item: item * 99999 if isinstance(item, str) else item)),
    "texts of controls": bent(
        each(lambda item: f"\0\x1b{item}" if isinstance(item, str) else item)
    ),
    "numbers that are texts": bent(each(lambda item: f"{item}x" if type(item) is int else item)),
    "numbers that are huge": bent(each(lambda item: 10**40 if type(item) is int else item)),
    "numbers that are negative": bent(each(lambda item: -1 if type(item) is int else item)),
    "numbers with a fraction": bent(each(lambda item: item + 0.5 if type(item) is int else item)),
    "numbers that are true": bent(each(lambda item: True if type(item) is int else item)),
    "numbers that are null": bent(each(lambda item: None if type(item) is int else item)),
    "numbers one higher": bent(each(lambda item: item + 1 if type(item) is int else item)),
    "everything a level down": bent(lambda value: {"result": value}),
    "everything in a list": bent(lambda value: [value]),
    "files at a file": _relocated("file:///etc/passwd"),
    "files at ftp": _relocated("ftp://127.0.0.1/f"),
    "files at nobody": _relocated("http://127.0.0.1:1/f"),
    "files at no address": _relocated("http://[::1/f"),
    "files with a password": _relocated("http://a:b@127.0.0.1/f"),
    "files nowhere": _relocated(""),
}

ALL: Mapping[str, Meddle] = {**REFUSED, **SPOILED}
# After one of these, the same question gets the right answer.
PASSING = (
    *("drop", "reset", "stall", "drop in the head", "nonsense for a head", "cut off"),
    *("status 429", "status 500", "status 502", "status 503", "status 504"),
    *("status 200 with a page", "status 502 with a page", "status 503 with a page"),
    *("status 429, Retry-After 0", "status 503, Retry-After 0"),
)
