"""A folder of somebody's, to be published as it is: the other material besides drafts.

Nothing in it is changed, moved or linked. A link to a file is that file: whoever names a folder
means what is to be seen in it, and caches of models are made of links. What must not be forgotten
is in the state directory, under the name of the folder and of where it is published to, so that the
same call goes on after a crash. Whoever publishes holds the lock of that name: between processes,
for as long as it takes.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelfs.cache.directory import sync_disk
from modelfs.errors import WrongState
from modelfs.fs import sealing
from modelfs.fs.journal import Item, Journal
from modelfs.fs.sealing import Survey
from modelfs.fs.staging import remove_tree, write_durably
from modelfs.model import NOTES, Document, Traits
from modelfs.refs import Ref

# What the official client leaves out besides the metadata documents, at the top only.
_NOT_CONTENT = frozenset(
    {
        "dataset-metadata.json",
        "datapackage.json",
        "kernel-metadata.json",
        *(f"dataset-cover-image.{kind}" for kind in ("png", "jpg", "jpeg", "webp")),
    }
)
_PIECE = 1 << 24
# Copies that go to the disk together: syncing each of many small ones takes longer than copying.
_AT_ONCE, _COPIES = 64 << 20, 1000


class Folder:
    """The files of `directory`, to be a version below `ref.parent`.

    `notes` are the version's, in place of a file of that name. `documents` say what the metadata
    of new refs above is, by the names of the documents, in place of files of such names. Patterns
    in `ignore` fit paths or names, those with a slash at the end only directories. `state` is for
    journals, `spare` for copies on their way into the cache, on its disk.
    """

    is_given_away = False
    needs_notes = False

    def __init__(
        self,
        directory: Path,
        ref: Ref,
        traits: Traits,
        *,
        state: Path,
        spare: Path,
        notes: str = "",
        documents: Mapping[str, bytes] | None = None,
        ignore: tuple[str, ...] = (),
        has_directories: bool = True,
    ) -> None:
        self._directory = directory
        self._own = traits.documents_of(ref)
        self._above = frozenset(name for names in traits.documents[:-1] for name in names)
        self._notes = notes
        self._documents = documents or {}
        self._ignore = ignore
        self._has_directories = has_directories
        name = "\n".join((traits.identity, str(ref.parent), os.fspath(directory)))
        key = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
        self._journal = state / "folders" / f"{key}.json"
        self._spare = spare / key
        self.receipts = state / "folders" / "receipts"
        self.scratch = state / "folders"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from publishing the same; WrongState if somebody does already."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = self._journal.with_suffix(".lock")
        try:
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(lock, flags, 0o600)
        except OSError as exc:
            raise WrongState(f"the state directory cannot be used: {exc.strerror}") from exc
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WrongState(f"{self._directory} is being published already") from None
            yield
        finally:
            os.close(fd)

    def survey(self) -> Survey:
        found = sealing.survey(self._directory, self._own, self._is_left_out, follows_links=True)
        documents = found.documents
        if self._notes and NOTES in self._own:
            others = tuple(document for document in documents if document.name != NOTES)
            text = f"{self._notes}\n".encode(errors="surrogatepass")  # what is no text is refused
            documents = (*others, Document(NOTES, text))
        return Survey(found.items, documents, found.ignored)

    def _is_left_out(self, path: str, is_directory: bool) -> bool:
        if "/" not in path:
            if is_directory and not self._has_directories:
                return True
            if path in self._above or path in _NOT_CONTENT:
                return True
        name = path.rpartition("/")[2]
        for pattern in self._ignore:
            is_for_directories = pattern.endswith("/")
            bare = pattern.rstrip("/")
            if is_for_directories and not is_directory:
                continue
            if fnmatch.fnmatchcase(path, bare) or fnmatch.fnmatchcase(name, bare):
                return True
        return False

    def path(self, path: str) -> Path:
        return sealing.target(self._directory / path)

    def document(self, ref: Ref, name: str) -> bytes | None:
        if (given := self._documents.get(name)) is not None:
            return given
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None

    def settle(self) -> None:
        try:
            sync_disk(self._directory)
        except OSError as exc:
            raise WrongState(f"the folder cannot be written to disk: {exc.strerror}") from exc

    def keepable(self, items: Iterable[Item]) -> Iterator[tuple[Item, Path]]:
        """Copies: the folder is its owner's, who may write to it at any time."""
        pending = deque(items)
        while pending:
            size = 0
            copied: list[tuple[Item, Path]] = []
            while pending and size < _AT_ONCE and len(copied) < _COPIES:
                item = pending.popleft()
                if copy := self._copied(item, str(len(copied))):
                    copied.append((item, copy))
                    size += item.stamp.size
            try:
                sync_disk(self._spare)
            except OSError:
                return
            yield from copied

    def _copied(self, item: Item, name: str) -> Path | None:
        target = self._spare / name
        try:
            self._spare.mkdir(mode=0o700, parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            source = sealing.open_item(self.path(item.path), item)
            try:
                _copy(source, target)
            finally:
                os.close(source)
        except (OSError, WrongState):
            return None
        return target if sealing.is_unchanged(self.path(item.path), item) else None

    def clean(self) -> None:
        """Remove what was copied."""
        if self._spare.is_dir():
            remove_tree(self._spare)

    def is_as_in(self, journal: Journal) -> bool:
        """True if what is there is what `journal` is about."""
        found = self.survey()
        stamps = {item.path: item.stamp for item in found.items}
        known = {item.path: item.stamp for item in journal.items.values()}
        texts = {document.name: document.content for document in found.documents}
        sent = {document.name: document.content for document in journal.documents}
        return (stamps, texts) == (known, sent)

    def read_journal(self) -> dict[str, Any]:
        try:
            value = json.loads(self._journal.read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write_journal(self, value: dict[str, Any]) -> None:
        write_durably(self._journal, json.dumps(value).encode())

    def forget(self) -> None:
        """There is nothing to go on with: the next call begins anew."""
        self._journal.unlink(missing_ok=True)


def _copy(source: int, target: Path) -> None:
    """Shares the bytes where the disk can."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(target, flags, 0o600)
    try:
        while os.copy_file_range(source, fd, _PIECE):
            pass
    finally:
        os.close(fd)
