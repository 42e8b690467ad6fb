"""The cases of what is in the cache: in order, again, at random places, mapped, small files."""

from __future__ import annotations

import os
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from enum import Enum
from functools import partial
from pathlib import Path
from shutil import which

from benchmarks import mounts, reading
from benchmarks.measure import Case, Pair, Skipped
from benchmarks.mounts import Kind
from benchmarks.planting import FILE, Sizes
from benchmarks.stage import Stage

_LARGE = "large"
# What each rival is compared with: modelfs as it is with what the kernel does alone, modelfs
# without passthrough with other daemons.
_RIVALS = {
    "": (Kind.OURS, Kind.NATIVE),
    "-served": (Kind.SERVED, Kind.NATIVE),
    "-served-plain": (Kind.SERVED, Kind.PLAIN),
    "-served-rclone": (Kind.SERVED, Kind.RCLONE),
}
# Enough for a hundred thousand reads where none wakes a daemon, and for a few thousand elsewhere.
_RANDOM_SECONDS = 0.2

# Reads a file on a stage: seconds.
Read = Callable[[Stage, Path], float]


class Pages(Enum):
    """What the kernel has of the file when it is read, both sides alike."""

    ALL = "kept"
    # Those of the cache's file; those of the mount's are dropped.
    BELOW = "of the file below"
    NONE = "none"


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases of this module, in the order of the table."""
    in_order, whole = _simply(reading.in_order), _simply(reading.whole)
    found = [
        *_group("read-disk", "read a cached file from the disk", in_order, Pages.NONE, {"": 0.95}),
        *_group(
            "read-warm",
            "read a cached file in order",
            in_order,
            Pages.BELOW,
            {"": 0.95, "-served": None, "-served-plain": 1.5, "-served-rclone": 1.5},
        ),
        *_group(
            "read-again",
            "read it again",
            in_order,
            Pages.ALL,
            {"": 0.95, "-served": None, "-served-plain": 1.0, "-served-rclone": 1.0},
        ),
        *_group("load-warm", "load it into new memory", whole, Pages.BELOW, {"": 0.95}),
    ]
    for kib, threads, bar in ((4, 1, 0.85), (4, 4, 0.6), (64, 1, 0.85), (64, 4, 0.6)):
        name = f"random-{kib}k" + f"-{threads}" * (threads > 1)
        what = f"{kib} KiB at random places" + f", {threads} threads" * (threads > 1)
        bars = {"": bar, "-served": None, "-served-plain": 1.0, "-served-rclone": 1.0}
        found += _group(name, what, partial(_random, kib, threads), Pages.BELOW, bars)
    for name, what, map_it in (
        ("mmap-tensors", "safetensors, every tensor", reading.tensors),
        ("mmap-shuffled", "safetensors, shuffled", partial(reading.tensors, is_shuffled=True)),
        ("mmap-pages", "numpy memmap, every page", reading.pages),
    ):
        read = _simply(map_it)
        others = {"-served-plain": 1.0, "-served-rclone": 1.0}
        found += _group(name, f"{what}, from the disk", read, Pages.NONE, {"": 0.9})
        found += _group(f"{name}-again", f"{what}, again", read, Pages.ALL, {"": 0.9})
        found += _group(name, what, read, Pages.BELOW, others)
    again = {"-served-plain": 1.0, "-served-rclone": 1.0}
    tensors = _simply(reading.tensors)
    found += _group(
        "mmap-tensors-again", "safetensors, every tensor, again", tensors, Pages.ALL, again
    )
    what = f"open, read, close {sizes.opened:,} files"
    for suffix, ours, rival, bar in (
        ("", Kind.OURS, Kind.NATIVE, None),
        ("-rclone", Kind.OURS, Kind.RCLONE, 1.0),
        ("-served-rclone", Kind.SERVED, Kind.RCLONE, 1.0),
    ):
        set_up = partial(_opened, sizes.opened, ours, rival)
        found.append(Case(f"open-many{suffix}", _said(what, ours), rival.value, set_up, bar))
    return found


def _group(
    name: str, what: str, read: Read, pages: Pages, bars: Mapping[str, float | None]
) -> list[Case[Stage]]:
    """One way of reading against several rivals, each with its bar."""
    found = []
    for suffix, bar in bars.items():
        ours, rival = _RIVALS[suffix]
        set_up = partial(_read, read, pages, ours, rival)
        native = "the same file, native" if rival is Kind.NATIVE else rival.value
        found.append(Case(f"{name}{suffix}", _said(what, ours), native, set_up, bar))
    return found


def _said(what: str, kind: Kind) -> str:
    return what + ", served" * (kind is Kind.SERVED)


def _simply(read: Callable[[Path], float]) -> Read:
    return lambda _, path: read(path)


@contextmanager
def _read(read: Read, pages: Pages, ours: Kind, rival: Kind, stage: Stage) -> Iterator[Pair]:
    """`read` of a file whose bytes both sides have, with so much of it in memory."""
    expected = stage.planted(_LARGE).files[FILE].digests.sha256

    def side(kind: Kind) -> Callable[[], float]:
        path = mounts.version(stage, kind, _LARGE) / FILE
        reading.in_order(path)
        if kind in (Kind.OURS, Kind.SERVED):
            mounts.settle(mounts.mount(stage, kind, _LARGE))
        # The kernel tells of a close later, and until then nobody else is passed through; this
        # question comes behind it.
        os.statvfs(path)

        def run() -> float:
            is_renewed = pages is Pages.ALL and kind in (Kind.NATIVE, Kind.OURS)
            is_of_disk = pages is Pages.NONE or is_renewed
            mounts.forget(stage, kind, _LARGE, path, is_of_disk=is_of_disk)
            if pages is Pages.ALL:
                # Each round in other pages, as some of memory are slower than others. The kernel
                # moves pages about when they are read for the second time.
                reading.in_order(path)
                reading.in_order(path)
                return statistics.median(read(stage, path) for _ in range(5))
            return read(stage, path)

        if pages is Pages.NONE:
            # The disk of a virtual machine keeps what was read of it last, and is faster then.
            run()
        return run

    def check() -> None:
        for kind in (ours, rival):
            reading.expect(reading.sha256(mounts.version(stage, kind, _LARGE) / FILE), expected)

    yield Pair(side(ours), side(rival), check)


def _random(kib: int, threads: int, stage: Stage, path: Path) -> float:
    """Seconds of one read."""
    reader = stage.kept("reader", lambda: nullcontext(_compiled(stage)))
    if not reader:
        raise Skipped("there is no C compiler to make the reader with")
    words = [str(reader), str(path), str(kib << 10), str(_RANDOM_SECONDS), str(threads)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=300)
    return float(done.stdout)


def _compiled(stage: Stage) -> Path | None:
    if not which("cc"):
        return None
    reader = stage.directory / "reader"
    source = Path(__file__).with_name("reader.c")
    subprocess.run(["cc", "-O2", "-pthread", "-o", reader, source], check=True)
    return reader


@contextmanager
def _opened(count: int, ours: Kind, rival: Kind, stage: Stage) -> Iterator[Pair]:
    """Many small files that both sides have."""
    slug = f"files-{count}"
    files = stage.planted(slug).files

    def side(kind: Kind) -> list[str]:
        top = mounts.version(stage, kind, slug)
        paths = [f"{top}/{name}" for name in sorted(files)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda path: reading.each([path]), paths))
        reading.each(paths)
        return paths

    mine, theirs = side(ours), side(rival)

    def check() -> None:
        for paths in (mine, theirs):
            found = [reading.sha256(Path(path)) for path in paths]
            reading.expect(found, [files[name].digests.sha256 for name in sorted(files)])

    yield Pair(lambda: reading.each(mine), lambda: reading.each(theirs), check)
