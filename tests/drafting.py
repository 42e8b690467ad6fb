"""A publisher with its staging, cache and a registry of ours, and short ways to fill a draft."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

from modelfs.cache import BlockCache
from modelfs.fs.course import Patience
from modelfs.fs.drafts import State
from modelfs.fs.publish import Publisher
from modelfs.fs.staging import Staging
from modelfs.model import Manifest
from modelfs.refs import Ref
from polling import wait_for
from sims.desk import Desk

# Waits for nothing that a real registry needs time for.
HASTY = Patience(pause=0.001, longest=0.01, tries=4, looks=(0.0, 0.0, 0.001), settling=0.2)

MODEL = Ref(("alice", "bert"))
DRAFT = MODEL.child("1")
FILES: dict[str, bytes] = {
    "config.json": b"{}\n",
    "empty": b"",
    "weights/a.bin": bytes(range(256)) * 1000,
    "weights/deep/b.bin": b"b" * 70_000,
}
NOTES = "the first of them"

WRITER, OTHER = 100, 200
WAIT = 20.0


class Studio:
    """All that one mount has to publish with. Files are written as the mount writes them."""

    def __init__(
        self,
        directory: Path,
        desk: Desk,
        *,
        settle: float = 0.02,
        patience: Patience = HASTY,
        uploads: int = 4,
    ) -> None:
        self.desk = desk
        self.staging = Staging(directory / "drafts", desk.traits.depth)
        self.cache = BlockCache(directory / "cache", budget=1 << 30, floor=0, workers=5)
        self.published: list[tuple[Ref, Ref]] = []
        # What the last of them was found to be right as.
        self.manifest: Manifest | None = None
        # Processes that run on after they have written something.
        self.alive: set[int] = set()
        self.publisher = Publisher(
            desk,
            self.staging,
            self.cache,
            settle=settle,
            uploads=uploads,
            patience=patience,
            on_published=self._note,
            is_alive=lambda pid: pid in self.alive,
        )

    def start(self) -> Studio:
        self.staging.start()
        self.cache.start()
        self.publisher.start()
        return self

    def stop(self) -> None:
        self.publisher.stop()
        self.cache.stop()
        self.staging.stop()

    def fill(
        self, files: Mapping[str, bytes] = FILES, notes: str | None = NOTES, ref: Ref = DRAFT
    ) -> Ref:
        """Make a draft with these files, written by WRITER, and its NOTES, which tell nobody."""
        self.staging.make(ref)
        for path, data in files.items():
            self.write(path, data, ref)
        if notes is not None:
            self.staging.path(ref, "NOTES").write_text(notes)
        return ref

    def write(self, path: str, data: bytes, ref: Ref = DRAFT) -> None:
        self.publisher.check_writable(ref)
        target = self.staging.path(ref, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.publisher.changed(ref, WRITER, is_notes=False)

    def publish(self, ref: Ref = DRAFT) -> Ref:
        return self.begin(ref).result(WAIT)

    def begin(self, ref: Ref = DRAFT) -> Future[Ref]:
        outcome = self.publisher.noted(ref, OTHER)
        assert outcome is not None
        return outcome

    def state(self, ref: Ref = DRAFT) -> State:
        return self.publisher.draft(ref).state

    def wait_for(self, state: State, ref: Ref = DRAFT) -> None:
        wait_for(lambda: self.state(ref) is state, WAIT, str(state))

    def local_files(self, ref: Ref = DRAFT) -> dict[str, bytes]:
        """What is in the draft, but for notes of ours and of the publisher's."""
        top = self.staging.path(ref)
        found = {
            str(path.relative_to(top)): path.read_bytes()
            for path in top.rglob("*")
            if path.is_file()
        }
        return {path: data for path, data in found.items() if path not in _NOT_FILES}

    def _note(self, draft: Ref, version: Ref, manifest: Manifest | None) -> None:
        self.published.append((draft, version))
        self.manifest = manifest


_NOT_FILES = ("NOTES", "PUBLISH_FAILED.txt")
