"""A mount that dies at a chosen step of a publication, and who publishes in it.

Owns its process and what it keeps on disk. What a step is, and how it dies: `dying/sitecustomize`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

from clients.official import files_of, make_files
from modelfs.errors import NotFound
from mount.conftest import spec_of
from mounting import Mounted
from polling import wait_for
from published import SETTLE, held, status
from serving import Served, own_environ

FILES = {"a.bin": b"a" * 3000, "dir/deep/b.bin": bytes(range(256)) * 1500, "empty": b""}
WORDS = "what this version is"
# For whatever is to happen soon, on a machine that has much else to do.
PATIENCE = 120.0
# A mount that died when it might have asked for the version looks for it for a minute, if it is
# not told to do so for a shorter time.
RECOVERING = 300.0
LOOKS = os.environ.get("CRASH_LOOKS", "0 2 5 13")
# A step that is never reached: to count them.
NEVER = 1_000_000


def fault(found: Mapping[str, bytes] | None, *, is_told: bool) -> str:
    """What is wrong with the files of a version after a death, None if it is not there.

    `is_told`: somebody was told that it is published. Empty if nothing is wrong.
    """
    if found is None:
        return "told, and not there" if is_told else ""
    wrong = [path for path in FILES if path in found and FILES[path] != found[path]]
    missing = [path for path in FILES if path not in found]
    return f"wrong: {wrong}, missing: {missing}" if wrong or missing else ""


class Lane:
    """A mount that dies on demand, again and again, and who publishes in it."""

    def __init__(
        self,
        folder: Path,
        what: Served | Path,
        registry: Path,
        *,
        disk: Path | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """What the mount keeps is on `disk`, if that is another place than `folder`."""
        folder.mkdir()
        kept = disk or folder
        self._order = folder / "order"
        self._steps = folder / "steps"
        self._home = folder / "home"
        self._registry = registry
        self._drafts = kept / "state" / "drafts"
        self._source = make_files(folder / "source", FILES)
        spec, token = spec_of(what)
        told = {
            "MODELFS_STATE_DIR": str(kept / "state"),
            "PYTHONPATH": str(Path(__file__).parents[1] / "dying"),
            "DYING_AT": str(self._order),
            "DYING_LOG": str(self._steps),
            "DYING_LOOKS": LOOKS,
            **environ,
        }
        self.mount = Mounted(
            folder,
            spec,
            *("--settle", str(SETTLE)),
            token=token,
            cache=kept / "cache",
            environ=told,
        )

    def steps(self, version: str, save: Save) -> int:
        """How many steps there are when nobody dies."""
        assert not self.die(version, save, NEVER)
        return len(self._steps.read_text().splitlines())

    def die(self, version: str, save: Save, at: int) -> bool:
        """Publish, die at that step if there is one, and go on; true if there was."""
        draft = self.mount.path / version
        self.fill(draft)
        self._steps.write_text("")
        order = self._order.with_suffix(".new")
        order.write_text(str(at))
        order.rename(self._order)
        save(self, draft)
        wait_for(
            lambda: self.mount.has_ended or self._is_done(version),
            PATIENCE,
            f"{version} is published, or its mount dies",
        )
        has_died = self.mount.has_ended
        self._order.unlink()
        self.mount.kill()  # at the latest: it would go on counting
        assert "" == fault(self._held(version), is_told=not has_died)
        self.between()
        self.mount.start()
        self._recover(version)
        self._check(version)
        return has_died

    @property
    def last_steps(self) -> list[str]:
        """What the mount did before it died."""
        return self._steps.read_text().splitlines()[-3:]

    def between(self) -> None:
        """What happens after a death, before the next mount."""

    def make_whole(self, draft: Path) -> None:
        """See that a draft that was not published is as it was."""
        assert FILES == _files(draft)

    def fill(self, draft: Path) -> None:
        """Make a draft, by processes that have ended then."""
        self.shell(f"mkdir -p '{draft}'; cp -r '{self._source}/.' '{draft}'")

    def _recover(self, version: str) -> None:
        """Wait for what the mount does by itself, and publish what it did not."""
        draft = self.mount.path / version
        state = wait_for(
            lambda: found if (found := self._state(version)) in _AT_REST else "",
            RECOVERING,
            f"{version} is at rest",
        )
        if state != "published":
            self.make_whole(draft)
            self.save(draft)
            # Saving waits for it as long as the kernel may be kept waiting, which may be too short.
            wait_for(
                lambda: self._state(version) in ("published", "failed"),
                PATIENCE,
                f"{version} is published at last",
            )
            assert "published" == self._state(version)

    def _check(self, version: str) -> None:
        """There is one version more than before, and it is right; nothing is left of the draft."""
        instance, _, number = version.rpartition("/")
        with held(self._registry) as holdings:
            assert [str(n + 1) for n in range(int(number))] == holdings.names(instance)
            assert "" == fault(holdings.files(version), is_told=True)
            assert FILES.keys() == holdings.files(version).keys()
            assert WORDS == holdings.notes(version)
        assert FILES == _files(self.mount.path / version)
        wait_for(lambda: [] == self._left(), PATIENCE, "nothing is left of the draft")
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
            timeout=PATIENCE,
        )

    def _held(self, version: str) -> dict[str, bytes] | None:
        """What the registry has of a version; None if it has none."""
        with held(self._registry) as holdings:
            try:
                return holdings.files(version)
            except NotFound:
                return None

    def _state(self, version: str) -> str:
        """The state of a draft or a version, "gone" without either; empty if nobody says."""
        is_local = any(self._drafts.glob(f"*/tree/{version}"))
        try:
            return str(status(self.mount.path / version)["state"])
        except FileNotFoundError:
            # A draft that has just become a version is not shown as either for a moment.
            return "" if is_local or self._held(version) is not None else "gone"
        except OSError:
            return ""


_AT_REST = ("open", "failed", "published", "gone")


def _files(folder: Path) -> dict[str, bytes]:
    notes = ("NOTES", "PUBLISH_FAILED.txt")
    return {path: data for path, data in files_of(folder).items() if path not in notes}


Save = Callable[[Lane, Path], None]
Kinds = Sequence[tuple[str, Save]]


def points(kinds: Kinds, steps: Sequence[int], count: int) -> Iterator[tuple[str, Save, int]]:
    """What to publish, how, and at which of its steps to die.

    `count` of each kind, or all its steps if these are fewer, spread over all of them, from the
    middle outwards: it is there that the next mount takes its time. A kind's name has a place for
    a number, from 1 to `count`.
    """
    for n in sorted(range(count), key=lambda n: abs(n - count // 2)):
        for (name, save), most in zip(kinds, steps, strict=True):
            own = min(count, most)
            if n < own:
                yield name.format(n + 1), save, 1 + n * (most - 1) // (own - 1)


def _steps(pool: Executor, lanes: Sequence[Lane], kinds: Kinds, count: int) -> list[int]:
    """How many steps each kind takes: the fewer of two times, each by a lane of its own."""
    counting = [
        [
            pool.submit(lanes[at * len(kinds) + n].steps, name.format(number), save)
            for at, number in enumerate((0, count + 1))
        ]
        for n, (name, save) in enumerate(kinds)
    ]
    return [min(each.result() for each in counted) for counted in counting]


def deaths(lanes: Sequence[Lane], kinds: Kinds, count: int) -> int:
    """Die at all those points, with all lanes at once; how often it came to that.

    Less often than there are points: threads do not take the same number of steps each time.
    """
    todo: deque[tuple[str, Save, int]] = deque()

    def work(lane: Lane) -> int:
        found = 0
        while todo:
            try:
                version, save, at = todo.popleft()
            except IndexError:
                break
            try:
                found += lane.die(version, save, at)
            except BaseException as exc:
                todo.clear()
                exc.add_note(f"{version}, death at step {at}: {lane.last_steps}")
                exc.add_note(lane.mount.log[-4000:])
                raise
        return found

    with ThreadPoolExecutor(len(lanes)) as pool:
        todo.extend(points(kinds, _steps(pool, lanes, kinds, count), count))
        tried = len(todo)
        found = sum(pool.map(work, lanes))
    print(f"{found} deaths at {tried} points")
    return found
