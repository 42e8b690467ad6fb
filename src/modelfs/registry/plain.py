"""Entries, documents and manifests as plain JSON values, and back. Pure.

What comes back is checked as little as what this package wrote needs: a shape that is not ours
raises ValueError, and counts as absent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from modelfs.model import Account, Digests, Document, Entry, File, Manifest, Rejected

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How one kind of value is written and read."""

    dump: Callable[[T], Any]
    load: Callable[[Any], T]


def _dump_entry(entry: Entry) -> Any:
    below = None if entry.children is None else [_dump_entry(child) for child in entry.children]
    return [entry.name, entry.mtime, below]


def _load_entry(value: Any) -> Entry:
    name, mtime, below = value
    return Entry(name, mtime, None if below is None else tuple(map(_load_entry, below)))


def _dump_document(document: Document) -> Any:
    # Not every text of a registry is UTF-8; surrogates keep the rest as it is.
    content = document.content.decode("utf-8", "surrogateescape")
    return [document.name, content, document.mtime]


def _load_document(value: Any) -> Document:
    name, content, mtime = value
    return Document(name, content.encode("utf-8", "surrogateescape"), mtime)


def _dump_file(file: File) -> Any:
    digests = file.digests
    return [file.path, file.size, file.mtime, digests.md5, digests.crc32c, digests.sha256]


def _load_file(value: Any) -> File:
    path, size, mtime, md5, crc32c, sha256 = value
    return File(path, size, mtime, Digests(md5, crc32c, sha256))


def _dump_manifest(manifest: Manifest) -> Any:
    return {
        "files": [_dump_file(file) for file in manifest.files],
        "documents": [_dump_document(document) for document in manifest.documents],
        "rejected": [[item.path, item.reason] for item in manifest.rejected],
        "mtime": manifest.mtime,
        "is_final": manifest.is_final,
    }


def _load_manifest(value: Any) -> Manifest:
    return Manifest(
        tuple(map(_load_file, value["files"])),
        tuple(map(_load_document, value["documents"])),
        tuple(Rejected(path, reason) for path, reason in value["rejected"]),
        value["mtime"],
        bool(value["is_final"]),
    )


def _list_of(form: Form[T]) -> Form[tuple[T, ...]]:
    return Form(
        lambda items: [form.dump(item) for item in items],
        lambda values: tuple(form.load(value) for value in values),
    )


ACCOUNT: Form[Account] = Form(lambda account: account.name, Account)
ENTRY = Form(_dump_entry, _load_entry)
ENTRIES = _list_of(ENTRY)
DOCUMENTS = _list_of(Form(_dump_document, _load_document))
MANIFEST = Form(_dump_manifest, _load_manifest)
NAMES: Form[tuple[str, ...]] = Form(list, lambda values: tuple(map(str, values)))


def loaded(form: Form[T], value: Any) -> T | None:
    """The value that `form.dump` wrote, or None for what it cannot have written."""
    if value is None:
        return None
    try:
        return form.load(value)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
