"""A mount that is killed at any step of a publication makes one version of a draft, or none yet.

The real command, the real kernel, the real registry. The mount's process kills itself at the n-th
step after the notes are about to be saved (`dying/sitecustomize.py`); how many steps there are is
counted first. The next mount goes on by itself, or has the draft as it was: then saving the notes
again publishes it.
"""

from __future__ import annotations

import json
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from clients.official import files_of, make_files
from mount.conftest import spec_of
from mounting import Mounted
from polling import wait_for
from published import PUBLISHING, SETTLE, held, status
from serving import Served, own_environ
from sims.content import Instance, Model, Version, plant

FILES = {"a.bin": b"a" * 3000, "dir/deep/b.bin": bytes(range(256)) * 1500, "empty": b""}
WORDS = "what this version is"
FIRST = Version({"f": b"first"}, "the first")
# Mounts of one registry at work at the same time, each with its own state and cache.
LANES = 5
# Deaths, spread evenly over the steps of each kind of publication: there are more steps than that.

POINTS = 20
DEATHS = 60
# A mount that died when it might have asked for the version looks for it for a minute.
RECOVERING = 120.0
# A step that is never reached: to count them.
NEVER = 1_000_000


class Lane:
    """A mount that dies on demand, again and again, and who publishes in it."""

    def __init__(self, folder: Path, what: Served | Path, registry: Path) -> None:
        self._order = folder / "order"
        self._steps = folder / "steps"
        self._home = folder / "home"
        self._registry = registry
        self._drafts = folder / "state" / "drafts"
        self._source = make_files(folder / "source", FILES)
        spec, token = spec_of(what)
        environ = {
            "PYTHONPATH": str(Path(__file__).parents[1] / "dying"),
            "DYING_AT": str(self._order),
            "DYING_LOG": str(self._steps),
        }
        settle = ("--settle", str(SETTLE))
        self.mount = Mounted(folder, spec, *settle, token=token, environ=environ)

    def steps(self, version: str, save: Save) -> int:
        """How many steps there are when nobody dies."""
        assert not self.die(version, save, NEVER)
        return len(self._steps.read_text().splitlines())

    def die(self, version: str, save: Save, at: int) -> bool:
        """Publish, die at that step if there is one, and go on; true if there was."""
        draft = self.mount.path / version
        self.shell(f"mkdir -p '{draft}'; cp -r '{self._source}/.' '{draft}'")
        self._steps.write_text("")
        order = self._order.with_suffix(".new")
        order.write_text(str(at))
        order.rename(self._order)
        save(self, draft)
        wait_for(lambda: self.mount.has_ended or self._is_done(version), PUBLISHING)
        has_died = self.mount.has_ended
        self._order.unlink()
        self.mount.kill()  # at the latest: it would go on counting
        self.mount.start()
        self._recover(version)
        self._check(version)
        return has_died

    def _recover(self, version: str) -> None:
        """Whatever the mount does by itself is done; if it did not publish, the draft is whole."""
        draft = self.mount.path / version
        state = wait_for(
            lambda: found if (found := self._state(version)) in _AT_REST else "", RECOVERING
        )
        if state != "published":
            assert FILES == _files(draft)
            self.save(draft)
            assert "published" == self._state(version), self.mount.log

    def _check(self, version: str) -> None:
        """There is one version more than before, and it is right; nothing is left of the draft."""
        instance, _, number = version.rpartition("/")
        with held(self._registry) as holdings:
            assert [str(n + 1) for n in range(int(number))] == holdings.names(instance)
            assert FILES == holdings.files(version)
            assert WORDS == holdings.notes(version)
        assert FILES == _files(self.mount.path / version)
        wait_for(lambda: [] == self._left(), what="nothing is left of the draft")
        receipts = [json.loads(p.read_text()) for p in self._drafts.glob("*/receipts/*.json")]
        assert 1 == [each["version"] for each in receipts].count(version)

    def _is_done(self, version: str) -> bool:
        return "published" == self._state(version) and not self._left()

    def _left(self) -> list[Path]:
        """What is left of drafts."""
        return [
            p for name in ("journal", "tree", "trash") for p in self._drafts.glob(f"*/{name}/*")
        ]

    def save(self, draft: Path) -> None:
        """Save notes, as a shell does; with a mount that dies meanwhile this is in vain."""
        self.shell(f"echo '{WORDS}' > '{draft}/NOTES' || true")

    def save_late(self, draft: Path) -> None:
        """The same by a program that wrote other files as well, and lives on."""
        try:
            (draft / "a.bin").write_bytes(FILES["a.bin"])
            (draft / "NOTES").write_text(WORDS)
        except OSError:
            pass

    def shell(self, script: str) -> None:
        subprocess.run(
            ["bash", "-ec", script],
            cwd=self._home,
            env=own_environ(self._home),
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )

    def _state(self, version: str) -> str:
        """The state of a draft, or a version; empty if the mount does not say."""
        try:
            return str(status(self.mount.path / version)["state"])
        except OSError:
            return ""


_AT_REST = ("open", "failed", "published")


def _files(folder: Path) -> dict[str, bytes]:
    notes = ("NOTES", "PUBLISH_FAILED.txt")
    return {path: data for path, data in files_of(folder).items() if path not in notes}


Save = Callable[[Lane, Path], None]
KINDS: tuple[tuple[str, Save], ...] = (
    ("alice/old/other/it-{}/2", Lane.save),
    ("alice/new-{}/jax/it/1", Lane.save_late),
)


def points(lane: Lane) -> Iterator[tuple[str, Save, int]]:
    """All there is to do for one registry, after counting the steps: what to publish, and how.

    From the middle outwards: there it is that the next mount takes its time.
    """
    for name, save in KINDS:
        steps = lane.steps(name.format(0), save)
        assert steps >= POINTS
        for n in sorted(range(POINTS), key=lambda n: abs(n - POINTS // 2)):
            yield name.format(n + 1), save, 1 + n * (steps - 1) // (POINTS - 1)


@pytest.fixture
def lanes(tmp_path: Path) -> Iterator[list[list[Lane]]]:
    """Lanes of a registry that is asked over HTTP, and of one that is a directory."""
    with ExitStack() as stack:

        def enter(registry: Path, is_served: bool) -> Iterator[Lane]:
            instances = [Instance("other", f"it-{n}", (FIRST,)) for n in range(POINTS + 1)]
            plant(registry, [Model("alice", "old", instances)])
            what = stack.enter_context(Served(registry)) if is_served else registry
            for number in range(LANES):
                folder = registry.with_name(f"{registry.name}-{number}")
                folder.mkdir()
                lane = Lane(folder, what, registry)
                stack.enter_context(lane.mount)
                yield lane

        yield [list(enter(tmp_path / "served", True)), list(enter(tmp_path / "local", False))]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_mount_killed_at_any_step_publishes_once_what_was_there(
    lanes: list[list[Lane]],
) -> None:
    def work(lane: Lane, todo: deque[tuple[str, Save, int]]) -> int:
        """How often a lane died, doing what no other lane of its registry did."""
        deaths = 0
        while True:
            try:
                version, save, at = todo.popleft()
            except IndexError:
                return deaths
            deaths += lane.die(version, save, at)

    with ThreadPoolExecutor(2 * LANES) as pool:
        works = []
        for of_one in lanes:
            todo = deque(points(of_one[0]))
            works += [pool.submit(work, lane, todo) for lane in of_one]
        deaths = sum(each.result() for each in works)
    # Threads do not take the same number of steps each time: the last may not be reached.
    assert deaths >= DEATHS
