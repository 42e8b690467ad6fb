"""The command scripts/profile: where the time of one read, one stat, one open or a cold read goes.

Each operation is done a few thousand times in a new mount that is asked for every one of them, once
for each means of looking: the clock and the kernel's count of the daemon's time, which disturb
nothing; then strace, perf and Python's profiler, which slow it down, for what it does meanwhile.
What is not installed is left out.
"""

from __future__ import annotations

import argparse
import os
import pstats
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import mounts, reading, report, spending
from benchmarks.mounts import Kind
from benchmarks.planting import FILE, Sizes
from benchmarks.stage import Mounted, Stage

_SIZE = 4096
_DEADLINE = 30.0
# What waits for the next request, or for other threads, is no work.
_WAITING = ("posix.readv", "'acquire'")
# So many lines of what takes most.
_MOST = 12


@dataclass(frozen=True)
class Operation:
    """Something done `count` times: in a mount made ready for it, or natively."""

    name: str
    count: int
    # Given the top of a version; what follows it is measured.
    ready: Callable[[Path], None]
    run: Callable[[Path], float]
    slug: str
    kind: Kind = Kind.SERVED
    # Natively, of files with the same bytes; else of any with the same names.
    is_of_bytes: bool = True


def main(root: Path, words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/profile",
        description="Shows where the time of one read and of one stat goes, in a mount without"
        " passthrough, where each of them asks the daemon, and of one open of a cached file.",
    )
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="of each")
    parser.add_argument(
        "--cold", action="store_true", help="only what a cold read costs, and who spends that"
    )
    options = parser.parse_args(words)
    folder = root / ".bench"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="profile-") as name:
        sizes = Sizes(large=max(1 << 26, options.count * _SIZE), many=(options.count,))
        with Stage(root, Path(name), Sizes() if options.cold else sizes) as stage:
            if options.cold:
                print("\n".join(report.aligned(spending.cold(stage))))
                return 0
            for operation in _operations(options.count):
                _show(stage, operation)
    return 0


def _operations(count: int) -> list[Operation]:
    names = [f"part-{number // 1000:03}/file-{number:06}.bin" for number in range(count)]

    def filled(top: Path) -> None:
        reading.in_order(top / FILE)
        reading.forget(top / FILE)

    def listed(top: Path) -> None:
        (top / names[0]).parent.stat()

    return [
        Operation("read", count, filled, lambda top: _reads(top / FILE, count), "large"),
        Operation(
            "stat",
            count,
            listed,
            lambda top: _stats(top, names),
            f"many-{count}",
            is_of_bytes=False,
        ),
        Operation(
            "open, read 4 KiB, close",
            count,
            lambda top: _cached(top, names),
            lambda top: reading.each([f"{top}/{name}" for name in names]),
            f"files-{count}",
            Kind.OURS,
        ),
    ]


def _cached(top: Path, names: list[str]) -> None:
    paths = [f"{top}/{name}" for name in names]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda path: reading.each([path]), paths))
    reading.each(paths)


