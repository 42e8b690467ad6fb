"""How values are written on the wire: requests are read tolerantly.

Clients of three generations spell the same key `updateMask`, `update_mask` and `updatemask`, send
booleans as text and masks as objects: `Fields` takes all of it. Pure: no I/O, no state.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NoReturn

from modelfs.errors import InvalidName

# What SQLite and every client's integers hold.
_INTEGER_MAX = (1 << 63) - 1
_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no", ""})


class Fields:
    """A JSON object of a request, or a query: keys match in any case, with or without `_`.

    A null is an absent field. A value of a type that makes no sense raises InvalidName.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = {_folded(key): value for key, value in values.items() if value is not None}

    def has(self, name: str) -> bool:
        return _folded(name) in self._values

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(_folded(name), default)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise InvalidName(f"{name} is not text")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidName(f"{name} is not Unicode text")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._values.get(_folded(name), default)
        if isinstance(value, bool):
            return value
        word = str(value).lower() if isinstance(value, str | int) else "?"
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise InvalidName(f"{name} is neither true nor false")

    def number(self, name: str, default: int = 0) -> int:
        """A whole number that is not negative; also as text, as protocol buffers write it."""
        value = self._values.get(_folded(name), default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        # The length first: int() of a very long text is refused with another error.
        if isinstance(value, str) and len(value) <= 19 and value.isascii() and value.isdigit():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidName(f"{name} is not a whole number")
        if not 0 <= value <= _INTEGER_MAX:
            raise InvalidName(f"{name} is out of range")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; a single text is a list of one."""
        value = self._values.get(_folded(name), ())
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple):
            raise InvalidName(f"{name} is not a list")
        return tuple(Fields({name: item}).text(name) for item in values)

    def object(self, name: str) -> Fields:
        """An object; an absent one is empty."""
        return _object(self._values.get(_folded(name), {}), name)

    def objects(self, name: str) -> Iterator[Fields]:
        value = self._values.get(_folded(name), ())
        if not isinstance(value, list | tuple):
            raise InvalidName(f"{name} is not a list")
        return (_object(item, name) for item in value)

    def time(self, name: str) -> float | None:
        """A moment, in seconds since the epoch; None where absent or empty."""
        text = self.text(name)
        return parse_time(text) if text else None

    def page_token(self) -> str:
        """The page token; one old client sends the word None for having none."""
        token = self.text("pageToken")
        return "" if token == "None" else token  # noqa: S105 - a word

    def mask(self) -> frozenset[str] | None:
        """The folded paths of the update mask, or None without one (an empty one is none).

        Either `"title,isPrivate"` or `{"paths": ["title", "is_private"]}`.
        """
        if not self.has("updateMask"):
            return None
        value = self._values[_folded("updateMask")]
        if isinstance(value, Mapping):
            paths = _object(value, "updateMask").texts("paths")
        else:
            paths = tuple(self.text("updateMask").split(","))
        return frozenset(_folded(path.strip()) for path in paths if path.strip()) or None

    def touched(self, names: Mapping[str, str]) -> dict[str, str]:
        """Of `names` (wire name -> ours) those that an update is about.

        With a mask: what it says, and a path that is not in `names` raises InvalidName. Without
        one, as the oldest clients do: the fields that are there.
        """
        mask = self.mask()
        if mask is None:
            return {wire: ours for wire, ours in names.items() if self.has(wire)}
        folded = {_folded(wire): wire for wire in names}
        if unknown := sorted(mask - set(folded)):
            raise InvalidName(f"updateMask names what cannot be updated: {', '.join(unknown)}")
        return {folded[path]: names[folded[path]] for path in mask}


def parse_body(data: bytes) -> dict[str, object]:
    """The JSON object in a request's body; an empty body is an empty object."""
    if not data.strip():
        return {}
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise InvalidName("the request's body is not JSON") from exc
    if not isinstance(value, dict):
        raise InvalidName("the request's body is not a JSON object")
    return value


def parse_time(text: str) -> float:
    """Seconds since the epoch of `2024-01-02`, `2024-01-02T00:00:00.000Z` and the like."""
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        datetime.fromtimestamp(seconds, UTC)  # as every reply that tells it writes it
        return seconds
    except (ValueError, OverflowError) as exc:
        raise InvalidName(f"not a date or time: {text!r}") from exc


def base64_of(digest: str) -> str:
    """A digest as Google's storage writes it; ours are hex."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def hash_header(md5: str, crc32c: str) -> str:
    """The value of `x-goog-hash`; empty without digests."""
    pairs = (("crc32c", crc32c), ("md5", md5))
    return ",".join(f"{kind}={base64_of(digest)}" for kind, digest in pairs if digest)


def _object(value: object, name: str) -> Fields:
    if not isinstance(value, Mapping):
        raise InvalidName(f"{name} is not an object")
    return Fields(value)


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name}")
