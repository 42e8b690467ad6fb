"""The answers of the registries' APIs: what is an error, in several envelopes. Pure."""

from __future__ import annotations

import base64
import json
from typing import Any, NoReturn

from modelfs.errors import Corrupt, Error, Unavailable, for_status

# A message is for one line of a log.
_LONGEST_MESSAGE = 300
# A page of 200 names has some thousand values, most of them texts. Of the smallest ones a document
# may have millions, which take 25 times its size in memory, and nobody else runs while it is read.
_MOST_VALUES = 500_000
_SEPARATORS = (b",", b"[", b"{")


def parsed(content: bytes, host: str) -> object:
    """The JSON value of `content`; raises Unavailable for a web page, Corrupt for nonsense."""
    text = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        raise Corrupt(f"{host} sends an empty answer")
    if text.startswith(b"<"):
        # Captive portals, load balancers and maintenance pages; the registry itself sends JSON.
        raise Unavailable(f"{host} sends a web page instead of an answer")
    if sum(map(text.count, _SEPARATORS)) > _MOST_VALUES:
        raise Corrupt(f"{host} sends too much: more than {_MOST_VALUES} values of JSON")
    try:
        value: object = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise Corrupt(f"{host} sends what is not JSON") from exc
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name}")


def checked(document: object) -> dict[str, Any]:
    """`document` if it is an object and no error; raises what the error stands for."""
    if not isinstance(document, dict):
        raise Corrupt(f"an answer is not a JSON object, but {type(document).__name__}")
    if (code := _code(document)) >= 400:
        raise failure(code, document, "the registry")
    return document


def failure(status: int, document: object, host: str) -> Error:
    """The error for an HTTP status and what came with it."""
    text = ""
    if isinstance(document, dict):
        code = _code(document)
        status = code if code >= 400 else status
        text = _message(document)
    return for_status(status)(text or f"{host} answered {status}")


def secrets_of(authorization: str) -> tuple[str, ...]:
    """What of an Authorization header nobody may see, as it is sent and as it is meant."""
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "basic":
        return (secret,) if secret else ()
    try:
        password = base64.b64decode(secret).decode().partition(":")[2]
    except ValueError:
        password = ""
    return tuple(text for text in (secret, password) if text)


def _code(document: dict[str, Any]) -> int:
    """The status that an envelope tells: `code`, `error.code` or `errorCode`; 0 if none."""
    inner = document.get("error")
    places = [document.get("code"), document.get("errorCode")]
    if isinstance(inner, dict):
        places.append(inner.get("code"))
    for value in places:
        if isinstance(value, bool) or not isinstance(value, int | str):
            continue
        text = str(value)
        if text.isascii() and text.isdigit() and len(text) == 3 and int(text) >= 400:
            return int(text)
    # Creating and updating calls tell an error without a number: the request was understood.
    return 400 if inner and isinstance(inner, str | dict) else 0


def _message(document: dict[str, Any]) -> str:
    inner = document.get("error")
    text = document.get("message") or inner or _detail(document.get("detail"))
    if isinstance(inner, dict):
        text = inner.get("message") or inner.get("status")
    if not isinstance(text, str):
        return ""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line[:_LONGEST_MESSAGE]


def _detail(detail: object) -> object:
    """What WriftAI says: a text or, of a message that is not valid, where it is not and why."""
    if not isinstance(detail, list):
        return detail
    told = []
    for fault in detail:
        if isinstance(fault, dict) and isinstance(fault.get("msg"), str):
            where = fault.get("loc")
            path = ".".join(map(str, where[1:])) if isinstance(where, list) else ""
            told.append(f"{path}: {fault['msg']}" if path else fault["msg"])
    return "; ".join(told)
