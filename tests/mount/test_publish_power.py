"""A power cut at any step of a publication makes one version, of all files, or none.

What the mount keeps is on a file system of its own, which is shut down at the n-th step as a power
cut does it: what was not written to the disk for certain is gone. Files that were not may be gone
from the draft as well: then nothing is published until somebody has seen to it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mount.careless import Careless
from mount.lanes import PATIENCE, Kinds, Lane, deaths
from polling import wait_for
from serving import Served
from sims.content import Instance, Model, Version, plant

LANES = 6
POINTS = int(os.environ.get("CRASH_POINTS", "12"))
SIZE = 64 << 20
KINDS: Kinds = (
    ("alice/old/other/it-{}/2", Lane.save),
    ("alice/new-{}/jax/it/1", Lane.save_late),
)
ROOT = "mounting a file system of its own takes root, mkfs.ext4 and a loop device"
needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkfs.ext4"), reason=ROOT)


class Disk:
    """An ext4 file system in a file. A context manager."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self._image = folder / "image"

    def plug(self) -> None:
        """Raises CalledProcessError if there are no such devices here."""
        _run("mount", "-o", "loop", self._image, self.path)

    def replug(self) -> None:
        """What a machine does that is switched off and on."""
        # Who was killed may not have let go of all that he had open; others take devices as well.
        wait_for(lambda: _is_done("umount", self.path), PATIENCE, f"{self.path} can be unmounted")
        wait_for(
            lambda: _is_done("mount", "-o", "loop", self._image, self.path),
            PATIENCE,
            f"{self.path} can be mounted",
        )

    def __enter__(self) -> Disk:
        self.path.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(SIZE)
        _run("mkfs.ext4", "-q", self._image)
        try:
            self.plug()
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"{ROOT}: {exc.stderr.decode().strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.path)


class Plugged(Lane):
    """A lane that ends with a power cut."""

    def __init__(self, folder: Path, served: Served, disk: Disk) -> None:
        environ = {"DYING_DISK": str(disk.path)}
        super().__init__(folder, served, served.directory, disk=disk.path, environ=environ)
        self._disk = disk

    def between(self) -> None:
        # A machine without power has no mounts; and this one keeps files of the disk open.
        self.mount.clear()
        self._disk.replug()
        # The machine itself was not stopped.
        for path in self._disk.path.glob("state/drafts/*/journal/*.json"):
            journal = json.loads(path.read_text())
            path.write_text(json.dumps({**journal, "boot": journal["boot"] and "another"}))

    def make_whole(self, draft: Path) -> None:
        """Whoever made it does so again; a proposal that is empty now is made anew."""
        for above in (draft.parent, draft.parents[2]):
            for path in above.glob("*-metadata.json"):
                if not path.stat().st_size:
                    path.unlink()
        self.fill(draft)


@pytest.mark.slow
@pytest.mark.timeout(1200 * max(1, POINTS // 24))
@needs_root
def test_a_power_cut_at_any_step_publishes_all_files_or_nothing(tmp_path: Path) -> None:
    first = Version({"f": b"first"}, "the first")
    instances = [Instance("other", f"it-{n}", (first,)) for n in range(POINTS + 2)]
    plant(tmp_path / "registry", [Model("alice", "old", instances)])
    with ExitStack() as stack:
        served = stack.enter_context(Served(tmp_path / "registry"))
        lanes = [stack.enter_context(_lane(tmp_path / f"{n}", served)) for n in range(LANES)]
        assert deaths(lanes, KINDS, POINTS) >= len(KINDS) * POINTS // 2


@needs_root
def test_a_power_cut_takes_what_a_careless_publisher_said_was_published(tmp_path: Path) -> None:
    with Disk(tmp_path) as disk:
        careless = Careless(tmp_path, disk.path, disk.path)
        every = 1 if POINTS > 24 else 6
        for manner in ("in place", "aside"):
            assert careless.found(manner, every, disk.replug)[True]


@contextmanager
def _lane(folder: Path, served: Served) -> Iterator[Lane]:
    with Disk(folder) as disk:
        lane = Plugged(folder / "lane", served, disk)
        with lane.mount:
            yield lane


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)


def _is_done(*command: str | Path) -> bool:
    return not subprocess.run(
        command, check=False, capture_output=True, timeout=PATIENCE
    ).returncode
