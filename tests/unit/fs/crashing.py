"""Dies at every step of a publication in turn, then at one of its recovery, and looks what is left.

Run as a script with an empty directory, how far it is from one such step to the next (1: each),
and whether the files go in one archive ("packed" or "plain"): for n = 1, 2, … a forked child
publishes a draft and dies just before its n-th step (a file opened for writing, flushed, linked,
renamed or removed, a directory made or removed, the registry asked, and the registry having done
what it was asked).
Another child goes on where it was and dies as well; a third one comes through. There must be
exactly one version, with the right bytes. Prints the number of deaths, or the first fault and
exits 1.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

from drafting import DRAFT, NOTES, WAIT, Studio
from forked import WRONG, begin, changes, status
from modelfs.fs import material, packing
from modelfs.fs.drafts import State
from modelfs.fs.nodes import identity
from polling import wait_for
from sims.desk import Desk, Version

FILES = {"a.bin": b"a" * 3000, "dir/b.bin": b"b" * 1500, "empty": b""}

_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.utime"}
_DIED = 9


class Death:
    """Ends the process, as SIGKILL does, just before its n-th step."""

    def __init__(self, steps: int, desk: Desk) -> None:
        self._left = steps
        self._lock = threading.Lock()
        os.fsync = lambda fd: self.step()  # nobody pulls the plug
        material.sync_disk = lambda path: self.step()
        desk.hook = lambda call, moment: self.step()
        sys.addaudithook(self._audit)

    def step(self) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                os._exit(_DIED)

    def _audit(self, name: str, arguments: tuple[object, ...]) -> None:
        if changes(_EVENTS, name, arguments):
            self.step()


def live(directory: Path, steps: int, archive: str) -> None:
    """Publish, or go on with it; dies at that step if there is one."""
    desk = Desk(directory / "desk", archive=archive)
    packing._FEWEST = 1
    desk.piece = 1000
    studio = Studio(directory, desk, uploads=2)
    if not (directory / "drafts").exists():
        studio.staging.start()
        studio.fill(FILES)
        studio.staging.stop()
    Death(steps, desk)
    studio.start()
    if studio.staging.is_draft(DRAFT):
        if studio.state() in (State.OPEN, State.FAILED):
            assert FILES == studio.local_files(), "the draft is not what it was"
            studio.begin()
        wait_for(lambda: not studio.staging.is_draft(DRAFT), WAIT)
    studio.stop()


def check(directory: Path) -> None:
    """Exactly one version, with the right bytes; nothing of the draft is left."""
    desk = Desk(directory / "desk")
    assert 1 == desk.held.creations, f"{desk.held.creations} versions were made"
    assert {DRAFT: Version(FILES, NOTES)} == desk.held.versions
    studio = Studio(directory, desk).start()
    assert [] == studio.staging.drafts()
    for name in ("journal", "tree", "trash"):
        assert [] == list((directory / "drafts" / name).iterdir()), name
    assert 1 == len([p for p in (directory / "drafts/receipts").iterdir() if p.suffix == ".json"])
    for file in desk.manifest(DRAFT).files:
        with studio.cache.open(
            identity("desk", DRAFT, file.path), file.size, file.digests, _never
        ) as opened:
            if opened.is_verified:
                assert FILES[file.path] == opened.read(0, file.size)
    studio.stop()


def _never(start: int, stop: int) -> object:
    raise AssertionError("the registry was asked for bytes")


def main(root: Path, stride: int, how: str) -> None:
    steps, deaths = 1 - stride, 0
    archive = "archive.zip" if how == "packed" else ""
    while True:
        steps += stride
        directory = root / str(steps)
        directory.mkdir()
        # The second death wanders through the recovery; the third life has none.
        lives = (steps, steps * 7 % 61 + 1, 0)
        codes = [status(begin(partial(live, directory, n, archive))) for n in lives]
        deaths += codes.count(_DIED)
        if WRONG in codes or status(begin(partial(check, directory))):
            sys.exit(f"after a death at step {steps}: {codes}")
        shutil.rmtree(directory)
        if codes[0] == 0:
            break
    print(deaths)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
