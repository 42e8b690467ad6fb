"""The metadata files of models and instances, as `kaggle models init` lays them out.

Owns the names, keys and spellings of these documents. Pure: plain values in, bytes out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from modelfs.errors import InvalidName
from modelfs.registry import frameworks

MODEL = "model-metadata.json"
INSTANCE = "model-instance-metadata.json"

# The keys that can change, and what they are called in a registry directory.
MODEL_FIELDS = {
    "title": "title",
    "subtitle": "subtitle",
    "isPrivate": "is_private",
    "description": "description",
    "publishTime": "publish_time",
    "provenanceSources": "provenance_sources",
}
INSTANCE_FIELDS = {
    "overview": "overview",
    "usage": "usage",
    "licenseName": "license_name",
    "fineTunable": "fine_tunable",
    "trainingData": "training_data",
    "modelInstanceType": "instance_type",
    "baseModelInstance": "base_model_instance",
    "externalBaseModelUrl": "external_base_model_url",
}

_TYPE_PREFIX = "MODEL_INSTANCE_TYPE_"
_TYPES = ("UNSPECIFIED", "BASE_MODEL", "KAGGLE_VARIANT", "EXTERNAL_VARIANT")
_BY_BARE_TYPE = {words.replace("_", "").lower(): words for words in _TYPES}


def model_document(
    *,
    owner: str,
    slug: str,
    title: str,
    subtitle: str = "",
    is_private: bool = True,
    description: str = "",
    publish_time: float | None = None,
    provenance_sources: str = "",
) -> bytes:
    """The content of a model's metadata file. `publish_time` is in seconds since the epoch."""
    return _encoded(
        {
            "ownerSlug": owner,
            "title": title,
            "slug": slug,
            "subtitle": subtitle,
            "isPrivate": is_private,
            "description": description,
            "publishTime": _date(publish_time),
            "provenanceSources": provenance_sources,
        }
    )


def instance_document(
    *,
    owner: str,
    model: str,
    slug: str,
    framework: str,
    overview: str = "",
    usage: str = "",
    license_name: str = "",
    fine_tunable: bool = False,
    training_data: Sequence[str] = (),
    instance_type: str = "UNSPECIFIED",
    base_model_instance: str = "",
    external_base_model_url: str = "",
) -> bytes:
    """The content of an instance's metadata file; framework and type in any spelling.

    The official template says `baseModelInstanceId`, but its own reader looks for
    `baseModelInstance`, a string: that is what is written here.
    """
    return _encoded(
        {
            "ownerSlug": owner,
            "modelSlug": model,
            "instanceSlug": slug,
            "framework": frameworks.camel(framework),
            "overview": overview,
            "usage": usage,
            "licenseName": license_name,
            "fineTunable": fine_tunable,
            "trainingData": list(training_data),
            "modelInstanceType": instance_type_title(instance_type),
            "baseModelInstance": base_model_instance,
            "externalBaseModelUrl": external_base_model_url,
        }
    )


def parse_instance_type(text: str) -> str:
    """`BASE_MODEL` from any spelling of it; an empty one is `UNSPECIFIED`; else InvalidName."""
    bare = text.replace("_", "").lower()
    bare = bare.removeprefix(_TYPE_PREFIX.replace("_", "").lower())
    if not bare:
        return "UNSPECIFIED"
    if bare not in _BY_BARE_TYPE:
        raise InvalidName(
            f"model instance type is not known: {text!r}",
            hint=f"possible are {', '.join(map(instance_type_title, _TYPES))}",
        )
    return _BY_BARE_TYPE[bare]


def wire_instance_type(text: str) -> str:
    """The wire's enum name: `MODEL_INSTANCE_TYPE_BASE_MODEL`."""
    return _TYPE_PREFIX + parse_instance_type(text)


def instance_type_title(text: str) -> str:
    """As metadata files spell it: `BaseModel`."""
    return "".join(word.capitalize() for word in parse_instance_type(text).split("_"))


def _date(seconds: float | None) -> str:
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):  # a moment that no calendar has
        return ""


def _encoded(document: Mapping[str, object]) -> bytes:
    # A registry's text may hold half a surrogate pair, which no file can: it becomes "?".
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")
