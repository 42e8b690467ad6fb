"""What a registry that says nothing costs who waits for it, and who does not: in seconds.

Owns a simulated registry, a mount, readers in processes of their own, and one more process that
looks, lists and reads what is cached, with such readers beside it and without, in turns.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mounting import Mounted
from polling import wait_for
from sims import faults
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle
from sims.raw import STALL, Request, Script

_SILENT = random.Random(1).randbytes(1 << 20)
_CACHED = random.Random(2).randbytes(300_000)
# In each turn, of each kind.
_LOOKS = 400
# What the kernel does not answer itself, however often it is asked.
_LOOK = """
import json, os, sys, time
top, count = sys.argv[1], int(sys.argv[2])
found = {"attributes": [], "ls": [], "read": []}

def measure(name, call):
    begun = time.perf_counter()
    call()
    found[name].append(time.perf_counter() - begun)

def read():
    with open(f"{top}/it/1/cached", "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert int(sys.argv[3]) == len(file.read())

for _ in range(count):
    measure("attributes", lambda: os.getxattr(f"{top}/it/1/cached", "user.modelfs.path"))
    measure("ls", lambda: os.listdir(f"{top}/it"))
    measure("read", read)
print(json.dumps(found))
"""


@dataclass
class Figures:
    """Seconds, by what was done: without stalled readers and with them."""

    quiet: dict[str, list[float]] = field(default_factory=dict)
    beside: dict[str, list[float]] = field(default_factory=dict)
    # Of the stalled reads: until they failed; until a signal had freed them.
    ends: list[float] = field(default_factory=list)
    freed: list[float] = field(default_factory=list)
    # Until another file of the same registry had been read whole, beside so many that stall.
    others: dict[int, float] = field(default_factory=dict)
    unmounted: float = 0.0


def p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


def measured(folder: Path, readers: int = 64, turns: int = 3, most: int = 120) -> Figures:
    """The figures of one run, with so many stalled readers, in `turns` turns of each kind."""
    found = Figures()
    files = {f"silent-{n:03}": _SILENT[n * 4096 : n * 4096 + 700_000] for n in range(most)}
    files |= {f"other-{n}": random.Random(n).randbytes(2 << 20) for n in range(8)}
    version = Version({**files, "cached": _CACHED})
    kaggle = Kaggle(
        [Model("alice", "stalls", (Instance("other", "it", (version,)),))], "KGAT_test", "alice"
    )
    with ExitStack() as stack:
        stack.enter_context(kaggle)
        mount = stack.enter_context(
            Mounted(folder, f"kaggle+{kaggle.url}", "--passthrough", "off", token=kaggle.token)
        )
        top = mount.path / "alice/stalls/other"
        assert _CACHED == (top / "it/1/cached").read_bytes()
        for name in files:
            if name.startswith("silent"):
                os.stat(top / "it/1" / name)
        silent = {content for name, content in files.items() if name.startswith("silent")}

        def storage(request: Request, content: bytes) -> Script:
            return [STALL] if content in silent else faults.good(request, content)

        kaggle.storage = storage
        paths = [top / "it/1" / name for name in files if name.startswith("silent")]
        for turn in range(turns):
            _add(found.quiet, _looked(top))
            begun = time.monotonic()
            with _stalled(paths[:readers], kaggle) as programs:
                _add(found.beside, _looked(top))
                if turn == 0:
                    found.ends += _ended(programs, begun)
                else:
                    found.freed += _interrupted(programs)
        for number, count in enumerate((readers, 96, most)):
            with _stalled(paths[:count], kaggle, min(count, 90)):
                begun = time.monotonic()
                name = f"other-{number}"
                assert files[name] == (top / "it/1" / name).read_bytes()
                found.others[count] = time.monotonic() - begun
        with _stalled(paths[:readers], kaggle):
            pass
        begun = time.monotonic()  # the programs have gone, what was asked for them has not
        os.kill(mount.pid, signal.SIGTERM)
        wait_for(lambda: mount.has_ended, 30)
        found.unmounted = time.monotonic() - begun
        mount.kill()
    return found


@contextmanager
def _stalled(
    paths: Sequence[Path], kaggle: Kaggle, asked: int = 0
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A program for each of `paths` that reads it; all of them have got stuck."""
    kaggle.clear()
    quiet = subprocess.DEVNULL
    programs = [subprocess.Popen(["cat", path], stdout=quiet, stderr=quiet) for path in paths]
    try:
        wait_for(lambda: kaggle.calls()["GET"] >= (asked or len(paths)), 30)
        yield programs
    finally:
        for program in programs:
            program.kill()
        for program in programs:
            program.wait(10)


def _looked(top: Path) -> dict[str, list[float]]:
    command = [sys.executable, "-I", "-S", "-c", _LOOK, top, str(_LOOKS), str(len(_CACHED))]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def _add(total: dict[str, list[float]], found: dict[str, list[float]]) -> None:
    for name, seconds in found.items():
        total.setdefault(name, []).extend(seconds)


def _ended(programs: Sequence[subprocess.Popen[bytes]], begun: float) -> list[float]:
    """How long each took, since `begun`, to be told that nothing comes."""
    ends = []
    for program in programs:
        assert program.wait(60)
        ends.append(time.monotonic() - begun)
    return ends


def _interrupted(programs: Sequence[subprocess.Popen[bytes]]) -> list[float]:
    """How long it takes until those that get a signal now are gone."""
    running = [program for program in programs if program.poll() is None]
    begun = time.monotonic()
    for program in running:
        program.send_signal(signal.SIGINT)
    return [(program.wait(60), time.monotonic() - begun)[1] for program in running]
