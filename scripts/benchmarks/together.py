"""The cases of a mount that does several things: reading beside a download, and what it takes."""

from __future__ import annotations

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
    served = partial(_beside, mounts.SERVED_OPTIONS)
    return [
        Case("beside", what, alone, partial(_beside, (), False), 0.8, 3),
        Case("beside-native", "the same", native, partial(_beside, (), True), rounds=3),
        Case("beside-served", f"{what}, served", alone, partial(served, False), rounds=3),
        Case("beside-served-native", "the same", native, partial(served, True), rounds=3),
    ]


def last_cases() -> list[Case[Stage]]:
    """What a run leaves behind: these come after all others."""
    limit = f"{_MEMORY} MiB"
    return [
        Case("memory", "memory of the mount that read most", limit, _memory, 1, 1, "MiB"),
        Case("memory-peak", "the most that any mount of it took", limit, _peak, 1, 1, "MiB"),
    ]


@contextmanager
def _beside(options: tuple[str, ...], is_native: bool, stage: Stage) -> Iterator[Pair]:
    """Seconds to read a cached file while another process downloads as fast as it can.

    The rival is the same with nothing else going on; or, to show what the download takes from
    anybody, a native file during the same.
    """
    expected = stage.planted(_CACHED).files[FILE].digests.sha256
    native = stage.planted(_CACHED).native(FILE)
    stage.planted(_COLD)

    @contextmanager
    def cached() -> Iterator[tuple[Mounted, Path]]:
        with stage.mount(None, *options) as mount:
            path = mount.version(_CACHED) / FILE
            expect_digest(path, expected)
            yield mount, path

    def ours() -> float:
        with cached() as (mount, path):
            return _during(mount, lambda: _read(path))

    def rival() -> float:
        with cached() as (mount, path):
            if is_native:
                return _during(mount, lambda: reading.in_order(native))
            return min(_read(path) for _ in range(3))

    yield Pair(ours, rival)


def expect_digest(path: Path, expected: str) -> None:
    reading.expect(reading.sha256(path), expected)


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
    found = memory(mounts.mount(stage, Kind.SERVED).process)
    yield Pair(lambda: found["VmRSS"] / 1024, lambda: _MEMORY)


@contextmanager
def _peak(stage: Stage) -> Iterator[Pair]:
    running = [mounts.mount(stage, kind).process for kind in (Kind.OURS, Kind.SERVED)]
    most = max(*stage.peaks, *(memory(process)["VmHWM"] for process in running))
    yield Pair(lambda: most / 1024, lambda: _MEMORY)
