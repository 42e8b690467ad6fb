"""Everything at once on one mount for a while: who uses it, what fails, and what must hold.

Readers, writers, a publisher and somebody who empties the cache share a real mount of a real
server, behind a relay that spoils one request in a hundred. Every byte is known beforehand.
Owns the processes and the threads of the load.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from modelfs.buffers import DEFAULT
from modelfs.cache import BlockCache
from modelfs.mount.records import GAUGES
from mounting import Mounted
from polling import wait_for
from published import SETTLE, status
from serving import Served
from sims.content import Instance, Model, Version, plant
from sims.raw import DROP, RESET, Pause, Request, Script, head, reply
from sims.relay import Answered, Relay

# No single operation may take longer, whatever the relay does: the mount gives up before that.
STUCK = 30.0
# But for a publication: a lost answer to the one request that is not repeated blindly costs a
# minute's look.
PUBLISHED = 150.0
# For the mount to let go of what it has open once nobody uses it: threads linger for ten seconds.
QUIET = 40.0
# The interpreter and its modules, threads, and what is remembered; buffers come on top of that.
RSS_MOST = 136 << 20
# Gained from the second quarter of the time to the last one; runs that are shorter say nothing.
GAIN_MOST, TELLING = 0.05, 150.0
# What is remembered of a version of four files, without end in a run: its names, digests and tree.
_REMEMBERED = 16 << 10
# What a mount tells of itself when nobody uses it: all of these are 0.
_AT_REST = ("open", "requests", "files", "contents", "transfers", "queued", "buffers")
_SIZES = (0, 1, 700, 4096, 70_000, 262_144, 262_145, 900_000, 3_000_000)
_VERSIONS = 6
_CACHE = 16 << 20
_MAP = """
import mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
    start = int(sys.argv[2])
    sys.stdout.buffer.write(view[start : start + 9999])
