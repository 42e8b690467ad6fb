"""The mounts that are compared: ours, with and without passthrough, and those of others.

Each shows the files of a version as a directory. They stay for the whole run, so that a case finds
in their caches what an earlier one read. Owns how each is started and what it keeps on the disk.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path

from benchmarks import reading
from benchmarks.calm import discard
from benchmarks.measure import Skipped
from benchmarks.stage import Mounted, Stage

_HERE = Path(__file__).parent
_DEADLINE = 120.0


class Kind(Enum):
    """Who shows the files."""

    NATIVE = "an ordinary directory"
    OURS = "modelfs"
    SERVED = "modelfs without passthrough"
    PLAIN = "plain fusepy"
    RCLONE = "rclone mount"


def options(kind: Kind) -> tuple[str, ...]:
    """Those that make a mount of ours one of that kind."""
    return ("--passthrough", "off") if kind is Kind.SERVED else ()


def mount(stage: Stage, kind: Kind, slug: str) -> Mounted:
    """The mount of ours that stays, for one version: a mount may not look again for a later one.

    Read-only, since only one mount can have the drafts, and that is for others.
    """
    stage.planted(slug)
    return stage.kept(
        f"{kind.name} {slug}", lambda: stage.mount(None, "--read-only", *options(kind))
    )


def settle(mounted: Mounted) -> None:
    """Wait until what the mount has read is proven and finished, which comes after the reading.

    Until then the kernel is not given the file, and the disk and a processor are busy with it.
    """
    end = time.monotonic() + _DEADLINE
    while any(mounted.cache.rglob("*.part")):
        if time.monotonic() > end:
            raise RuntimeError(f"files are not finished: {list(mounted.cache.rglob('*.part'))}")
        time.sleep(0.02)


def version(stage: Stage, kind: Kind, slug: str) -> Path:
    """Where that kind shows the files of a planted version."""
    native = stage.plain(slug)
    if kind in (Kind.OURS, Kind.SERVED):
        return mount(stage, kind, slug).version(slug)
    if kind is Kind.PLAIN:
        return stage.kept(kind.name, lambda: _plain(stage)) / slug
    if kind is Kind.RCLONE:
        return stage.kept(f"{kind.name} {slug}", lambda: rclone(stage, slug))
    return native


def forget(stage: Stage, kind: Kind, slug: str, path: Path, *, is_of_disk: bool) -> None:
    """Drop the kernel's pages of a version's file; those of the files below a mount if told to."""
    if kind is not Kind.NATIVE:
        reading.forget(path)
    if not is_of_disk:
        return
    if kind is Kind.NATIVE:
        reading.forget(path)
    elif kind in (Kind.OURS, Kind.SERVED):
        for file in mount(stage, kind, slug).cache.rglob("*"):
            if file.is_file():
                reading.forget(file)
    else:
        raise NotImplementedError(f"nobody asks what is below {kind.value}")


def distant(stage: Stage, delay: float = 0, rate: float = 0) -> str:
    """The address of a server before the registry that lets requests wait; distant.py."""
    return stage.kept(f"distant {delay} {rate}", lambda: _distant(stage, delay, rate))


@contextmanager
def rclone(stage: Stage, slug: str) -> Iterator[Path]:
    """A new `rclone mount` of a version's files, with an empty cache."""
    program = _rclone(stage)
    stage.plain(slug)
    folder = stage.fresh("rclone")
    path = folder / "mnt"
    path.mkdir()
    words = [*_with_fusermount3(folder), str(program), "mount", ":http:", str(path), "--read-only"]
    words += ["--http-url", f"{distant(stage)}/plain/{slug}/", "--config", str(folder / "none")]
    words += ["--cache-dir", str(folder / "cache"), "--vfs-cache-mode", "full"]
    # What cannot change need not be asked for again: the best it can do.
    words += ["--attr-timeout", "1h", "--dir-cache-time", "1h", "--vfs-cache-max-age", "24h"]
    with stage.running(words, lambda _: path.is_mount(), folder / "log"):
        try:
            yield path
        finally:
            _unmount(path)
    discard(folder)


def _with_fusermount3(folder: Path) -> list[str]:
    """Lets a command find a fusermount3 where there is only the older one, which does as well."""
    older = shutil.which("fusermount")
    if shutil.which("fusermount3") or not older:
        return []
    (folder / "fusermount3").symlink_to(older)
    return ["env", f"PATH={folder}:{os.environ['PATH']}"]


def _rclone(stage: Stage) -> Path:
    """The program, installed by scripts/clients when it is first asked for."""
    program = stage.root / ".clients" / "rclone" / "bin" / "rclone"

    def has_it() -> bool:
        if not program.exists():
            command = [str(stage.root / "scripts" / "clients"), "rclone"]
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        return program.exists()

    # Kept, so that what cannot be installed is not tried again for each case.
    if not stage.kept("rclone", lambda: nullcontext(has_it())):
        raise Skipped("scripts/clients could not install rclone")
    return program


@contextmanager
def _plain(stage: Stage) -> Iterator[Path]:
    folder = stage.fresh("plainfuse")
    path = folder / "mnt"
    path.mkdir()
    words = [sys.executable, str(_HERE / "plainfuse.py"), str(stage.directory / "plain"), str(path)]
    with stage.running(words, lambda _: path.is_mount(), folder / "log"):
        try:
            yield path
        finally:
            _unmount(path)


@contextmanager
def _distant(stage: Stage, delay: float, rate: float) -> Iterator[str]:
    found: list[str] = []

    def is_ready(log: str) -> bool:
        found.extend(re.findall(r"^serving at (\S+)$", log, re.MULTILINE))
        return bool(found)

    words = [sys.executable, str(_HERE / "distant.py"), "--upstream", stage.url]
    words += ["--stored", str(stage.directory / "registry")]
    words += ["--plain", str(stage.directory / "plain")]
    words += ["--delay", str(delay), "--rate", str(rate)]
    with stage.running(words, is_ready, stage.fresh("distant") / "log"):
        yield found[0]


def _unmount(path: Path) -> None:
    if os.path.ismount(path):
        subprocess.run(["fusermount", "-u", "-z", path], check=True, timeout=60)
