"""The cases: what is compared with what. A new one is a function here and a line in CASES."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import reading, rivals
from benchmarks.measure import Case, Pair
from benchmarks.planting import Sizes
from benchmarks.stage import Mounted, Stage

_LARGE, _FILE = "large", "weights.bin"
# Enough that starting to measure costs nothing, few enough for a mount at tens of microseconds.
_RANDOM_BYTES, _RANDOM_READS = 64 << 20, 10_000


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases, in the order of the table."""
    native = "the same file, native"
    found = [
        Case("read-warm", "read a cached file in order", native, _in_order),
        Case("read-again", "the same, from the kernel's page cache", native, _again),
        Case("random-4k", "4 KiB at random places of a cached file", native, partial(_random, 4)),
        Case("random-1m", "1 MiB at random places of it", native, partial(_random, 1024)),
        Case("cold-curl", "read a file nobody has read", "curl of its address", partial(_cold, 1)),
        Case("cold-curl-8", "the same", "8 curls, a range each", partial(_cold, 8)),
        Case("cold-kagglehub", "the same", "kagglehub.model_download", _cold_kagglehub, rounds=3),
        Case("first-byte", "first byte of a listed file", "one ranged GET", _first_byte),
        Case("first-byte-new", "the same, by path in a new mount", "one ranged GET", _first_look),
    ]
    for count in sizes.many:
        name = "the same tree, native"
        found += [
            Case(
                f"ls-{count}", f"ls -lR of {count:,} files, first", name, _listed(count), 3, count
            ),
            Case(
                f"ls-again-{count}", f"ls -lR of {count:,}, again", name, _relisted(count), 5, count
            ),
            Case(f"stat-{count}", f"stat of {count:,} known names", name, _stat(count), 3, count),
        ]
    return found


# Reading what is in the cache.


@contextmanager
def _cached(stage: Stage) -> Iterator[tuple[Path, Path]]:
    """A file whose bytes a mount has in its cache, and the same bytes as an ordinary file."""
    native = stage.planted(_LARGE).native(_FILE)
    with stage.mount() as mount:
        path = mount.version(_LARGE) / _FILE
        reading.in_order(path)
        reading.in_order(native)
        yield path, native


@contextmanager
def _in_order(stage: Stage) -> Iterator[Pair]:
    with _cached(stage) as (path, native):

        def ours() -> float:
            reading.forget(path)
            return reading.in_order(path)

        yield Pair(ours, lambda: reading.in_order(native), _same(path, stage))


@contextmanager
def _again(stage: Stage) -> Iterator[Pair]:
    with _cached(stage) as (path, native):
        yield Pair(
            lambda: reading.in_order(path), lambda: reading.in_order(native), _same(path, stage)
        )