"""


def _bytes(name: str, size: int) -> bytes:
    return hashlib.shake_128(name.encode()).digest(size)


FILES = [
    {f"dir-{n % 3}/file-{n}": _bytes(f"{version} {n}", size) for n, size in enumerate(_SIZES)}
    for version in range(_VERSIONS)
]


@dataclass(frozen=True)
class Sample:
    """What a process takes up at a moment."""

    rss: int
    fds: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        told = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        fds = len(os.listdir(f"/proc/{pid}/fd"))
        return cls(int(told["VmRSS"].split()[0]) << 10, fds, int(told["Threads"]))


@dataclass
class Outcome:
    """What came of it. `faults` names what must not be; empty if all is well."""

    counts: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    first: Sample | None = None
    last: Sample | None = None
    peak: int = 0
    # What memory was used, on average, in the second quarter of the time and in the last one.
    usual: tuple[float, float] = (0.0, 0.0)
    # What the mount told of itself at the end.
    gauges: dict[str, int] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")

    def __str__(self) -> str:
        lines = [f"{count:9,}  {name}" for name, count in sorted(self.counts.items())]
        lines += [f"{count:9,}  spoilt: {name}" for name, count in sorted(self.spoilt.items())]
        lines.append(f"slowest: {self.slowest[0]:.1f} s, {self.slowest[1]}")
        for name, sample in (("before", self.first), ("after", self.last)):
            if sample:
                lines.append(
                    f"{name}: {sample.rss >> 20} MiB, {sample.fds} descriptors, "
                    f"{sample.threads} threads"
                )
        lines.append(f"at most: {self.peak >> 20} MiB, with what buffers may take up")
        begun, ended = self.usual
        lines.append(f"memory: {begun / 2**20:.1f} MiB early on, {ended / 2**20:.1f} MiB at last")
        lines.append(f"gauges: {self.gauges}")
        lines += [f"FAULT: {fault}" for fault in self.faults] or ["no fault"]
        return "\n".join(lines)


class Load:
    """One run in an empty `folder`. `rate` is the share of requests that are spoilt."""

    def __init__(self, folder: Path, seconds: float, *, rate: float = 0.01, seed: int = 0) -> None:
        self._folder = folder
        self._seconds = seconds
        self._rate = rate
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._at_work: dict[str, tuple[str, float]] = {}
        self.outcome = Outcome()

    def run(self) -> Outcome:
        with ExitStack() as stack:
            versions = [Version(files) for files in FILES]
            models = [Model("alice", "load", (Instance("other", "it", versions),))]
            plant(self._folder / "registry", models)
            served = stack.enter_context(Served(self._folder / "registry"))
            relay = stack.enter_context(Relay(served.url, self._spoil))
            self._relay = relay
            self._mount = stack.enter_context(
                Mounted(
                    self._folder / "mount",
                    f"kaggle+{relay.url}",
                    *("--settle", str(SETTLE), "--cache-size", str(_CACHE)),
                    token=served.token,
                )
            )
            self._top = self._mount.path / "alice/load/other"
            self._use()
            self._rest()
        return self.outcome

    def _use(self) -> None:
        """All workers for so long; nobody may be at one thing for too long."""
        works = [self._read, self._read, self._read, self._map, self._list, self._write]
        works += [self._publish, self._empty]
        threads = [
            threading.Thread(target=self._work, args=(work, number), name=f"load-{number}")
            for number, work in enumerate(works)
        ]
        for thread in threads:
            thread.daemon = True
            thread.start()
        begun = time.monotonic()
        end = begun + self._seconds
        quarters: list[list[int]] = [[], [], [], []]
        while (now := time.monotonic()) < end:
            self._ended.wait(0.2)
            sample = Sample.of(self._mount.pid)
            self.outcome.peak = max(self.outcome.peak, sample.rss)
            quarters[min(3, int(4 * (now - begun) / self._seconds))].append(sample.rss)
            if self.outcome.first is None and now - begun > self._seconds / 4:
                self.outcome.first = sample
            self._relay.requests.clear()
        self.outcome.usual = (mean(quarters[1] or [0]), mean(quarters[3] or [0]))
        self._ended.set()
        ended = time.monotonic()
        for work, thread in zip(works, threads, strict=True):
            deadline = ended + (PUBLISHED if work == self._publish else STUCK)
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self._fault(f"stuck: {self._at_work.get(thread.name)}")

    def _work(self, work: Callable[[random.Random, int], str], number: int) -> None:
        rng = random.Random(number)
        turn = 0
        name = threading.current_thread().name
        while not self._ended.is_set():
            begun = time.monotonic()
            self._at_work[name] = (work.__name__, begun)
            try:
                what = work(rng, turn)
            except Exception as exc:
                what = work.__name__
                self._fault(f"{what}: {type(exc).__name__}: {exc}")
            took = time.monotonic() - begun
            with self._lock:
                self.outcome.counts[what] += 1
                self.outcome.slowest = max(self.outcome.slowest, (took, what))
            turn += 1

    def _fault(self, text: str) -> None:
        with self._lock:
            self.outcome.faults.append(text)

    def _rest(self) -> None:
        """Once nobody uses it, the mount holds nothing of the cache open, and is as it was."""

        def held() -> list[str]:
            found = []
            for fd in Path(f"/proc/{self._mount.pid}/fd").iterdir():
                try:
                    found.append(os.readlink(fd))
                except OSError:
                    pass
            return [path for path in found if "/cache/blocks/objects/" in path or "/tree/" in path]

        try:
            wait_for(lambda: not held(), QUIET)
        except AssertionError:
            self._fault(f"still open: {held()[:5]}")
        outcome = self.outcome
        first = outcome.first
        assert first is not None
        wait = time.monotonic() + QUIET

        def is_small() -> bool:
            last = outcome.last = Sample.of(self._mount.pid)
            outcome.gauges = json.loads(os.getxattr(self._mount.path, GAUGES))
            is_at_rest = not any(outcome.gauges[name] for name in _AT_REST)
            return is_at_rest and last.fds <= first.fds and last.threads <= first.threads

        while not is_small() and time.monotonic() < wait:
            time.sleep(0.2)
        last = outcome.last
        assert last is not None
        if last.fds > first.fds or last.threads > first.threads:
            self._fault("descriptors or threads were gained")
        if outcome.peak > RSS_MOST + DEFAULT:
            self._fault(f"too much memory: {outcome.peak >> 20} MiB")
        early, late = outcome.usual
        new = outcome.counts["versions published"] / 2  # between the middles of those quarters
        if self._seconds >= TELLING and late - early > GAIN_MOST * early + _REMEMBERED * new:
            self._fault("memory was gained")
        if left := {name: outcome.gauges[name] for name in _AT_REST if outcome.gauges[name]}:
            self._fault(f"not at rest: {left}")

    # What is done. Each returns what it is called in the summary.

    def _pick(self, rng: random.Random) -> tuple[Path, bytes]:
        number = rng.randrange(_VERSIONS)
        name, data = rng.choice(list(FILES[number].items()))
        return self._top / f"it/{number + 1}" / name, data

    def _read(self, rng: random.Random, turn: int) -> str:
        path, data = self._pick(rng)
        if turn % 2:
            assert data == path.read_bytes(), f"wrong bytes: {path}"
            return "files read"
        start = rng.randrange(len(data) + 1)
        size = rng.randrange(1, 400_000)
        fd = os.open(path, os.O_RDONLY)
        try:
            assert data[start : start + size] == os.pread(fd, size, start), f"wrong bytes: {path}"
        finally:
            os.close(fd)
        return "ranges read"

    def _map(self, rng: random.Random, turn: int) -> str:
        """In a process of its own: a page that is missing stops all threads, the relay's too."""
        path, data = self._pick(rng)
        if data:
            start = rng.randrange(len(data))
            command = [sys.executable, "-I", "-S", "-c", _MAP, str(path), str(start)]
            done = subprocess.run(command, capture_output=True, timeout=STUCK, check=True)
            assert data[start : start + 9999] == done.stdout, f"wrong bytes mapped: {path}"
        return "files mapped"

    def _list(self, rng: random.Random, turn: int) -> str:
        number = rng.randrange(_VERSIONS)
        top = self._top / f"it/{number + 1}"
        found = {str(p.relative_to(top)): p.stat().st_size for p in top.glob("dir-*/*")}
        assert {name: len(data) for name, data in FILES[number].items()} == found
        time.sleep(0.05)
        return "trees listed"

    def _write(self, rng: random.Random, turn: int) -> str:
        """A draft that nobody publishes, against bytes in memory."""
        draft = self._top / "written/draft"
        draft.mkdir(parents=True, exist_ok=True)
        path, other = draft / f"f{turn % 5}", draft / "other"
        data = bytearray()
        with path.open("w+b", buffering=0) as file:
            for _ in range(8):
                start, piece = rng.randrange(300_000), rng.randbytes(rng.randrange(1, 60_000))
                data.extend(bytes(max(0, start - len(data))))
                data[start : start + len(piece)] = piece
                file.seek(start)
                assert len(piece) == file.write(piece)
            file.truncate(len(data) // 2)
            del data[len(data) // 2 :]
            if turn % 3 == 0:
                os.fsync(file.fileno())
        path.rename(other)
        assert bytes(data) == other.read_bytes(), "wrong bytes of a draft"
        other.unlink()
        return "draft files written"

    def _publish(self, rng: random.Random, turn: int) -> str:
        draft = self._top / f"made/{turn + 1}"
        files = {f"a/{n}": rng.randbytes(rng.randrange(300_000)) for n in range(3)}
        (draft / "a").mkdir(parents=True)
        for name, data in files.items():
            (draft / name).write_bytes(data)
        (draft / "NOTES").write_text(f"number {turn}")

        def state() -> str:
            try:
                return str(status(draft)["state"])
            except FileNotFoundError:  # between the draft and the version
                return ""

        wait_for(lambda: state() in ("published", "failed"), PUBLISHED)
        assert "published" == state(), status(draft)
        for name, data in files.items():
            assert data == (draft / name).read_bytes(), f"wrong bytes of {name}"
        return "versions published"

    def _empty(self, rng: random.Random, turn: int) -> str:
        """Somebody else empties the cache, as `modelfs cache clean` and a second mount do."""
        cache = BlockCache(self._mount.cache / "blocks", budget=_CACHE, floor=0)
        cache.evict(rng.randrange(_CACHE))
        self._ended.wait(1)
        return "times the cache was emptied"

    # What fails.

    def _spoil(self, request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        with self._lock:
            is_spoilt = self._random.random() < self._rate
            name = self._random.choice(list(_FAULTS))
            self.outcome.counts["requests"] += 1
            if is_spoilt:
                self.outcome.spoilt[name] += 1
        return _FAULTS[name](request, hand_on) if is_spoilt else hand_on(request).script


def _cut(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
    answer = hand_on(request)
    return [head(answer.status, answer.headers) + answer.body[: len(answer.body) // 2], DROP]


def _lose(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
    hand_on(request)
    return [DROP]


_FAULTS: dict[str, Callable[[Request, Callable[[Request], Answered]], Script]] = {
    "no answer": lambda request, hand_on: [DROP],
    "reset": lambda request, hand_on: [RESET],
    "lost answer": _lose,
    "cut": _cut,
    "500": lambda request, hand_on: reply(500),
    "503": lambda request, hand_on: reply(503, retry_after="1"),
    "429": lambda request, hand_on: reply(429, retry_after="1"),
    "late": lambda request, hand_on: [Pause(2.0), *hand_on(request).script],
}