def _reads(path: Path, count: int) -> float:
    """Seconds for reads of 4 KiB, each of another place, so that none is answered by the kernel."""
    places = random.Random(1).sample(range(path.stat().st_size // _SIZE), count)
    with path.open("rb", buffering=0) as file:
        fd = file.fileno()
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        begin = time.perf_counter()
        for place in places:
            os.pread(fd, _SIZE, place * _SIZE)
        return time.perf_counter() - begin


def _stats(top: Path, names: list[str]) -> float:
    paths = [f"{top}/{name}" for name in names]
    begin = time.perf_counter()
    for path in paths:
        os.stat(path)
    return time.perf_counter() - begin


def _show(stage: Stage, operation: Operation) -> None:
    print(f"\n## {operation.name}, {operation.count:,} times\n")
    for title, rows in (
        ("where one goes", _times(stage, operation)),
        ("system calls of the daemon", _calls(stage, operation)),
        ("what its processor time goes to (perf)", _samples(stage, operation)),
        (
            "functions of the session loop (own time, slowed by the profiler)",
            _functions(stage, operation),
        ),
    ):
        if rows:
            print("\n".join(report.aligned([(title, "of each"), *rows])), end="\n\n")


@contextmanager
def _mounted(stage: Stage, operation: Operation) -> Iterator[tuple[Mounted, Path]]:
    """A new mount, in which the operation comes next."""
    stage.planted(operation.slug)
    with stage.mount(None, *mounts.options(operation.kind)) as mount:
        top = mount.version(operation.slug)
        operation.ready(top)
        yield mount, top


def _times(stage: Stage, operation: Operation) -> list[tuple[str, str]]:
    with _mounted(stage, operation) as (mount, top):
        before = spending.spent(mount.process)
        seconds = operation.run(top)
        user, system = (
            after - sooner
            for after, sooner in zip(spending.spent(mount.process), before, strict=True)
        )
    native = (stage.plain if operation.is_of_bytes else stage.tree)(operation.slug)
    local = operation.run(native)
    rest = seconds - user - system - local
    rows = (
        ("the caller waits", seconds),
        ("of that: the same natively", local),
        ("the daemon computes", user),
        ("the kernel works for the daemon", system),
        ("the rest: the kernel between them, wake-ups, waiting for a core", rest),
    )
    return [(name, f"{value / operation.count * 1e6:.1f} µs") for name, value in rows]


def _calls(stage: Stage, operation: Operation) -> list[tuple[str, str]]:
    if not shutil.which("strace"):
        return []
    with _mounted(stage, operation) as (mount, top):
        log = stage.fresh("strace") / "log"
        with _beside("strace", "-f", "-c", "-o", str(log), "-p", str(mount.process)):
            operation.run(top)
    found = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$", log.read_text(), re.M)
    counts = sorted(((int(n), name) for n, name in found if name != "total"), reverse=True)
    shown = [(name, n / operation.count) for n, name in counts]
    return [(name, f"{each:.2f}") for name, each in shown[:_MOST] if each >= 0.005]


def _samples(stage: Stage, operation: Operation) -> list[tuple[str, str]]:
    if not shutil.which("perf"):
        return []
    with _mounted(stage, operation) as (mount, top):
        data = stage.fresh("perf") / "data"
        # A clock, not the processor's counters, which virtual machines rarely have.
        words = ("record", "-q", "-e", "cpu-clock", "-F", "4000", "-o", str(data))
        with _beside("perf", *words, "-p", str(mount.process)):
            operation.run(top)
    shown = ("report", "--stdio", "-q", "--sort", "dso,symbol", "-i", str(data))
    done = subprocess.run(["perf", *shown], capture_output=True, text=True, check=False)
    found = re.findall(r"^ *([\d.]+)% +(\S+) +\[.\] (.+?)[ -]*$", done.stdout, re.MULTILINE)
    return [(f"{library}: {symbol}", f"{share} %") for share, library, symbol in found[:_MOST]]


def _functions(stage: Stage, operation: Operation) -> list[tuple[str, str]]:
    target = stage.fresh("profile") / "thread"
    with stage.traced(target), _mounted(stage, operation) as (_, top):
        operation.run(top)
    files = sorted(target.parent.iterdir())
    if not files:
        return []
    found = pstats.Stats(*map(str, files)).stats  # type: ignore[attr-defined]
    # What is called less often made the mount ready.
    working = [
        (name, row)
        for name, row in found.items()
        if row[1] > operation.count // 2 and not any(word in name[2] for word in _WAITING)
    ]
    most = sorted(working, key=lambda item: item[1][2], reverse=True)[:_MOST]
    return [
        (
            f"{Path(file).name}:{line} {function}" if line else function,
            f"{own / operation.count * 1e6:.1f} µs in {calls / operation.count:.1f} calls",
        )
        for (file, line, function), (_, calls, own, _, _) in most
    ]


@contextmanager
def _beside(*command: str) -> Iterator[None]:
    """A program that watches another one meanwhile."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as watching:
        try:
            # strace says when it has attached; perf says nothing, and is quick.
            if command[0] == "strace" and watching.stderr:
                watching.stderr.readline()
            else:
                time.sleep(0.5)
            yield
        finally:
            watching.send_signal(signal.SIGINT)
            watching.communicate(timeout=_DEADLINE)
