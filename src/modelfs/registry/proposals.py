"""A version that is to be, before anybody is asked: blank documents, and what cannot be right.

The rules of Kaggle's model registry, for every registry with its levels. Pure.
"""

from __future__ import annotations

import re

from modelfs.errors import InvalidName
from modelfs.model import NOTES, Bundle, Document, File, Manifest, Part
from modelfs.refs import Ref
from modelfs.registry import described, frameworks, metadata

# Kaggle's own command line has the first two rules. Nobody tells one for instances: those that
# exist have dots too, as `1.1-2b-it`.
_SLUGS = {
    1: (re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*"), "owner", "lower-case, with single - or _"),
    2: (re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*"), "model", "lower-case, with single -"),
    4: (re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*"), "instance", "with -, _ or . between"),
}
_UNPACKED = (".zip", ".tar")
# A create call nests as deep as its directories, and receivers refuse what is deeper.
_DEEPEST = 100

_DESCRIPTION = "".join(
    f"# {title}\n\n"
    for title in (
        "Model Summary",
        "Model Characteristics",
        "Data Overview",
        "Evaluation Results",
    )
)
_USAGE = "".join(
    f"# {title}\n\n"
    for title in (
        "Model Format",
        "Training Data",
        "Model Inputs",
        "Model Outputs",
        "Model Usage",
        "Fine-tuning",
        "Changelog",
    )
)


def blank(ref: Ref, license_name: str) -> tuple[Document, ...]:
    """The documents of a new `ref`, filled in from its name; InvalidName for a wrong name."""
    _check_name(ref)
    if ref.depth == 2:
        owner, slug = ref.parts
        content = metadata.model_document(
            owner=owner, slug=slug, title=slug, description=_DESCRIPTION.rstrip("\n") + "\n"
        )
        return (Document(metadata.MODEL, content),)
    if ref.depth == 4:
        owner, model, framework, slug = ref.parts
        content = metadata.instance_document(
            owner=owner,
            model=model,
            slug=slug,
            framework=framework,
            usage=_USAGE.rstrip("\n") + "\n",
            license_name=license_name,
        )
        return (Document(metadata.INSTANCE, content),)
    return ()


def check(bundle: Bundle) -> None:
    """Raise InvalidName or TooLarge, with one sentence, for what no registry of this kind takes."""
    if bundle.ref.depth != 5:
        raise InvalidName(f"{bundle.ref}: not a place for a version")
    for ref, documents in bundle.parents:
        if ref.parts != bundle.ref.parts[: ref.depth]:
            raise InvalidName(f"{ref}: not above {bundle.ref}")
        _check_name(ref)
        fields(ref, documents)
    _check_notes(bundle)
    _check_paths(bundle.parts)


def fields(ref: Ref, documents: tuple[Document, ...]) -> described.Fields:
    """What the one document of the new `ref` says; empty for levels that have none."""
    if ref.depth not in (2, 4):
        if documents:
            raise InvalidName(f"{ref}: there is no {documents[0].name} of it")
        return {}
    if len(documents) != 1:
        name = metadata.MODEL if ref.depth == 2 else metadata.INSTANCE
        raise InvalidName(f"{ref}: {name} is missing")
    return described.complete(documents[0], ref)


def new(ref: Ref, documents: tuple[Document, ...]) -> described.Fields:
    """`fields`, of a ref whose name a new one can have."""
    _check_name(ref)
    return fields(ref, documents)


def _check_name(ref: Ref) -> None:
    """Raise InvalidName for a last part that a new ref cannot have."""
    if ref.depth == 3:
        frameworks.parse(ref.name)
    elif ref.depth in _SLUGS:
        rule, level, words = _SLUGS[ref.depth]
        if not rule.fullmatch(ref.name):
            raise InvalidName(
                f"not a name of a new {level}: {ref.name!r}", hint=f"letters and digits, {words}"
            )
    elif ref.depth:
        raise InvalidName(f"{ref}: nothing above a version has so many parts")


def _check_notes(bundle: Bundle) -> None:
    for document in bundle.documents:
        if document.name != NOTES:
            raise InvalidName(f"a version has no {document.name}")
        try:
            document.content.decode()
        except UnicodeDecodeError as exc:
            raise InvalidName(f"{NOTES}: not UTF-8 text") from exc


def _check_paths(parts: tuple[Part, ...]) -> None:
    for part in parts:
        if part.path == NOTES:
            raise InvalidName(f"{NOTES} is the version's notes and cannot be one of its files")
        if "/" not in part.path and part.path.lower().endswith(_UNPACKED):
            # Archives are how the official clients send folders. What Kaggle makes of one in a
            # folder nobody tells; ours keeps it, and every publisher compares the result.
            raise InvalidName(
                f"{part.path}: the registry would unpack an archive that is in no folder",
                hint="move it into a folder, or publish what is in it",
            )
        if part.path.count("/") > _DEEPEST:
            raise InvalidName(f"{part.path[:80]}…: deeper than {_DEEPEST} folders")
    rejected = Manifest.of(File(part.path, part.size) for part in parts).rejected
    if rejected:
        raise InvalidName(f"{rejected[0].path}: cannot be published, {rejected[0].reason}")
