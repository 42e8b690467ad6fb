"""What a request of WriftAI's protocol says, checked: bodies, queries, numbers in paths.

Whatever is wrong is told at once, as a list of places and reasons. A key that means nothing is
ignored. Pure: no I/O, no state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from modelfs.errors import InvalidName
from modelfs.refs import is_never_a_slug
from modelfs.registry.local.container_records import VISIBILITIES, NewVersion
from modelfs.registry.local.cursors import Turn

# As in WriftAI's documentation.
_NOTES_MAX = 255
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_PAGE_SIZES, _PAGE_SIZE = range(5, 51), 25
# Ours: a model's name has to be a directory's, and the identifier owner/name:number has to say it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
# Deeper than any schema is, and not as deep as Python's JSON goes.
_DEPTH_MAX = 100

COMPATIBILITIES = (
    "openai_chat_completions",
    "openai_embeddings",
    "openai_images_generations",
    "openai_responses",
    "anthropic_messages",
)

Place = tuple[str | int, ...]
Values = dict[str, Any]


class Invalid(InvalidName):
    """A request that cannot be, with everything that is wrong about it."""

    status: ClassVar[int] = 422

    def __init__(self, faults: Sequence[Mapping[str, object]]) -> None:
        super().__init__("; ".join(str(fault["msg"]) for fault in faults))
        self.faults = faults


class Fault(Exception):
    """What is wrong about one value; `place` is inside of it."""

    def __init__(self, kind: str, message: str, place: Place = ()) -> None:
        super().__init__(message)
        self.kind, self.message, self.place = kind, message, place

    def at(self, *outer: str | int) -> Fault:
        return Fault(self.kind, self.message, (*outer, *self.place))

    def told(self) -> dict[str, object]:
        return {"loc": list(self.place), "msg": self.message, "type": self.kind}


Rule = Callable[[object], object]


def invalid(*faults: Fault) -> Invalid:
    return Invalid([fault.told() for fault in faults])


def new_model(body: Mapping[str, object]) -> Values:
    return _checked(body, _MODEL, required=("name",))


def model_changes(body: Mapping[str, object]) -> Values:
    return _checked(body, _MODEL)


def account_changes(body: Mapping[str, object]) -> Values:
    return _checked(body, _ACCOUNT)


def new_version(body: Mapping[str, object]) -> NewVersion:
    required = ("release_notes", "schemas", "container_image_digest")
    values = _checked(body, _VERSION, required=required)
    configuration = values.pop("configuration", None) or {}
    return NewVersion(**values, **configuration)


def configuration_changes(body: Mapping[str, object]) -> Values:
    return _checked(body, _CONFIGURATION)


def turn(query: Mapping[str, str]) -> Turn:
    """Which page a query asks for."""
    size = query.get("page_size", str(_PAGE_SIZE))
    if not (_NUMBER.fullmatch(size) and int(size) in _PAGE_SIZES):
        reason = f"Input should be from {_PAGE_SIZES[0]} to {_PAGE_SIZES[-1]}"
        raise invalid(Fault("value_error", reason, ("query", "page_size")))
    return Turn(int(size), query.get("cursor", ""))


def one_of(query: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    """The choice that a query makes under `name`; the first one is the default."""
    value = query.get(name, choices[0])
    if value not in choices:
        raise invalid(Fault("enum", _among(choices), ("query", name)))
    return value


def searched(query: Mapping[str, str]) -> str:
    """What a query looks for."""
    if "q" not in query:
        raise invalid(Fault("missing", "Field required", ("query", "q")))
    return query["q"]


def number(text: str) -> int:
    """The number of a version in a path."""
    if not _NUMBER.fullmatch(text):
        message = "Input should be a positive whole number"
        raise invalid(Fault("int_parsing", message, ("path", "number")))
    return int(text)


def _checked(
    body: Mapping[str, object], rules: Mapping[str, Rule], required: Sequence[str] = ()
) -> Values:
    """What `body` says of the things that have a rule; Invalid with all that is wrong."""
    values, faults = {}, []
    for name, rule in rules.items():
        try:
            if name in body:
                values[name] = rule(body[name])
            elif name in required:
                raise Fault("missing", "Field required")
        except Fault as fault:
            faults.append(fault.at("body", name))
    if faults:
        raise invalid(*faults)
    return values


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Fault("string_type", "Input should be a valid string")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise Fault("string_unicode", "Input should be a valid string of Unicode characters")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Fault("list_type", "Input should be a valid list")
    texts = []
    for index, item in enumerate(value):
        try:
            texts.append(_text(item))
        except Fault as fault:
            raise fault.at(index) from None
    return tuple(texts)


def _texts_or_none(value: object) -> tuple[str, ...] | None:
    return None if value is None else _texts(value)


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Fault("dict_type", "Input should be a valid dictionary")
    return value


def _name(value: object) -> str:
    text = _text(value)
    if not _NAME.fullmatch(text) or is_never_a_slug(text):
        message = "Input should be letters, digits, '.', '_' and '-', and begin with one of the two"
        raise Fault("string_pattern_mismatch", message)
    return text


def _names(value: object) -> tuple[str, ...]:
    names = []
    for index, item in enumerate(_texts(value)):
        try:
            names.append(_name(item))
        except Fault as fault:
            raise fault.at(index) from None
    return tuple(names)


def _visibility(value: object) -> str:
    if value not in VISIBILITIES:
        raise Fault("enum", _among(VISIBILITIES))
    return str(value)


def _notes(value: object) -> str:
    text = _text(value)
    if len(text) > _NOTES_MAX:
        message = f"String should have at most {_NOTES_MAX} characters"
        raise Fault("string_too_long", message)
    return text


def _digest(value: object) -> str:
    text = _text(value)
    if not _DIGEST.fullmatch(text):
        message = f"String should match pattern '^{_DIGEST.pattern}$'"
        raise Fault("string_pattern_mismatch", message)
    return text


def _schemas(value: object) -> Mapping[str, Any]:
    """The schemas of a prediction; that they are schemas is for who runs the image to say."""
    given = _object(value)
    if "prediction" not in given:
        raise Fault("missing", "Field required", ("prediction",))
    kept: Values = {}
    try:
        prediction = _object(given["prediction"])
        for name in ("input", "output", "stream_output"):
            if prediction.get(name) is not None:
                kept[name] = _schema(name, prediction[name])
            elif name != "stream_output":
                raise Fault("missing", "Field required", (name,))
    except Fault as fault:
        raise fault.at("prediction") from None
    return {"prediction": kept}


def _schema(name: str, value: object) -> Mapping[str, Any]:
    try:
        schema = _object(value)
    except Fault as fault:
        raise fault.at(name) from None
    if _is_deeper(schema, _DEPTH_MAX):
        raise Fault("value_error", f"Input should be nested up to {_DEPTH_MAX} times", (name,))
    return schema


def _is_deeper(value: object, levels: int) -> bool:
    items: Sequence[object] = ()
    if isinstance(value, dict):
        items = tuple(value.values())
    elif isinstance(value, list):
        items = value
    return levels < 0 or any(_is_deeper(item, levels - 1) for item in items)


def _compatibilities(value: object) -> frozenset[str]:
    """Those that a version has."""
    given = {} if value is None else _object(value)
    for name in COMPATIBILITIES:
        if not isinstance(given.get(name, False), bool):
            raise Fault("bool_type", "Input should be a valid boolean", (name,))
    return frozenset(name for name in COMPATIBILITIES if given.get(name, False))


def _configuration(value: object) -> Values | None:
    if value is None:
        return None
    given, values = _object(value), {}
    for name, rule in _CONFIGURATION.items():
        try:
            if name in given:
                values[name] = rule(given[name])
        except Fault as fault:
            raise fault.at(name) from None
    return values


def _among(choices: Sequence[str]) -> str:
    return f"Input should be one of: {', '.join(choices)}"


_ACCOUNT: dict[str, Rule] = {
    "name": _text,
    "display_name": _text_or_none,
    "bio": _text_or_none,
    "urls": _texts_or_none,
    "company": _text_or_none,
    "location": _text_or_none,
}
_MODEL: dict[str, Rule] = {
    "name": _name,
    "visibility": _visibility,
    "description": _text_or_none,
    "overview": _text_or_none,
    "source_url": _text_or_none,
    "license_url": _text_or_none,
    "paper_url": _text_or_none,
    "category_slugs": _names,
}
_CONFIGURATION: dict[str, Rule] = {"hardware_identifier": _name, "variable_names": _texts}
_VERSION: dict[str, Rule] = {
    "release_notes": _notes,
    "schemas": _schemas,
    "container_image_digest": _digest,
    "compatibilities": _compatibilities,
    "configuration": _configuration,
}
