"""Kaggle's replies as values: checked, since a registry's answers are not trusted. Pure.

What a directory cannot hold (a slug with a slash) is left out with a line in the log; what makes
no sense at all (a page that is not a list) raises Corrupt.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

from modelfs.errors import Corrupt, Error, Forbidden, InvalidName, NotFound
from modelfs.model import NOTES, Document, Entry, File
from modelfs.refs import Ref, name_fault
from modelfs.registry import frameworks, metadata

log = logging.getLogger(__name__)

Reply = Mapping[str, Any]

# An address is not used in its last minute (a tenth of a short life): the request still has to
# get there.
_MARGIN = 60.0
# For addresses that do not say when they expire.
_LIFETIME = 300.0
_GATED = re.compile(r"consent|gated|terms|licen[cs]e|agree|accept", re.IGNORECASE)


def hidden(error: Forbidden, ref: Ref) -> Error:
    """What a 403 for reading `ref` means.

    Kaggle also says 403 for names that do not exist, in the same words as for what is somebody
    else's, so it is "not found"; only a model whose terms wait to be accepted is told apart.
    """
    if _GATED.search(str(error)):
        return Forbidden(f"{ref}: {error}", hint="accept the model's terms on its web page")
    log.info("%s: refused, so shown as missing: %s", ref, error)
    return NotFound(f"not found, or not to be seen by us: {ref}")


def objects(reply: Reply, key: str) -> tuple[Reply, ...]:
    """The list of objects under `key`; a missing or null one is empty."""
    items = reply.get(key)
    if items is None:
        return ()
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Corrupt(f"an answer is no list of objects: {key}")
    return tuple(items)


def text(reply: Reply, key: str) -> str:
    value = reply.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        _wrong(key, value)
    return value


def number(reply: Reply, key: str) -> int:
    """A whole number, also where it comes as text, as protocol buffers write large ones."""
    value = reply.get(key)
    if isinstance(value, str) and len(value) < 20 and re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        _wrong(key, value)
    return value


def _wrong(key: str, value: object) -> NoReturn:
    raise Corrupt(f"an answer holds what makes no sense: {key} is a {type(value).__name__}")


def moment(value: object) -> float | None:
    """Seconds since the epoch of a time as replies write it; None where there is none."""
    return _parsed(value) if isinstance(value, str) and value else None


# The files of a version came at one time, or at few; without this, it is a quarter of a listing.
@lru_cache(1024)
def _parsed(value: str) -> float | None:
    try:
        # More digits than Python reads come from the live service.
        parsed = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value))
        parsed = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return parsed.timestamp()
    except (ValueError, OverflowError):
        return None


def models(items: Iterable[Reply], owner: str) -> tuple[Entry, ...]:
    """The models of `owner` among `items`, sorted."""
    found: dict[str, Entry] = {}
    for item in items:
        slug = text(item, "slug")
        if ref := text(item, "ref"):
            told, _, slug = ref.rpartition("/")
            if told.lower() != owner.lower():
                continue
        if _is_name(slug):
            found.setdefault(slug, Entry(slug, moment(item.get("updateTime"))))
    return _by_name(found)


def instances(items: Iterable[Reply]) -> tuple[Entry, ...]:
    """The frameworks of a model, each with its instances as children, sorted."""
    found: dict[str, dict[str, Entry]] = {}
    for item in items:
        slug, spelled = text(item, "slug"), text(item, "framework")
        try:
            framework = frameworks.parse(spelled)
        except InvalidName:
            log.info("left out an instance of a framework that is not known: %r", spelled)
            continue
        if _is_name(slug):
            found.setdefault(framework, {}).setdefault(slug, Entry(slug, _changed(item)))
    return _by_name({name: Entry(name, children=_by_name(below)) for name, below in found.items()})


def _changed(item: Reply) -> float | None:
    status = item.get("creationStatus")
    return moment(status.get("creationLastUpdate")) if isinstance(status, dict) else None


def versions(items: Iterable[Reply]) -> tuple[Entry, ...]:
    """The versions of an instance, numbers ascending."""
    found: dict[int, Entry] = {}
    for item in items:
        if (value := number(item, "versionNumber")) > 0:
            entry = Entry(str(value), moment(item.get("creationTime")))
            found.setdefault(value, entry)
    return tuple(found[value] for value in sorted(found))


def files(items: Iterable[Reply]) -> Iterator[File]:
    for item in items:
        # Left out it is zero, as protocol buffers write that; null is no size, nor an empty file.
        if item.get("size", 0) is None:
            _wrong("size", None)
        yield File(text(item, "name"), number(item, "size"), moment(item.get("creationDate")))


def model_document(reply: Reply, ref: Ref) -> Document:
    content = metadata.model_document(
        owner=ref.parts[0],
        slug=ref.name,
        title=text(reply, "title"),
        subtitle=text(reply, "subtitle"),
        # Whatever does not say that it is public is not.
        is_private=reply.get("isPrivate") is not False,
        description=text(reply, "description"),
        publish_time=moment(reply.get("publishTime")),
        provenance_sources=text(reply, "provenanceSources"),
    )
    return Document(metadata.MODEL, content, moment(reply.get("updateTime")))


def instance_document(reply: Reply, ref: Ref) -> Document:
    owner, model, framework, slug = ref.parts
    data = reply.get("trainingData")
    content = metadata.instance_document(
        owner=owner,
        model=model,
        slug=slug,
        framework=framework,
        overview=text(reply, "overview"),
        usage=text(reply, "usage"),
        license_name=text(reply, "licenseName"),
        fine_tunable=reply.get("fineTunable") is True,
        training_data=[str(item) for item in data] if isinstance(data, list) else (),
        instance_type=_instance_type(text(reply, "modelInstanceType")),
        base_model_instance=_base_model(reply.get("baseModelInstanceInformation")),
        external_base_model_url=text(reply, "externalBaseModelUrl"),
    )
    return Document(metadata.INSTANCE, content, _changed(reply))


def _instance_type(spelled: str) -> str:
    try:
        return metadata.parse_instance_type(spelled)
    except InvalidName:
        return "UNSPECIFIED"


def _base_model(information: object) -> str:
    """`owner/model/framework/instance`, as metadata files name what an instance was made from."""
    if not isinstance(information, dict):
        return ""
    owner = information.get("owner")
    parts = (
        text(owner, "slug") if isinstance(owner, dict) else "",
        text(information, "modelSlug"),
        text(information, "framework"),
        text(information, "instanceSlug"),
    )
    try:
        return "/".join((*parts[:2], frameworks.camel(parts[2]), parts[3])) if all(parts) else ""
    except InvalidName:
        return ""


def notes(value: object, mtime: float | None) -> tuple[Document, ...]:
    """The NOTES of a version; none where nobody told any."""
    if not isinstance(value, str) or not value:
        return ()
    content = value.encode(errors="replace")
    return (Document(NOTES, content if content.endswith(b"\n") else content + b"\n", mtime),)


def expiry(address: str, now: float) -> float:
    """The time of day until which a signed address is used, from what it says of itself."""
    query = {key.lower(): values[0] for key, values in parse_qs(urlsplit(address).query).items()}
    try:
        if lifetime := query.get("x-goog-expires") or query.get("x-amz-expires"):
            signed = query.get("x-goog-date") or query.get("x-amz-date") or ""
            begun = datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            seconds = float(lifetime)
            return begun.timestamp() + seconds - min(_MARGIN, seconds / 10)
        if ends := query.get("expires"):
            return float(ends) - _MARGIN
    except (ValueError, OverflowError):
        pass
    return now + _LIFETIME


def _is_name(slug: str) -> bool:
    if fault := name_fault(slug):
        log.info("left out a name that is none, %s: %r", fault, slug[:100])
    return not fault


def _by_name(found: Mapping[str, Entry]) -> tuple[Entry, ...]:
    return tuple(found[name] for name in sorted(found))
