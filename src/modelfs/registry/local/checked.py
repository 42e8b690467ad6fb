"""Metadata fields that somebody wants to set: checked, by name and type. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from modelfs.errors import InvalidName
from modelfs.registry.metadata import parse_instance_type

Fields = dict[str, object]


def model(fields: Mapping[str, object]) -> Fields:
    """These fields of a ModelRecord, checked; InvalidName for one that cannot be set so."""
    return _checked(fields, _MODEL)


def instance(fields: Mapping[str, object]) -> Fields:
    """These fields of an InstanceRecord, checked; InvalidName for one that cannot be set so."""
    return _checked(fields, _INSTANCE)


def _checked(fields: Mapping[str, object], known: Mapping[str, _Check]) -> Fields:
    checked: Fields = {}
    for name, value in fields.items():
        if name not in known:
            raise InvalidName(f"field cannot be set: {name}")
        try:
            checked[name] = known[name](value)
        except TypeError as exc:
            raise InvalidName(f"{name}: {exc}") from exc
    return checked


_Check = Callable[[object], object]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _moment(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("not a time")
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("not a list")
    return tuple(_text(item) for item in value)


def _instance_type(value: object) -> str:
    return parse_instance_type(_text(value))


_MODEL: dict[str, _Check] = {
    "title": _text,
    "subtitle": _text,
    "is_private": _flag,
    "description": _text,
    "publish_time": _moment,
    "provenance_sources": _text,
}

_INSTANCE: dict[str, _Check] = {
    "overview": _text,
    "usage": _text,
    "license_name": _text,
    "fine_tunable": _flag,
    "training_data": _texts,
    "instance_type": _instance_type,
    "base_model_instance": _text,
    "external_base_model_url": _text,
}
