"""What the cases run on: a registry with something in it, its server, and mounts of it.

Everything is in one temporary directory and gone at the end. The commands are those that users
run, each in a process of its own, and nothing of the user's own settings reaches them.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from benchmarks.calm import discard
from benchmarks.planting import Planted, Sizes, newest, plant

MODELFS = Path(sys.executable).parent / "modelfs"
_DEADLINE = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class Mounted:
    """A running mount: where it is, the cache that it fills, and its process."""

    path: Path
    cache: Path
    process: int

    def instance(self, slug: str) -> Path:
        """The directory that a new version of that slug is written to."""
        return self.path / "bench" / "model" / "pytorch" / slug

    def version(self, slug: str) -> Path:
        """The directory of the planted version of that slug."""
        return self.instance(slug) / "1"


class Stage:
    """A served registry with what `sizes` asks for; a context manager."""

    def __init__(self, root: Path, directory: Path, sizes: Sizes) -> None:
        self.root = root
        self.directory = directory
        self.sizes = sizes
        # Where the registry is served, and by which process.
        self.url = ""
        self.server = 0
        self._numbers = itertools.count(1)
        self._planted: dict[str, Planted] = {}
        self._trees: dict[str, Path] = {}
        self._kept: dict[str, object] = {}
        # KiB that each mount which has ended used at most.
        self.peaks: list[int] = []
        self._modelfs = [str(MODELFS)]
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        self._stack.enter_context(self._served())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def planted(self, slug: str) -> Planted:
        """What the version of that slug holds; planted when the first case asks."""
        if slug not in self._planted:
            self._planted[slug] = plant(self.directory / "registry", slug, self.sizes)
        return self._planted[slug]

    def newest(self, slug: str) -> tuple[int, dict[str, str]]:
        """What the registry has as the newest version of that slug: number, digests by path."""
        return newest(self.directory / "registry", slug)

    def tree(self, slug: str) -> Path:
        """Ordinary files with the names and sizes of that version's; made once."""
        if slug not in self._trees:
            top = self._trees[slug] = self.fresh("native")
            for path, file in self.planted(slug).files.items():
                (top / path).parent.mkdir(exist_ok=True)
                (top / path).write_bytes(bytes(file.size))
        return self._trees[slug]

    def plain(self, slug: str) -> Path:
        """The files of that version as ordinary ones, bytes and all; made once."""
        top = self.directory / "plain" / slug
        if not top.exists():
            planted = self.planted(slug)
            for path in planted.files:
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).hardlink_to(planted.native(path))
        return top

    def kept(self, key: str, make: Callable[[], AbstractContextManager[T]]) -> T:
        """What `make` sets up, for all cases that ask by this key; taken away at the end."""
        if key not in self._kept:
            self._kept[key] = self._stack.enter_context(make())
        return cast(T, self._kept[key])

    def fresh(self, name: str) -> Path:
        """A new directory."""
        path = self.directory / f"{name}-{next(self._numbers)}"
        path.mkdir()
        return path

    @property
    def environ(self) -> dict[str, str]:
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(self.directory),
            "LANG": "C.UTF-8",
            "MODELFS_STATE_DIR": str(home / "state"),
        }

    @contextmanager
    def mount(self, cache: Path | None = None, *options: str, url: str = "") -> Iterator[Mounted]:
        """A mount of the registry; with a cache of its own, removed afterwards, if none is given.

        What the registry told is remembered beside the cache, so a cache of its own knows nothing.
        `url` is where the registry is asked, if not at its own address.
        """
        folder = self.fresh("mount")
        path = folder / "mnt"
        path.mkdir()
        words = [*self._modelfs, "mount", str(path), "--foreground", *options]
        cache = cache or folder / "cache"
        words += ["--registry", f"kaggle+{url or self.url}", "--cache-dir", str(cache)]
        with self.running(words, lambda _: path.is_mount(), folder / "log") as process:
            try:
                yield Mounted(path, cache, process)
                self.peaks.append(memory(process)["VmHWM"])
            finally:
                command = [str(MODELFS), "umount", str(path)]
                subprocess.run(command, env=self.environ, check=True, timeout=_DEADLINE)
        discard(folder)

    @contextmanager
    def traced(self, target: Path) -> Iterator[None]:
        """Mounts made meanwhile leave the profiles of their threads in `target`.<number>."""
        before = self._modelfs
        self._modelfs = [sys.executable, str(Path(__file__).with_name("traced.py")), str(target)]
        try:
            yield
        finally:
            self._modelfs = before

    @contextmanager
    def _served(self) -> Iterator[None]:
        registry = self.directory / "registry"
        words = [str(MODELFS), "serve", str(registry), "--open", "--port", "0", "--user", "bench"]

        def is_ready(log: str) -> bool:
            if found := re.search(r"^serving .* at (http://\S+)$", log, re.MULTILINE):
                self.url = found[1]
            return bool(self.url)

        with self.running(words, is_ready, self.directory / "serve.log") as self.server:
            yield

    @contextmanager
    def running(
        self, words: list[str], is_ready: Callable[[str], bool], log: Path
    ) -> Iterator[int]:
        """A command that goes on until the context ends, ready from the start; its process.

        `is_ready` is given what it wrote to `log`.
        """
        with log.open("wb") as sink:
            process = subprocess.Popen(
                words,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            end = time.monotonic() + _DEADLINE
            while not is_ready(log.read_text()):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{words[1]} did not start: {log.read_text()}")
                time.sleep(0.01)
            yield process.pid
        finally:
            process.terminate()
            process.wait(_DEADLINE)


def memory(process: int) -> dict[str, int]:
    """KiB that a process uses now (VmRSS) and used at most (VmHWM), among others."""
    text = Path(f"/proc/{process}/status").read_text()
    return {name: int(value) for name, value in re.findall(r"(Vm\w+):\s+(\d+) kB", text)}