@contextmanager
def _random(kib: int, stage: Stage) -> Iterator[Pair]:
    size = kib << 10
    count = min(_RANDOM_READS, max(stage.sizes.large, _RANDOM_BYTES) // size)
    with _cached(stage) as (path, native):

        def ours() -> float:
            reading.forget(path)
            return reading.at_random(path, size, count)

        yield Pair(ours, lambda: reading.at_random(native, size, count), _same(path, stage))


# Reading what is in no cache but the server's.


@contextmanager
def _cold(ranges: int, stage: Stage) -> Iterator[Pair]:
    file = stage.planted(_LARGE).files[_FILE]
    url = rivals.address(stage, _LARGE, _FILE)
    seen: dict[str, str] = {}

    def ours() -> float:
        with stage.mount() as mount:
            path = mount.version(_LARGE) / _FILE
            path.stat()
            seconds = reading.in_order(path)
            if "ours" not in seen:
                seen["ours"] = reading.sha256(path)
        return seconds

    def rival() -> float:
        folder = stage.fresh("curl")
        seconds = rivals.curl(url, file.size, ranges, folder)
        if "rival" not in seen:
            hasher = hashlib.sha256()
            for piece in sorted(folder.iterdir()):
                hasher.update(piece.read_bytes())
            seen["rival"] = hasher.hexdigest()
        shutil.rmtree(folder)
        return seconds

    yield Pair(ours, rival, lambda: _expect(set(seen.values()), {file.digests.sha256}))


@contextmanager
def _cold_kagglehub(stage: Stage) -> Iterator[Pair]:
    file = stage.planted(_LARGE).files[_FILE]
    kagglehub = rivals.Kagglehub(stage)
    seen: dict[str, str] = {}

    def ours() -> float:
        copy = stage.fresh("copy")
        with stage.mount() as mount:
            begin = time.perf_counter()
            shutil.copytree(mount.version(_LARGE), copy / "version")
            seconds = time.perf_counter() - begin
        if "ours" not in seen:
            seen["ours"] = reading.sha256(copy / "version" / _FILE)
        shutil.rmtree(copy)
        return seconds

    def rival() -> float:
        cache = stage.fresh("kagglehub")
        seconds, path = kagglehub.download(_LARGE, cache)
        if "rival" not in seen:
            seen["rival"] = reading.sha256(path / _FILE)
        shutil.rmtree(cache)
        return seconds

    rival()  # the server packs a version when it is first asked for; only the first one waits
    yield Pair(ours, rival, lambda: _expect(set(seen.values()), {file.digests.sha256}))


@contextmanager
def _first_byte(stage: Stage) -> Iterator[Pair]:
    with _first_bytes(stage, lambda path: path.stat()) as pair:
        yield pair


@contextmanager
def _first_look(stage: Stage) -> Iterator[Pair]:
    with _first_bytes(stage, lambda path: None) as pair:
        yield pair


@contextmanager
def _first_bytes(stage: Stage, before: Callable[[Path], object]) -> Iterator[Pair]:
    with stage.planted(_LARGE).native(_FILE).open("rb") as file:
        expected = file.read(1)
    url = rivals.address(stage, _LARGE, _FILE)

    def ours() -> float:
        with stage.mount() as mount:
            path = mount.version(_LARGE) / _FILE
            before(path)
            begin = time.perf_counter()
            with path.open("rb", buffering=0) as file:
                found = file.read(1)
            seconds = time.perf_counter() - begin
        _expect(found, expected)
        return seconds

    def rival() -> float:
        seconds, found = rivals.first_byte(url)
        _expect(found, expected)
        return seconds

    yield Pair(ours, rival, lambda: None)


# Names.


def _listed(count: int) -> Callable[[Stage], AbstractContextManager[Pair]]:
    """`ls -lR` in a mount that has seen nothing: the registry is asked for the list of files."""

    @contextmanager
    def set_up(stage: Stage) -> Iterator[Pair]:
        def ours() -> float:
            with stage.mount() as mount:
                return _ls(mount.version(f"many-{count}"))

        with _tree(stage, count) as (native, _), stage.mount() as mount:
            path = mount.version(f"many-{count}")
            yield Pair(ours, lambda: _ls(native), lambda: _same_tree(path, native))

    return set_up


def _relisted(count: int) -> Callable[[Stage], AbstractContextManager[Pair]]:
    """`ls -lR` where it has been done before: the kernel remembers, as it does natively."""

    @contextmanager
    def set_up(stage: Stage) -> Iterator[Pair]:
        with _tree(stage, count) as (native, mount):
            path = mount.version(f"many-{count}")
            _ls(path)
            yield Pair(lambda: _ls(path), lambda: _ls(native), lambda: _same_tree(path, native))

    return set_up


def _stat(count: int) -> Callable[[Stage], AbstractContextManager[Pair]]:
    """Names one by one in a new mount that knows the version: each is one question to it."""

    @contextmanager
    def set_up(stage: Stage) -> Iterator[Pair]:
        with _tree(stage, count) as (native, first):
            names = sorted(stage.planted(f"many-{count}").files)
            (first.version(f"many-{count}") / names[0]).stat()

            def ours() -> float:
                with stage.mount(first.cache) as mount:
                    path = mount.version(f"many-{count}")
                    (path / names[0]).stat()
                    return _stats(path, names)

            yield Pair(
                ours,
                lambda: _stats(native, names),
                lambda: _same_tree(first.version(f"many-{count}"), native),
            )

    return set_up


@contextmanager
def _tree(stage: Stage, count: int) -> Iterator[tuple[Path, Mounted]]:
    """The files of a version as ordinary ones, sizes and all; and a mount."""
    files = stage.planted(f"many-{count}").files
    native = stage.fresh("native")
    for path, file in files.items():
        target = native / path
        try:
            target.write_bytes(bytes(file.size))
        except FileNotFoundError:
            target.parent.mkdir(parents=True)
            target.write_bytes(bytes(file.size))
    with stage.mount() as mount:
        yield native, mount
    shutil.rmtree(native)


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


# Whether what was measured was right.


def _same(path: Path, stage: Stage) -> Callable[[], None]:
    expected = stage.planted(_LARGE).files[_FILE].digests.sha256

    def check() -> None:
        _expect(reading.sha256(path), expected)

    return check


def _same_tree(path: Path, native: Path) -> None:
    _expect(_sizes(path), _sizes(native))


def _sizes(path: Path) -> dict[str, int]:
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            found[os.path.relpath(file, path)] = os.stat(file).st_size
    return found


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise RuntimeError(f"what was read is wrong: {str(found)[:200]}, not {str(expected)[:200]}")
