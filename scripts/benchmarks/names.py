"""The cases of names: listings of many files, first and again, and single names."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks import rivals
from benchmarks.measure import Case, Pair
from benchmarks.planting import Sizes
from benchmarks.reading import expect
from benchmarks.stage import Stage

# So many files are looked at for the first time once only: it takes ten seconds.
_PATIENCE = 50_000
# A first listing may take so many times as long as a local one, and what the registry takes.
_FACTOR = 4


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases of this module, in the order of the table."""
    found = []
    native, allowed = "the same tree, native", f"{_FACTOR} x native + the registry's pages"
    for count in sizes.many:
        rounds = 3 if count < _PATIENCE else 1
        for name, what, rival, set_up, bar, most in (
            ("ls", f"ls -lR of {count:,} files, first", allowed, _listed, 1.0, rounds),
            ("ls-again", f"ls -lR of {count:,}, again", native, _relisted, None, 5),
            ("stat", f"stat of {count:,} known names", native, _stat, None, rounds),
        ):
            found.append(
                Case(f"{name}-{count}", what, rival, set_up(count), bar, most, files=count)
            )
    return found


def _listed(count: int) -> Callable[[Stage], AbstractContextManager[Pair]]:
    """`ls -lR` of a version that the mount has not seen: the registry is asked for its files."""

    @contextmanager
    def set_up(stage: Stage) -> Iterator[Pair]:
        native = stage.tree(_many(count))
        is_right: list[bool] = []
        local: list[float] = []
        registry: list[float] = []

        def ours() -> float:
            with stage.mount() as mount:
                path = mount.version(_many(count))
                path.parent.stat()
                seconds = _ls(path)
                if not is_right:
                    is_right.append(_sizes(path) == _sizes(native))
                return seconds

        def rival() -> float:
            local.append(_ls(native))
            registry.append(rivals.pages(stage, _many(count)))
            return _FACTOR * local[-1] + registry[-1]

        parts = {"native": local, "the registry's pages": registry}
        yield Pair(ours, rival, lambda: expect(is_right, [True]), parts)

    return set_up


def _relisted(count: int) -> Callable[[Stage], AbstractContextManager[Pair]]:
    """`ls -lR` where it has been done before: the kernel remembers, as it does natively."""

    @contextmanager
    def set_up(stage: Stage) -> Iterator[Pair]:
        native = stage.tree(_many(count))
        with stage.mount() as mount:
            path = mount.version(_many(count))
            for seen in (path, native):
                _ls(seen)
            yield Pair(
                lambda: _ls(path),
                lambda: _ls(native),
                lambda: expect(_sizes(path), _sizes(native)),
            )

    return set_up


def _stat(count: int) -> Callable[[Stage], AbstractContextManager[Pair]]:
    """Names one by one in a new mount that knows the version: each is one question to it."""

    @contextmanager
    def set_up(stage: Stage) -> Iterator[Pair]:
        native = stage.tree(_many(count))
        names = sorted(stage.planted(_many(count)).files)
        cache = stage.fresh("cache")
        is_right: list[bool] = []
        with stage.mount(cache) as mount:
            (mount.version(_many(count)) / names[0]).stat()

        def ours() -> float:
            with stage.mount(cache) as mount:
                path = mount.version(_many(count))
                (path / names[0]).stat()
                seconds = _stats(path, names)
                if not is_right:
                    is_right.append(_sizes(path) == _sizes(native))
                return seconds

        yield Pair(ours, lambda: _stats(native, names), lambda: expect(is_right, [True]))

    return set_up


def _many(count: int) -> str:
    return f"many-{count}"


def _ls(path: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(["ls", "-lR", path], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def _stats(path: Path, names: list[str]) -> float:
    paths = [f"{path}/{name}" for name in names]
    begin = time.perf_counter()
    for name in paths:
        os.stat(name)
    return time.perf_counter() - begin


def _sizes(path: Path) -> dict[str, int]:
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            found[os.path.relpath(file, path)] = os.stat(file).st_size
    return found
