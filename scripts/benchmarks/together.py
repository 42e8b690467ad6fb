"""The cases of a mount that does several things: reading beside a download, and what it takes."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import mounts, reading
from benchmarks.measure import Case, Pair
from benchmarks.mounts import Kind
from benchmarks.planting import FILE, Sizes
from benchmarks.stage import Mounted, Stage, memory

_CACHED, _COLD = "medium", "large"
_DEADLINE = 120.0
# MiB that a daemon may take.
_MEMORY = 150


def cases(_sizes: Sizes) -> list[Case[Stage]]:
    """All cases of this module, in the order of the table."""
    what, alone = "read a cached file during a download", "with nothing else going on"
    native = "a native file, during it"
    found = []
    for kind, suffix, said, bar in (
        (Kind.OURS, "", "", 0.8),
        (Kind.SERVED, "-served", ", served", None),
    ):
        found += [
            Case(f"beside{suffix}", what + said, alone, partial(_beside, kind, False), bar, 3),
            Case(
                f"beside{suffix}-native", what + said, native, partial(_beside, kind, True), None, 2
            ),
        ]
    return found


def last_cases() -> list[Case[Stage]]:
    """What a run leaves behind: these come after all others."""
    limit = f"{_MEMORY} MiB"
    return [
        Case("memory", "memory of the mount that read most", limit, _memory, 1, 1, "MiB"),
        Case("memory-peak", "the most that any mount of it took", limit, _peak, 1, 1, "MiB"),
    ]


@contextmanager
def _beside(kind: Kind, is_native: bool, stage: Stage) -> Iterator[Pair]:
    """Seconds to read a cached file while another process downloads as fast as it can.

    The rival is the same with nothing else going on; or, to show what the download takes from
    anybody, a native file during the same.
    """
    expected = stage.planted(_CACHED).files[FILE].digests.sha256
    native = mounts.version(stage, Kind.NATIVE, _CACHED) / FILE
    alone = mounts.version(stage, kind, _CACHED) / FILE
    stage.planted(_COLD)

    def during(read: Callable[[Path], float]) -> float:
        """In a mount that has the one file and not the other."""
        with stage.mount(None, *mounts.options(kind)) as mount:
            path = mount.version(_CACHED) / FILE
            reading.expect(reading.sha256(path), expected)
            return _during(mount, lambda: read(path))

    def rival() -> float:
        if is_native:
            return during(lambda _: reading.in_order(native))
        return statistics.median(_read(alone) for _ in range(3))

    reading.in_order(alone)
    yield Pair(lambda: during(_read), rival)


def _read(path: Path) -> float:
    reading.forget(path)
    return reading.in_order(path)


def _during(mount: Mounted, read: Callable[[], float]) -> float:
    """Seconds of one `read`, of as many as there is time for while a file is downloaded."""
    cold = mount.version(_COLD) / FILE
    cold.stat()
    words = ["dd", f"if={cold}", "of=/dev/null", "bs=1M", "status=none"]
    begin, times = time.monotonic(), []
    with subprocess.Popen(words) as download:
        while download.poll() is None:
            if time.monotonic() - begin > _DEADLINE:
                download.kill()
            times.append(read())
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
