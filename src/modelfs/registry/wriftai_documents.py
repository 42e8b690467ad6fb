"""WriftAI's models and versions as documents: read, filled in, checked, compared. Pure.

model.json               what can be changed of a model
NOTES                    the release notes of a version, at most 255 characters
schemas.json             what it takes and gives, as JSON Schema
container_image_digest   sha256:…, of the image that was pushed before
version.json             all that the registry says of it; of a new version it may hold
                         `compatibilities` and `configuration`, and nothing else in it counts
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping

from modelfs.errors import InvalidName, TooLarge
from modelfs.model import NOTES, Bundle, Document
from modelfs.refs import Ref
from modelfs.registry import described, replies
from modelfs.registry.wriftai_calls import Reply, is_name

MODEL = "model.json"
SCHEMAS = "schemas.json"
DIGEST = "container_image_digest"
VERSION = "version.json"
OF_VERSION = (NOTES, SCHEMAS, DIGEST, VERSION)
NOTES_LIMIT = 255

Fields = dict[str, object]

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_VISIBILITIES = ("private", "public", "restricted")
_TEXTS = ("description", "overview", "source_url", "license_url", "paper_url")


# What the registry tells.


def model_document(reply: Reply, ref: Ref) -> Document:
    """`model.json` of the model `ref`."""
    content: Fields = {"name": ref.name, "visibility": replies.text(reply, "visibility")}
    content |= {key: replies.text(reply, key) for key in _TEXTS}
    categories = replies.objects(reply, "categories")
    content["category_slugs"] = [replies.text(category, "slug") for category in categories]
    return Document(MODEL, _encoded(content), changed(reply))


def version_documents(reply: Reply) -> tuple[Document, ...]:
    """The documents of a version; the digest is told to who may know it."""
    mtime = changed(reply)
    found = list(replies.notes(reply.get("release_notes"), mtime))
    if isinstance(reply.get("schemas"), dict):
        found.append(Document(SCHEMAS, _encoded(reply["schemas"]), mtime))
    if digest := replies.text(reply, DIGEST):
        found.append(Document(DIGEST, f"{digest}\n".encode(errors="replace"), mtime))
    found.append(Document(VERSION, _encoded(dict(reply)), mtime))
    return tuple(found)


def changed(reply: Reply) -> float | None:
    """When something changed last, in seconds since the epoch."""
    told = (replies.moment(reply.get(key)) for key in ("updated_at", "created_at"))
    return next((moment for moment in told if moment is not None), None)


def _encoded(value: object) -> bytes:
    # A registry's text may hold half a surrogate pair, which no file can: it becomes "?".
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")


# A model that is to be, or to be changed.


def blank(ref: Ref) -> tuple[Document, ...]:
    """The documents of a new `ref`, filled in from its name; InvalidName for a wrong name."""
    if ref.depth > 2:
        raise InvalidName(f"{ref}: nothing above a version has so many parts")
    for name in ref.parts[-1:]:
        if not is_name(name) or name.startswith("."):
            raise InvalidName(
                f"not a name of a new {'owner' if ref.depth == 1 else 'model'}: {name!r}"
            )
    if ref.depth < 2:
        return ()
    return (model_document({"visibility": "private"}, ref),)


def new_model(ref: Ref, documents: tuple[Document, ...]) -> Fields:
    """What the one document of the new `ref` says, as it is sent; nothing for what has none."""
    blank(ref)
    if ref.depth < 2:
        if documents:
            raise InvalidName(f"{ref}: there is no {documents[0].name} of it")
        return {}
    if len(documents) != 1:
        raise InvalidName(f"{ref}: {MODEL} is missing")
    fields = {"visibility": "private", **_fields(_told(documents[0], ref))}
    return {"name": ref.name} | {key: value for key, value in fields.items() if value}


def changes(document: Document, current: Document, ref: Ref) -> Fields:
    """What `document` says otherwise than `current`, the registry's own, as it is sent.

    A key that is not in `document` stays as it is; a text that is empty is taken away.
    """
    known = described.json_object(current)
    told = _told(document, ref)
    # What the registry itself says is right, whatever it is.
    fields = _fields({key: told[key] for key in told if told[key] != known.get(key)})
    changed = {key: value for key, value in fields.items() if value != known.get(key)}
    return {key: None if value == "" else value for key, value in changed.items()}


def _told(document: Document, ref: Ref) -> Mapping[str, object]:
    """The object in a `model.json`, if it is about `ref` and nothing else."""
    if document.name != MODEL or ref.depth != 2:
        raise InvalidName(f"{ref}: there is no {document.name} of it")
    told = described.json_object(document)
    if "name" in told and told["name"] != ref.name:
        raise InvalidName(f"{MODEL}: name is {told['name']!r}, but the path says {ref.name!r}")
    return told


def _fields(told: Mapping[str, object]) -> Fields:
    """The values of a `model.json` that can change, each in its one spelling."""
    read: dict[str, Callable[[str, object], object]] = {"visibility": _visibility}
    read |= dict.fromkeys(_TEXTS, _text) | {"category_slugs": _texts}
    return {key: parse(key, told[key]) for key, parse in read.items() if key in told}


def _visibility(key: str, value: object) -> str:
    if value not in _VISIBILITIES:
        raise InvalidName(f"{MODEL}: {key} is not one of {', '.join(_VISIBILITIES)}: {value!r}")
    return str(value)


def _text(key: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidName(f"{MODEL}: {key} is not a text")
    return value


def _texts(key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidName(f"{MODEL}: {key} is not a list of texts")
    return value


# A version that is to be.


def check(bundle: Bundle) -> None:
    """Raise InvalidName or TooLarge, with one sentence, for what the registry would not take."""
    if bundle.ref.depth != 3:
        raise InvalidName(f"{bundle.ref}: not a place for a version")
    for ref, documents in bundle.parents:
        if ref.parts != bundle.ref.parts[: ref.depth]:
            raise InvalidName(f"{ref}: not above {bundle.ref}")
        new_model(ref, documents)
    if bundle.parts:
        raise InvalidName(
            f"{bundle.parts[0].path}: a version of this registry has no files, but"
            f" {_listed(OF_VERSION)}: the model itself is in a container image"
        )
    new_version(bundle)


def new_version(bundle: Bundle) -> Fields:
    """What is sent to make the version of `bundle`."""
    found = {document.name: document for document in bundle.documents}
    if strange := found.keys() - set(OF_VERSION):
        raise InvalidName(f"a version has no {min(strange)}")
    for name in (NOTES, SCHEMAS, DIGEST):
        if name not in found:
            raise InvalidName(
                f"{name} is missing: a version is {_listed((NOTES, SCHEMAS, DIGEST))}"
            )
    message: Fields = {
        "release_notes": _notes(found[NOTES]),
        "schemas": _schemas(found[SCHEMAS]),
        DIGEST: _digest(found[DIGEST]),
    }
    if VERSION in found:
        message |= _settings(described.json_object(found[VERSION]))
    return message


def _notes(document: Document) -> str:
    notes = _decoded(document)
    if not notes:
        raise InvalidName(f"{NOTES} is empty: write into it what this version is")
    if len(notes) > NOTES_LIMIT:
        raise TooLarge(f"{NOTES} has {len(notes)} characters: the registry takes {NOTES_LIMIT}")
    return notes


def _schemas(document: Document) -> Mapping[str, object]:
    told = described.json_object(document)
    prediction = told.get("prediction")
    if not isinstance(prediction, dict):
        raise InvalidName(f"{SCHEMAS}: prediction is missing, or no object")
    for key in ("input", "output"):
        if not isinstance(prediction.get(key), dict):
            raise InvalidName(f"{SCHEMAS}: prediction.{key} is missing, or no JSON Schema")
    if not isinstance(prediction.get("stream_output", {}), dict):
        raise InvalidName(f"{SCHEMAS}: prediction.stream_output is no JSON Schema")
    return told


def _digest(document: Document) -> str:
    digest = _decoded(document)
    if not _DIGEST.fullmatch(digest):
        raise InvalidName(
            f"{DIGEST} is not sha256: and 64 of the digits 0-9 and a-f: {digest[:80]!r}"
        )
    return digest


def _settings(told: Mapping[str, object]) -> Fields:
    """What of `version.json` is sent with a new version."""
    message: Fields = {}
    flags = told.get("compatibilities")
    if flags is not None:
        if not isinstance(flags, dict) or not all(isinstance(v, bool) for v in flags.values()):
            raise InvalidName(f"{VERSION}: compatibilities is no object of true and false")
        message["compatibilities"] = flags
    configuration = told.get("configuration")
    if configuration is not None:
        if not isinstance(configuration, dict):
            raise InvalidName(f"{VERSION}: configuration is not an object")
        message["configuration"] = configuration
    return message


def _decoded(document: Document) -> str:
    try:
        return document.content.decode().strip()
    except UnicodeDecodeError as exc:
        raise InvalidName(f"{document.name}: not UTF-8 text") from exc


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}"
