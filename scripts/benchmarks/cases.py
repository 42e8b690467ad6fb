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

from benchmarks import commands, reading, rivals, writing
from benchmarks.measure import Case, Pair
from benchmarks.planting import Sizes
from benchmarks.stage import Stage

# So many files are looked at for the first time once only.
_PATIENCE = 50_000

_LARGE, _MEDIUM, _FILE = "large", "medium", "weights.bin"
# Half a second on a mount, at tens of microseconds each.
_RANDOM_READS = 10_000
_SERVED = ("--passthrough", "off")


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases, in the order of the table."""
    native = "the same file, native"
    found = [
        Case("read-warm", "read a cached file in order", native, _in_order),
        Case("load-warm", "load it into new memory", native, _loaded),
        Case("read-warm-served", "the same without passthrough", native, _in_order_served),
        Case("read-again-served", "the same, from the kernel's page cache", native, _again),
        Case("random-4k", "4 KiB at random places of it", native, partial(_random, 4, ())),
        Case(
            "random-4k-served", "the same without passthrough", native, partial(_random, 4, _SERVED)
        ),
        Case("random-1m", "1 MiB at random places of it", native, partial(_random, 1024, ())),
        Case(
            "cold-curl", "read a file nobody has read", "curl of its address", partial(_cold, 1), 2
        ),
        Case("cold-curl-8", "the same", "8 curls, a range each", partial(_cold, 8), 2),
        Case("cold-kagglehub", "copy a new version", "kagglehub.model_download", _copied, 2),
        Case("first-byte", "first byte of a listed file", "one ranged GET", _first_byte),
        Case("first-byte-new", "the same, by path in a new mount", "one ranged GET", _first_look),
    ]
    for count in sizes.many:
        name = "the same tree, native"
        # A first look at the largest tree takes ten seconds; its spread is small.
        rounds = 3 if count < _PATIENCE else 1
        first = f"ls -lR of {count:,} files, first"
        found += [
            Case(f"ls-{count}", first, name, _listed(count), rounds, count),
            Case(
                f"ls-again-{count}", f"ls -lR of {count:,}, again", name, _relisted(count), 5, count
            ),
            Case(
                f"stat-{count}", f"stat of {count:,} known names", name, _stat(count), rounds, count
            ),
        ]
    return found + writing.cases(sizes) + commands.cases()


# Reading what is in the cache.


@contextmanager
def _cached(stage: Stage, options: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """A file whose bytes a mount has in its cache, and the same bytes as an ordinary file."""
    native = stage.planted(_LARGE).native(_FILE)
    with stage.mount(None, *options) as mount:
        path = mount.version(_LARGE) / _FILE
        reading.in_order(path)
        reading.in_order(native)
        # The kernel tells of a close later, and until then nobody else is passed through; this
        # question comes behind it.
        os.statvfs(path)
        yield path, native


@contextmanager
def _from_cache(
    read: Callable[[Path], float], options: tuple[str, ...], stage: Stage
) -> Iterator[Pair]:
    """`read` of bytes that the mount's cache has and the kernel's pages of the mount have not."""
    with _cached(stage, options) as (path, native):

        def ours() -> float:
            reading.forget(path)
            return read(path)

        yield Pair(ours, lambda: read(native), _same(path, stage))


_in_order = partial(_from_cache, reading.in_order, ())
_in_order_served = partial(_from_cache, reading.in_order, _SERVED)
_loaded = partial(_from_cache, reading.whole, ())


@contextmanager
def _again(stage: Stage) -> Iterator[Pair]:
    with _cached(stage, _SERVED) as (path, native):
        yield Pair(
            lambda: reading.in_order(path), lambda: reading.in_order(native), _same(path, stage)
        )


def _random(kib: int, options: tuple[str, ...], stage: Stage) -> AbstractContextManager[Pair]:
    size = kib << 10
    count = min(_RANDOM_READS, stage.sizes.large // size)
    return _from_cache(partial(reading.at_random, size=size, count=count), options, stage)


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
def _copied(stage: Stage) -> Iterator[Pair]:
    file = stage.planted(_MEDIUM).files[_FILE]
    official = rivals.Official(stage)
    seen: dict[str, str] = {}

    def ours() -> float:
        copy = stage.fresh("copy")
        with stage.mount() as mount:
            begin = time.perf_counter()
            shutil.copytree(mount.version(_MEDIUM), copy / "version")
            seconds = time.perf_counter() - begin
        if "ours" not in seen:
            seen["ours"] = reading.sha256(copy / "version" / _FILE)
        shutil.rmtree(copy)
        return seconds

    def rival() -> float:
        cache = stage.fresh("kagglehub")
        seconds, path = official.download(_MEDIUM, cache)
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
        native = stage.tree(_many(count))
        is_right: list[bool] = []

        def ours() -> float:
            with stage.mount() as mount:
                path = mount.version(_many(count))
                seconds = _ls(path)
                if not is_right:
                    is_right.append(_sizes(path) == _sizes(native))
                return seconds

        yield Pair(ours, lambda: _ls(native), lambda: _expect(is_right, [True]))

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
                lambda: _expect(_sizes(path), _sizes(native)),
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

        yield Pair(ours, lambda: _stats(native, names), lambda: _expect(is_right, [True]))

    return set_up


def _opened(count: int) -> Callable[[Stage], AbstractContextManager[Pair]]:
    """Open, read and close small files whose names are known, each for the first time."""

    @contextmanager
    def set_up(stage: Stage) -> Iterator[Pair]:
        native = stage.tree(_many(count))
        names = sorted(stage.planted(_many(count)).files)
        cache = stage.fresh("cache")
        with stage.mount(cache) as mount:
            _opens(mount.version(_many(count)), names)

        def ours() -> float:
            with stage.mount(cache) as mount:
                path = mount.version(_many(count))
                _ls(path)
                return _opens(path, names)[0]

        def check() -> None:
            with stage.mount(cache) as mount:
                path = mount.version(_many(count))
                _expect(_opens(path, names)[1], sum(_sizes(native).values()))

        yield Pair(ours, lambda: _opens(native, names)[0], check)

    return set_up


def _opens(path: Path, names: list[str]) -> tuple[float, int]:
    """How many seconds it took, and how many bytes were read."""
    paths = [f"{path}/{name}" for name in names]
    size = 0
    begin = time.perf_counter()
    for name in paths:
        fd = os.open(name, os.O_RDONLY)
        size += len(os.read(fd, 4096))
        os.close(fd)
    return time.perf_counter() - begin, size


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


# Whether what was measured was right.


def _same(path: Path, stage: Stage) -> Callable[[], None]:
    expected = stage.planted(_LARGE).files[_FILE].digests.sha256

    def check() -> None:
        _expect(reading.sha256(path), expected)

    return check


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
