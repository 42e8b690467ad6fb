"""What a registry told, kept on disk between runs: JSON documents, one file each.

Part of the cache directory: it can be deleted at any time without loss. A file holds its own
checksum, so one that was cut short counts as absent and nothing has to be synced. Several
processes may use one shelf; the last writer wins. No lock, no state.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelfs.errors import InvalidName
from modelfs.refs import Ref

log = logging.getLogger(__name__)

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

# What a file is called, to begin with, while it is written; older ones nobody writes any more.
_TEMPORARY, _LEFTOVER_AGE = ".new-", 3600.0

# The document that says whose shelf it is; directories are named by hashes.
_OWNER = "registry"
# All that are kept. Others are those of another version of this program.
_KINDS = (_OWNER, "account", "children", "documents", "manifest", "names", "stat")


def shelf_for(cache_dir: Path, identity: str) -> Shelf:
    """The shelf of one registry in a cache directory."""
    return Shelf(_shelves(cache_dir) / _short(identity), identity)


def shelves(cache_dir: Path) -> Iterator[tuple[str, Shelf]]:
    """The registries that something is known of, and their shelves."""
    try:
        found = sorted(_shelves(cache_dir).iterdir())
    except OSError:
        return
    for directory in found:
        shelf = Shelf(directory)
        if isinstance(identity := shelf.read(_OWNER, Ref()), str):
            yield identity, shelf


def find_damaged(cache_dir: Path, *, is_dry: bool) -> list[str]:
    """The documents that do not say what they should, by their paths; removed unless `is_dry`."""
    top = _shelves(cache_dir)
    found = [
        path for each in (top.iterdir() if top.is_dir() else ()) for path in Shelf(each).damaged()
    ]
    for path in () if is_dry else found:
        path.unlink(missing_ok=True)
    return sorted(str(path.relative_to(cache_dir)) for path in found)


def _shelves(cache_dir: Path) -> Path:
    return cache_dir / "metadata"


class Shelf:
    """Documents by kind and ref; what lies below a ref is dropped with it.

    `identity` is that of the registry whose shelf it is, noted with the first document.
    """

    def __init__(self, directory: Path, identity: str = "") -> None:
        self._directory = directory
        self._identity = identity

    def read(self, kind: str, ref: Ref) -> Any:
        """The document, or None where there is none or it is damaged."""
        told, value = _read(self._path(kind, ref)) or ("", None)
        # File names are hashes; the document says whose it is.
        return value if told == f"{kind} {ref}" else None

    def all(self, kind: str) -> Iterator[tuple[Ref, Any]]:
        """All documents of a kind; each says itself what it is about."""
        for path in sorted(self._directory.rglob(f"{kind}.json")):
            told, value = _read(path) or ("", None)
            try:
                ref = Ref.parse(told.removeprefix(f"{kind} "))
            except InvalidName:
                continue
            if path == self._path(kind, ref):
                yield ref, value

    def damaged(self) -> Iterator[Path]:
        """The files of documents that do not say what they should, or that nobody has finished."""
        old = time.time() - _LEFTOVER_AGE
        for path in self._directory.rglob("*"):
            # What goes meanwhile is no finding.
            if path.name.startswith(_TEMPORARY):
                is_found = _is_older(path, old)
            else:
                is_document = path.suffix == ".json" and path.stem in _KINDS
                is_found = is_document and not self._is_sound(path) and path.exists()
            if is_found:
                yield path

    def _is_sound(self, path: Path) -> bool:
        told, _ = _read(path) or ("", None)
        kind, _, text = told.partition(" ")
        try:
            return path == self._path(kind, Ref.parse(text))
        except InvalidName:
            return False

    def write(self, kind: str, ref: Ref, value: Any) -> None:
        """Keep `value`; where the disk refuses, it is not kept."""
        if self._identity and not os.path.exists(self._path(_OWNER, Ref())):
            self._write(_OWNER, Ref(), self._identity)
        self._write(kind, ref, value)

    def _write(self, kind: str, ref: Ref, value: Any) -> None:
        content = json.dumps([f"{kind} {ref}", value], separators=(",", ":")).encode()
        checksum = hashlib.sha256(content).hexdigest().encode()
        path = self._path(kind, ref)
        try:
            mode = self._make(path.parent)
            descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(checksum + b"\n" + content)
                    if mode & _OTHERS_WRITE:
                        os.fchmod(file.fileno(), mode & 0o666)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as exc:
            log.info("the metadata cache keeps nothing now: %s", exc)

    def _make(self, directory: Path) -> int:
        """Make what is missing down to `directory`, as open to others as all shelves are; its mode.

        They are for us alone, unless somebody has made their directory for a group.
        """
        shelves = self._directory.parent
        try:
            mode = stat.S_IMODE(shelves.stat().st_mode) & 0o2777
        except FileNotFoundError:
            mode = 0o700
        if directory != shelves and not directory.is_dir():
            self._make(directory.parent)
        try:
            directory.mkdir(mode=0o700, parents=True)
            if mode & _OTHERS_WRITE:
                directory.chmod(mode)
        except FileExistsError:
            pass
        return mode

    def discard(self, kind: str, ref: Ref) -> None:
        """Forget one document."""
        try:
            self._path(kind, ref).unlink(missing_ok=True)
        except OSError as exc:
            log.info("the metadata cache forgets nothing now: %s", exc)

    def drop(self, ref: Ref) -> None:
        """Forget `ref` and everything below it."""
        shutil.rmtree(self._place(ref), ignore_errors=True)

    def _path(self, kind: str, ref: Ref) -> Path:
        return self._place(ref) / f"{kind}.json"

    def _place(self, ref: Ref) -> Path:
        return self._directory.joinpath(*(_short(part) for part in ref.parts))


def _read(path: Path) -> tuple[str, Any] | None:
    """What a document says it is about, and its value; None where there is none or it is damaged"""
    try:
        checksum, _, content = path.read_bytes().partition(b"\n")
        if checksum.decode("ascii", "replace") != hashlib.sha256(content).hexdigest():
            log.debug("a document of the metadata cache is damaged: %s", path)
            return None
        told, value = json.loads(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as exc:
        log.debug("a document of the metadata cache cannot be read: %s: %s", path, exc)
        return None
    return (told, value) if isinstance(told, str) else None


def _is_older(path: Path, moment: float) -> bool:
    try:
        return path.lstat().st_mtime < moment
    except FileNotFoundError:
        return False


def _short(text: str) -> str:
    """A file name for any text: long enough that no two of a registry are the same."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
