"""The cases of a mount that does several things: reading beside a download, and what it takes."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import mounts, reading
from benchmarks.measure import Case, Pair
from benchmarks.mounts import Kind
from benchmarks.planting import FILE, Sizes
from benchmarks.stage import Mounted, Stage, memory

# What is read is the smaller, since it is read as often as the download of the other takes.
_CACHED, _COLD = "eighth", "large"
_DEADLINE = 120.0
_PIECE = 1 << 20
# MiB that a daemon may take.
_MEMORY = 150


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases of this module, in the order of the table."""
    what, alone = "read a cached file during a download", "with nothing else going on"
    native = "a native file, during it"
    limit = "a native file during a download"
    # The file that is downloaded, the pages of the mount, and what is read beside it.
    fresh = 3 * sizes.large
    return [
        Case(f"beside{name}", said, rival, partial(_beside, *kinds), bar, 5, fresh=fresh)
        for name, said, rival, kinds, bar in (
            ("", what, alone, (Kind.OURS, Kind.OURS), 0.8),
            ("-native", what, native, (Kind.OURS, None), None),
            ("-served", f"{what}, served", alone, (Kind.SERVED, Kind.SERVED), None),
            ("-served-native", f"{what}, served", native, (Kind.SERVED, None), None),
            ("-limit", limit, alone, (Kind.NATIVE, Kind.NATIVE), None),
        )
    ]


def last_cases() -> list[Case[Stage]]:
    """What a run leaves behind: these come after all others."""
    limit = f"{_MEMORY} MiB"
    return [
        Case("memory", "memory of the mount that read most", limit, _memory, 1, 1, "MiB"),
        Case("memory-peak", "the most that any mount of it took", limit, _peak, 1, 1, "MiB"),
    ]


@contextmanager
def _beside(kind: Kind, alone: Kind | None, stage: Stage) -> Iterator[Pair]:
    """Seconds to read a file while another process downloads as fast as it can.

    The rival is the same with nothing else going on (`alone`); or, to show what the download takes
    from anybody, a native file during the same.
    """
    expected = stage.planted(_CACHED).files[FILE].digests.sha256
    native = mounts.version(stage, Kind.NATIVE, _CACHED) / FILE
    kept = mounts.mount(stage, Kind.SERVED if kind is Kind.SERVED else Kind.OURS, _CACHED)
    reading.expect(reading.sha256(kept.version(_CACHED) / FILE), expected)
    mounts.settle(kept)
    stage.planted(_COLD)

    def during(of: Kind) -> float:
        """In a mount that has the one file and not the other."""
        with _twin(stage, kept, kind) as mount:
            path = native if of is Kind.NATIVE else mount.version(_CACHED) / FILE
            return _during(mount, path, is_ours=of is not Kind.NATIVE)

    def rival() -> float:
        if alone is None:
            return during(Kind.NATIVE)
        path = native if alone is Kind.NATIVE else kept.version(_CACHED) / FILE
        return statistics.median(_read(path, alone is not Kind.NATIVE) for _ in range(9))

    yield Pair(lambda: during(kind), rival)


@contextmanager
def _twin(stage: Stage, mount: Mounted, kind: Kind) -> Iterator[Mounted]:
    """A new mount that has what `mount` has, and keeps to itself what it reads besides."""
    cache = stage.fresh("twin")
    shutil.copytree(mount.cache, cache, copy_function=_linked, dirs_exist_ok=True)
    with stage.mount(cache, *mounts.options(kind)) as twin:
        yield twin
    shutil.rmtree(cache)


def _linked(source: str, target: str) -> None:
    """Finished files never change; those that do are small."""
    (os.link if os.stat(source).st_size > _PIECE else shutil.copy2)(source, target)


def _read(path: Path, is_ours: bool) -> float:
    if is_ours:
        reading.forget(path)  # the mount's own pages, where it has any
    return reading.in_order(path)


def _during(mount: Mounted, path: Path, *, is_ours: bool) -> float:
    """Seconds of one read of `path`, of as many as there is time for during a download."""
    _read(path, is_ours)  # its names are known
    cold = mount.version(_COLD) / FILE
    cold.stat()
    words = ["dd", f"if={cold}", "of=/dev/null", "bs=1M", "status=none"]
    begin, times = time.monotonic(), []
    with subprocess.Popen(words) as download:
        while download.poll() is None:
            if time.monotonic() - begin > _DEADLINE:
                download.kill()
            times.append(_read(path, is_ours))
    if download.returncode or len(times) < 2:
        raise RuntimeError(f"a download gave no time to measure: {download.returncode}, {times}")
    # The last one went on after the download.
    return sum(times[:-1]) / len(times[:-1])


@contextmanager
def _memory(stage: Stage) -> Iterator[Pair]:
    found = memory(mounts.mount(stage, Kind.SERVED, _COLD).process)
    yield Pair(lambda: found["VmRSS"] / 1024, lambda: _MEMORY)


@contextmanager
def _peak(stage: Stage) -> Iterator[Pair]:
    running = [mounts.mount(stage, kind, _COLD).process for kind in (Kind.OURS, Kind.SERVED)]
    most = max(*stage.peaks, *(memory(process)["VmHWM"] for process in running))
    yield Pair(lambda: most / 1024, lambda: _MEMORY)
