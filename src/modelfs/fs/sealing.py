"""What is in a draft, and whether it can be published: its files, documents and their hashes.

Reads the draft's directory and changes nothing. Every refusal is one sentence that says what to
change. Without recursion, following no link. No lock and no state.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from modelfs.errors import Error, InvalidName, TooLarge, WrongState
from modelfs.fs.journal import Item, Stamp
from modelfs.fs.junk import is_junk
from modelfs.model import NOTES, Bundle, Digests, Document, Traits
from modelfs.refs import file_path_fault

# Notes and metadata are texts that people write.
_DOCUMENT_MOST = 1 << 20
# As the templates of the official client have it: INSERT_TITLE_HERE.
_PLACEHOLDER = re.compile(r"\bINSERT_[A-Z_]+_HERE\b")

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Survey:
    """What is in a draft: its files, sorted by path, its documents, and what is never sent."""

    items: tuple[Item, ...]
    documents: tuple[Document, ...]
    ignored: tuple[str, ...]


def survey(
    directory: Path,
    documents: tuple[str, ...],
    is_left_out: Callable[[str, bool], bool] = lambda path, is_directory: False,
    *,
    follows_links: bool = False,
) -> Survey:
    """Look through a draft, whose `documents` are no files.

    `is_left_out(path, is_directory)` says of what more is not sent, besides what never is. With
    `follows_links` a link to a file is that file.

    Raises InvalidName or TooLarge for what cannot be in a version. Directories without files, which
    no version has, are among what is ignored.
    """
    items: list[Item] = []
    texts: list[Document] = []
    ignored: list[str] = []
    empty: set[str] = set()
    pending = [""]
    while pending:
        below = pending.pop()
        for name, found in _entries(directory, below, follows_links):
            path = f"{below}/{name}" if below else name
            is_directory = stat.S_ISDIR(found.st_mode)
            if is_junk(path) or (path not in documents and is_left_out(path, is_directory)):
                ignored.append(printable(path))
                continue
            if fault := file_path_fault(path) or _kind_fault(found.st_mode):
                raise InvalidName(f"{printable(path)} cannot be published: {fault}")
            if is_directory:
                pending.append(path)
                empty.add(path)
            elif path in documents:
                where = target(directory / path) if follows_links else directory / path
                texts.append(Document(path, _text(where, path), found.st_mtime))
            else:
                items.append(Item(path, Stamp.of(found)))
    _refuse_twins(item.path for item in items)
    for item in items:
        empty.difference_update(_above(item.path))
    items.sort(key=lambda item: item.path)
    ignored += [f"{path}/" for path in empty]
    return Survey(tuple(items), tuple(texts), tuple(sorted(ignored)))


def is_empty(directory: Path, documents: tuple[str, ...]) -> bool:
    """True if a draft has no files yet but documents, and what is never sent."""
    pending = [""]
    while pending:
        below = pending.pop()
        for name, found in _entries(directory, below):
            path = f"{below}/{name}" if below else name
            if is_junk(path) or path in documents:
                continue
            if not stat.S_ISDIR(found.st_mode):
                return False
            pending.append(path)
    return True


def check(traits: Traits, bundle: Bundle, *, needs_notes: bool = True) -> None:
    """Refuse a bundle that no registry with these traits takes."""
    if traits.has_files and not bundle.parts:
        raise InvalidName("there is nothing to publish: there are no files")
    own = [
        document
        for document in bundle.documents
        if document.name in traits.documents_of(bundle.ref)
    ]
    for document in (*own, *(each for _, documents in bundle.parents for each in documents)):
        _check_text(document)
    if NOTES in traits.documents_of(bundle.ref):
        _check_notes(bundle.notes, traits.notes_limit, is_needed=needs_notes)


def hashed(path: Path, item: Item, buffer: memoryview, is_over: Callable[[], bool]) -> Digests:
    """The md5 and sha256 of a file that must not change meanwhile; ends early if `is_over`."""
    fd = open_item(path, item)
    try:
        digests = digests_of(fd, buffer, is_over)
        _check_unchanged(item, fd)
    except OSError as exc:
        raise WrongState(f"{item.path} cannot be read: {exc.strerror}") from exc
    finally:
        os.close(fd)
    return digests


def digests_of(fd: int, buffer: memoryview, is_over: Callable[[], bool]) -> Digests:
    """The md5 and sha256 of an open file, from its first byte; ends early if `is_over`."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    at = 0
    while (count := os.preadv(fd, [buffer], at)) and not is_over():
        md5.update(buffer[:count])
        sha256.update(buffer[:count])
        at += count
    return Digests(md5=md5.hexdigest(), sha256=sha256.hexdigest())


