"""What a metadata file says: read, checked, compared with what the registry has. Pure.

Values come under the keys of the file and in one spelling each, so that two files can be
compared. A key that is not ours is passed over, as the official client does: its own downloads
hold some more. Every refusal is InvalidName with the file's name and the key in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import NoReturn

from modelfs.errors import InvalidName, TooLarge
from modelfs.model import Document
from modelfs.refs import Ref, name_fault
from modelfs.registry import frameworks, metadata

Fields = dict[str, object]

# Far above any model card, far below what a request may have.
_LARGEST = 1 << 20
_PLACEHOLDER = re.compile(r"\bINSERT_[A-Z_]+_HERE\b")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def complete(document: Document, ref: Ref) -> Fields:
    """All that `document` says of the new `ref`, with everything that a new one must have."""
    told = _parsed(document, ref)
    for key in _REQUIRED[document.name]:
        if key not in told:
            raise InvalidName(f"{document.name}: key is missing: {key}")
    fields = _fields(document.name, told)
    _check_filled(document.name, fields)
    return fields


def changes(document: Document, current: Document, ref: Ref) -> Fields:
    """What `document` says otherwise than `current`, the registry's own, of the existing `ref`.

    A key that is not in `document` stays as it is.
    """
    wanted = _fields(document.name, _parsed(document, ref))
    known = _fields(current.name, _without_nulls(json_object(current)))
    changed = {key: value for key, value in wanted.items() if value != known.get(key)}
    _check_filled(document.name, changed)
    return changed


def subject(document: Document) -> tuple[Ref, Mapping[str, object]]:
    """What `document` says that it is about, and all that it says."""
    told = _without_nulls(json_object(document))
    _check_replaced(document.name, told)
    parts = []
    for key in _IDENTITY[document.name]:
        if key not in told:
            raise InvalidName(f"{document.name}: key is missing: {key}")
        part = _text(key, told[key])
        if fault := name_fault(part):
            raise InvalidName(f"{document.name}: {key} is not a name, {fault}: {part!r}")
        parts.append(frameworks.parse(part) if key == "framework" else part)
    return Ref(tuple(parts)), told


def moment(fields: Fields) -> float | None:
    """The publish time among `fields`, in seconds since the epoch; None for none."""
    text = fields.get("publishTime")
    if not text:
        return None
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()


def _parsed(document: Document, ref: Ref) -> Mapping[str, object]:
    """The object in `document`, if it is about `ref` and nothing else."""
    if document.name != {2: metadata.MODEL, 4: metadata.INSTANCE}.get(ref.depth):
        raise InvalidName(f"{ref}: there is no {document.name} of it")
    told = _without_nulls(json_object(document))
    _check_replaced(document.name, told)
    for key, part in zip(_IDENTITY[document.name], _names(ref), strict=True):
        if key not in told:
            raise InvalidName(f"{document.name}: key is missing: {key}")
        value = told[key]
        if key == "framework":
            value = frameworks.parse(_text(key, value))
        if value != part:
            raise InvalidName(f"{document.name}: {key} is {value!r}, but the path says {part!r}")
    return told


def _check_replaced(name: str, told: Mapping[str, object]) -> None:
    for key, value in told.items():
        if isinstance(value, str) and (found := _PLACEHOLDER.search(value)):
            raise InvalidName(f"{name}: {key} still holds a placeholder: {found[0]}")


def _names(ref: Ref) -> tuple[str, ...]:
    if ref.depth < 4:
        return ref.parts
    owner, model, framework, slug = ref.parts
    return owner, model, frameworks.parse(framework), slug


def json_object(document: Document) -> Mapping[str, object]:
    """The JSON object that a document is; InvalidName or TooLarge for anything else."""
    if len(document.content) > _LARGEST:
        raise TooLarge(f"{document.name}: larger than {_LARGEST} bytes")
    try:
        told = json.loads(document.content.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as exc:
        raise InvalidName(f"{document.name}: not UTF-8 text") from exc
    except json.JSONDecodeError as exc:
        raise InvalidName(f"{document.name}: not JSON: line {exc.lineno}: {exc.msg}") from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidName(f"{document.name}: not JSON") from exc
    if not isinstance(told, dict):
        raise InvalidName(f"{document.name}: not a JSON object")
    return told


def _without_nulls(told: Mapping[str, object]) -> Mapping[str, object]:
    """The official client writes null for what a registry does not tell."""
    return {key: value for key, value in told.items() if value is not None}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name}")


def _fields(name: str, told: Mapping[str, object]) -> Fields:
    """The values of `told` that can change, each in its one spelling."""
    try:
        return {key: read(key, told[key]) for key, read in _READ[name].items() if key in told}
    except InvalidName as exc:
        raise InvalidName(f"{name}: {exc}") from exc


def _check_filled(name: str, fields: Fields) -> None:
    for key in ("title", "licenseName"):
        if key in fields and not fields[key]:
            raise InvalidName(f"{name}: {key} is empty")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidName(f"{key} is not a text")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidName(f"{key} is not Unicode text")
    return value


def _word(key: str, value: object) -> str:
    return _text(key, value).strip()


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidName(f"{key} is neither true nor false")
    return value


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidName(f"{key} is not a list")
    return tuple(_text(key, item) for item in value)


def _day(key: str, value: object) -> str:
    text = _word(key, value)
    try:
        if text and (not _DATE.fullmatch(text) or not date.fromisoformat(text)):
            raise ValueError
    except ValueError as exc:
        raise InvalidName(f"{key} is not a date like 2024-12-31: {text!r}") from exc
    return text


def _instance_type(key: str, value: object) -> str:
    return metadata.parse_instance_type(_text(key, value))


def _base_model(key: str, value: object) -> str:
    """`owner/model/framework/instance`, with the framework in its one spelling; or nothing."""
    text = _word(key, value)
    parts = text.split("/")
    if not text:
        return ""
    if len(parts) != 4 or not all(parts):
        raise InvalidName(f"{key} is not like owner/model/framework/instance: {text!r}")
    return "/".join((*parts[:2], frameworks.camel(parts[2]), parts[3]))


_Read = Callable[[str, object], object]

_READ: dict[str, dict[str, _Read]] = {
    metadata.MODEL: {
        "title": _word,
        "subtitle": _text,
        "isPrivate": _flag,
        "description": _text,
        "publishTime": _day,
        "provenanceSources": _text,
    },
    metadata.INSTANCE: {
        "overview": _text,
        "usage": _text,
        "licenseName": _word,
        "fineTunable": _flag,
        "trainingData": _texts,
        "modelInstanceType": _instance_type,
        "baseModelInstance": _base_model,
        "externalBaseModelUrl": _word,
    },
}
# The keys that name what a file is about, in the order of a ref's parts.
_IDENTITY = {
    metadata.MODEL: ("ownerSlug", "slug"),
    metadata.INSTANCE: ("ownerSlug", "modelSlug", "framework", "instanceSlug"),
}
# What the official client asks for of a new one, besides.
_REQUIRED = {
    metadata.MODEL: ("title", "isPrivate", "description"),
    metadata.INSTANCE: ("licenseName",),
}
