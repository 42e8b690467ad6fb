"""A mount that is killed at any step of work in a draft has kept all that it has acknowledged.

The same calls go to a draft and to a directory of the disk, side by side, until the mount's process
kills itself at the n-th step (`dying/sitecustomize.py`); how many there are is counted first. The
next mount shows what the directory has: every call that had come back, and the one that had not
either done or not.
`scripts/crashes drafts` dies at every step; here it is some of them (CRASH_POINTS).
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from model.test_draft_files import Place, tree
from mounting import Mounted
from polling import wait_for
from published import BASE
from sims.content import BERT, plant

POINTS = int(os.environ.get("CRASH_POINTS", "3"))
# A step that is never reached: to count them.
NEVER = 1_000_000
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
GONE = ("ENOTCONN", "ECONNABORTED", "EIO")

# As programs save: in place, beside it and renamed, and added to.
CALLS: tuple[tuple[Any, ...], ...] = (
    ("mkdir", "a", 0o755),
    ("open", 0, "a/one", NEW, 0o644),
    ("write", 0, b"1" * 5000),
    ("fsync", 0),
    ("open", 1, "a/two", NEW, 0o600),
    ("write", 1, b"2" * 140_000),
    ("pwrite", 1, b"middle", 70_000),
    ("ftruncate", 1, 100_000),
    ("write", 1, b"more" * 1000),
    ("close", 1),
    ("rename", "a/two", "a/one"),
    ("write", 0, b"of a file that has no name any more"),
    ("close", 0),
    ("open", 2, "a/one", os.O_WRONLY | os.O_APPEND, 0),
    ("write", 2, b"at its end"),
    ("link", "a/one", "b"),
    ("symlink", "a/one", "c"),
    ("chmod", "b", 0o444),
    ("setxattr", "a/one", b"value", 0),
    ("write", 2, b"and once more"),
    ("fsync", 2),
    ("unlink", "b"),
    ("open", 0, "a/one", os.O_RDWR | os.O_TRUNC, 0),
    ("pwrite", 0, b"behind a hole", 200_000),
    ("truncate", "a/one", 150_000),
    ("mkdir", "d", 0o755),
    ("rename", "a", "d/e"),
    ("utime", "d/e/one", 10**18),
    ("write", 0, b"in another directory"),
    ("unlink", "c"),
    ("rmdir", "d"),  # is not empty
    ("close", 0),
    ("close", 2),
)


class Desk:
    """A mount that dies on demand, and who works in its drafts."""

    def __init__(self, folder: Path, registry: Path, passthrough: str) -> None:
        self._folder = folder
        self._order, self._log = folder / "order", folder / "steps"
        folder.mkdir()
        self.mount = Mounted(
            folder,
            f"local:{registry}",
            *("--passthrough", passthrough),
            environ={
                "PYTHONPATH": str(Path(__file__).parents[1] / "dying"),
                "DYING_AT": str(self._order),
                "DYING_LOG": str(self._log),
            },
        )

    def steps(self) -> int:
        assert not self.die(NEVER)
        return len(self._log.read_text().splitlines())

    def die(self, at: int) -> bool:
        """Work until it dies at that step; whether it did. The next mount has to have it all."""
        name = f"draft-{at}"
        draft, directory = self.mount.path / BASE / name, self._folder / name
        draft.mkdir()
        directory.mkdir()
        self._log.write_text("")
        self._order.with_suffix(".new").write_text(str(at))
        self._order.with_suffix(".new").rename(self._order)
        ours, theirs = Place(draft), Place(directory)
        begun: tuple[Any, ...] | None = None
        for call in CALLS:
            actual = ours.do(*call)
            if actual in GONE or is_short(call, actual):
                wait_for(lambda: self.mount.has_ended, 60)
                begun = call
                if isinstance(actual, int):  # of a write in two requests the first one
                    theirs.do(*part_of(call, 0, actual))
                    begun = part_of(call, actual, len(call[2]))
                break
            assert theirs.do(*call) == actual, call
        self._order.unlink()
        with suppress(OSError):
            ours.close_all()
        self.mount.kill()
        self.mount.start()
        found = tree(draft)
        if begun is not None and found != tree(directory):
            theirs.do(*begun)
        assert tree(directory) == found, (at, begun, self._log.read_text().splitlines()[-3:])
        theirs.close_all()
        shutil.rmtree(draft)
        return begun is not None


def is_short(call: tuple[Any, ...], actual: object) -> bool:
    return call[0] in ("write", "pwrite") and isinstance(actual, int) and actual < len(call[2])


def part_of(call: tuple[Any, ...], start: int, stop: int) -> tuple[Any, ...]:
    """A write of some of the bytes alone."""
    name, slot, data, *offset = call
    return (name, slot, data[start:stop], *(place + start for place in offset))


@pytest.mark.slow
@pytest.mark.timeout(600 + 20 * POINTS)
@pytest.mark.parametrize("passthrough", ["off", "auto"])
def test_a_mount_killed_at_any_step_in_a_draft_has_kept_what_it_said(
    tmp_path: Path, passthrough: str
) -> None:
    plant(tmp_path / "registry", [BERT])
    desk = Desk(tmp_path / "mount", tmp_path / "registry", passthrough)
    with ExitStack() as stack:
        stack.enter_context(desk.mount)
        steps = desk.steps()
        points = sorted({1 + n * steps // POINTS for n in range(POINTS)})
        deaths = sum(desk.die(at) for at in points)
    print(f"{deaths} deaths at {len(points)} of {steps} steps, passthrough {passthrough}")
    assert deaths >= len(points) // 2