def content(path: Path, item: Item) -> bytes:
    """All bytes of a small file that must not change meanwhile; `item` knows its digests then."""
    fd = open_item(path, item)
    try:
        with os.fdopen(fd, "rb", buffering=0, closefd=False) as file:
            found = file.readall()
        _check_unchanged(item, fd)
    except OSError as exc:
        raise WrongState(f"{item.path} cannot be read: {exc.strerror}") from exc
    finally:
        os.close(fd)
    if not item.digests:
        md5 = hashlib.md5(found, usedforsecurity=False)
        item.digests = Digests(md5=md5.hexdigest(), sha256=hashlib.sha256(found).hexdigest())
    return found


def open_item(path: Path, item: Item) -> int:
    """A descriptor of the file at `path`; WrongState if it is not what it was as `item`."""
    try:
        fd = os.open(path, _FILE)
    except OSError as exc:
        raise WrongState(f"{item.path} cannot be read: {exc.strerror}") from exc
    try:
        _check_unchanged(item, fd)
    except Error:
        os.close(fd)
        raise
    return fd


def is_unchanged(path: Path, item: Item) -> bool:
    """True if the file at `path` is what it was as `item`."""
    try:
        return Stamp.of(os.lstat(path)) == item.stamp
    except OSError:
        return False


def printable(path: str) -> str:
    """A path for people and JSON: names that are no Unicode text are spelled out."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _check_unchanged(item: Item, fd: int) -> None:
    if Stamp.of(os.fstat(fd)) != item.stamp:
        raise WrongState(f"{item.path} changed while it was being published")


def target(path: Path) -> Path:
    """Where the bytes of the file at `path` lie, if it is a link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _entries(
    directory: Path, below: str, follows_links: bool = False
) -> list[tuple[str, os.stat_result]]:
    found = []
    try:
        with os.scandir(directory / below) as entries:
            for entry in entries:
                follows = follows_links and entry.is_file()
                with suppress(FileNotFoundError):  # removed since it was listed
                    found.append((entry.name, entry.stat(follow_symlinks=follows)))
            return found
    except OSError as exc:
        name = printable(below) or "the draft"
        raise WrongState(f"{name} cannot be read: {exc.strerror}") from exc


def _kind_fault(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "it is a symbolic link; put the file itself in its place"
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "it is neither a file nor a directory"
    return ""


def _text(where: Path, path: str) -> bytes:
    try:
        fd = os.open(where, _FILE)
        with os.fdopen(fd, "rb") as file:
            data = file.read(_DOCUMENT_MOST + 1)
    except OSError as exc:
        raise WrongState(f"{path} cannot be read: {exc.strerror}") from exc
    if len(data) > _DOCUMENT_MOST:
        raise TooLarge(f"{path} is longer than {_DOCUMENT_MOST} bytes")
    return data


def _refuse_twins(paths: Iterable[str]) -> None:
    """Refuse names that are one name where case or Unicode forms are not told apart."""
    spelled: dict[str, str] = {}
    for path in paths:
        for name in (path, *_above(path)):
            other = spelled.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
            if other != name:
                raise InvalidName(
                    f"{other} and {name} are one name on some systems: rename one of them"
                )


def _above(path: str) -> Iterable[str]:
    """Every directory above a path, nearest first."""
    while path := path.rpartition("/")[0]:
        yield path


def _check_text(document: Document) -> None:
    try:
        text = document.content.decode()
    except UnicodeDecodeError as exc:
        raise InvalidName(f"{document.name} is not a text in UTF-8") from exc
    if found := _PLACEHOLDER.search(text):
        raise InvalidName(f"{document.name} still has a placeholder to fill in: {found[0]}")


def _check_notes(notes: str, limit: int, *, is_needed: bool) -> None:
    if is_needed and not notes:
        raise InvalidName(f"{NOTES} is missing or empty: write into it what this version is")
    if limit and len(notes) > limit:
        raise TooLarge(f"{NOTES} has {len(notes)} characters: the registry takes {limit} at most")
