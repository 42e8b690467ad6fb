"""A registry that takes versions: in memory, or kept in a file that outlives a killed process.

Two levels above the version, `owner/model/number`. Counts what it is asked, and fails on demand:
`hook(call, moment)` is called "before" and "after" each call does its work, and may raise.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import threading
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from modelfs.errors import Expired, InvalidName, NotFound, WrongState
from modelfs.model import (
    NOTES,
    Account,
    Bundle,
    Digests,
    Document,
    Entry,
    File,
    Item,
    Manifest,
    Page,
    Part,
    Query,
    Traits,
)
from modelfs.refs import Ref
from modelfs.registry.base import Body

MODEL = "model.json"


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of a ZIP."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@dataclass
class Version:
    files: dict[str, bytes]
    notes: str


@dataclass
class Upload:
    part: Part
    data: bytes = b""


@dataclass
class Held:
    """All that the registry holds."""

    uploads: dict[str, Upload] = field(default_factory=dict)
    models: dict[Ref, str] = field(default_factory=dict)
    versions: dict[Ref, Version] = field(default_factory=dict)
    creations: int = 0


class Desk:
    """The registry. `piece` is how much of a file arrives at a time."""

    def __init__(
        self, path: Path | None = None, *, tells_digests: bool = False, archive: str = ""
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.hook: Callable[[str, str], None] = lambda call, moment: None
        self.piece = 1 << 20
        # What is changed in what is listed, and how often a new version is listed unfinished.
        self.listed: Callable[[tuple[File, ...]], tuple[File, ...]] = lambda files: files
        self.unfinished = 0
        # How many listings a version that was created is still missing from.
        self.late = 0
        self.refusal: Exception | None = None
        self.received: Counter[str] = Counter()
        self._tells_digests = tells_digests
        self._path = path
        self._lock = threading.Lock()
        self._hidden: dict[Ref, int] = {}
        self.held = pickle.loads(path.read_bytes()) if path and path.exists() else Held()  # noqa: S301
        self.traits = Traits(
            identity="desk",
            levels=("owner", "model", "version"),
            is_listed=(True, True, True),
            documents=((), (MODEL,), (NOTES,)),
            is_writable=True,
            notes_limit=200,
            archive=archive,
        )
        # What is made of an archive: the files in it.
        self.unpack: Callable[[bytes], dict[str, bytes]] = unpacked

    # Read.

    def account(self) -> Account:
        return Account("alice")

    def canonical(self, ref: Ref) -> Ref:
        return ref

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        self._called("children")
        with self._lock:
            if ref not in self.held.models:
                raise NotFound(f"not found: {ref}")
            found = [version for version in self.held.versions if version.parent == ref]
            for version in list(self._hidden):
                if self._hidden[version] <= 0:
                    del self._hidden[version]
                else:
                    self._hidden[version] -= 1
                    found.remove(version)
        self._called("children", "after")
        return tuple(Entry(version.name) for version in found)

    def stat(self, ref: Ref) -> Entry:
        self._called("stat")
        known = {*self.held.models, *(model.parent for model in self.held.models)}
        if ref not in known:
            raise NotFound(f"not found: {ref}")
        return Entry(ref.name)

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        return (Document(MODEL, self.held.models[ref].encode()),)

    def manifest(self, ref: Ref) -> Manifest:
        self._called("manifest")
        version = self.held.versions.get(ref)
        if version is None:
            raise NotFound(f"not found: {ref}")
        files = tuple(
            File(path, len(data), 1.0, _digests(data) if self._tells_digests else Digests())
            for path, data in sorted(version.files.items())
        )
        notes = (Document(NOTES, version.notes.encode() + b"\n"),)
        if self.unfinished:
            self.unfinished -= 1
            return Manifest(files[:1], notes, is_final=False)
        self._called("manifest", "after")
        return Manifest(self.listed(files), notes)

    def item(self, ref: Ref) -> Item:
        self.stat(ref)
        return Item(ref)

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        return Page(tuple(Item(ref.child(entry.name)) for entry in self.children(ref)))

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        self._called("open")
        raise NotFound("no bytes here")

    def close(self) -> None:
        pass

    # Written.

    def blank(self, ref: Ref) -> tuple[Document, ...]:
        return (Document(MODEL, f'{{"title": "{ref.name}"}}\n'.encode()),) if ref.depth == 2 else ()

    def check(self, bundle: Bundle) -> None:
        for part in bundle.parts:
            if part.path.endswith(".exe"):
                raise InvalidName(f"{part.path}: no programs here")

    def begin(self, part: Part) -> str:
        self._called("begin")
        with self._lock:
            session = f"session-{len(self.held.uploads)}"
            self.held.uploads[session] = Upload(part)
            self._keep()
        self._called("begin", "after")
        return session

    def send(self, session: str, part: Part, fd: int, progress: Callable[[int], None]) -> str:
        self._called("send")
        upload = self.held.uploads.get(session)
        if upload is None:
            raise Expired("no such session")
        assert part == upload.part, "a session is used for another file"
        progress(len(upload.data))
        while len(upload.data) < part.size:
            data = os.pread(fd, self.piece, len(upload.data))
            if not data:
                raise WrongState("the file is too short")
            with self._lock:
                upload.data += data
                self.received[part.path] += len(data)
                self._keep()
            self._called("send", "within")
            progress(len(upload.data))
        assert hashlib.sha256(upload.data).hexdigest() == part.digests.sha256
        assert hashlib.md5(upload.data).hexdigest() == part.digests.md5
        self._called("send", "after")
        return f"token of {session}"

    def create(self, bundle: Bundle) -> Ref:
        self._called("create")
        if self.refusal is not None:
            raise self.refusal
        model = bundle.ref.parent
        with self._lock:
            uploads = self.held.uploads
            files: dict[str, bytes] = {}
            for part in bundle.uploads:
                data = uploads[part.token.removeprefix("token of ")].data
                files |= self.unpack(data) if part is bundle.archive else {part.path: data}
            new = {ref: documents for ref, documents in bundle.parents if ref.depth == 2}
            if (model in new) == (model in self.held.models):
                raise WrongState("the model exists already, or does not at all")
            for ref, documents in new.items():
                self.held.models[ref] = documents[0].content.decode()
            numbers = [int(ref.name) for ref in self.held.versions if ref.parent == model]
            version = model.child(str(max(numbers, default=0) + 1))
            self.held.versions[version] = Version(files, bundle.notes)
            self.held.creations += 1
            if self.late:
                self._hidden[version] = self.late
            self._keep()
        self._called("create", "after")
        return version

    def add(self, ref: Ref, documents: tuple[Document, ...]) -> None:
        raise AssertionError("nothing is added")

    def update(self, ref: Ref, document: Document) -> None:
        raise AssertionError("nothing is updated")

    def delete(self, ref: Ref) -> None:
        raise AssertionError("nothing is deleted")

    def _called(self, call: str, moment: str = "before") -> None:
        if moment == "before":
            with self._lock:
                self.calls[call] += 1
        self.hook(call, moment)

    def _keep(self) -> None:
        if self._path is not None:
            new = self._path.with_suffix(".new")
            new.write_bytes(pickle.dumps(self.held))
            new.replace(self._path)


def _digests(data: bytes) -> Digests:
    return Digests(md5=hashlib.md5(data).hexdigest(), sha256=hashlib.sha256(data).hexdigest())
