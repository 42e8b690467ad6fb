"""Figures of reading through faults: reads that complete, bytes fetched twice, answers that fuzz.

Each function measures one of them and tells it as a value; how often is the caller's to say.
"""

from __future__ import annotations

import gc
import itertools
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults.cells import BAD, RIGHT, TOKEN, UNPROVEN, WRONG, Verdict, client_of, hasty, judged
from modelfs.api import Client
from modelfs.registry.transfer import digests_of
from sims import faults
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle
from sims.raw import DROP, RESET, STALL, Request, Script, head, reply
from sims.relay import Answered

VERSION = "alice/faulty/other/it/1"
MIB = 1 << 20
# What a request may meet; the storage as well as the API.
KINDS = ("reset", "cut", "503", "429", "stall")
_STORAGE = {
    "reset": "reset in the body",
    "cut": "drop in the body",
    "503": "503",
    "429": "429",
    "stall": "stall in the body",
}
_AT_ONCE = 16


def model_of(files: Mapping[str, bytes]) -> Model:
    return Model("alice", "faulty", (Instance("other", "it", (Version(files),)),))


def read(client: Client, name: str) -> bytes:
    with client.open(f"{VERSION}/{name}") as file:
        return file.read()


def completed(kind: str, count: int, share: float, folder: Path, size: int = 100_000) -> int:
    """How many of `count` reads of a file end right while a share of all requests fail."""
    chance = random.Random(f"{kind} {share}")
    files = {f"{number:04}": chance.randbytes(size) for number in range(count)}
    fault = faults.PASSING[_STORAGE[kind]]

    def storage(request: Request, content: bytes) -> Script:
        return (fault if chance.random() < share else faults.good)(request, content)

    def meddle(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        if chance.random() >= share:
            return hand_on(request).script
        if kind not in ("reset", "cut"):
            return [STALL] if kind == "stall" else reply(int(kind))
        (step,) = hand_on(request).script
        assert isinstance(step, bytes)
        return [step[: len(step) // 2], RESET if kind == "reset" else DROP]

    with (
        Kaggle([model_of(files)], token=TOKEN, user="alice") as server,
        client_of(server.url, folder) as client,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        client.manifest(VERSION)  # of which all reads would share the fate
        server.storage, server.meddle = storage, meddle
        verdicts = pool.map(
            lambda name: judged(partial(read, client, name), files[name]).kind, files
        )
        return Counter(verdicts)[RIGHT]


@dataclass(frozen=True)
class Refetched:
    """After a cut in the middle of a file: its size, and how many bytes were sent in all."""

    size: int
    sent: int

    @property
    def share(self) -> float:
        return (self.sent - self.size) / self.size


def refetched(folder: Path, size: int = 32 * MIB, cuts: int = 1) -> Refetched:
    """Bytes that are fetched again when an answer is cut in half of its bytes."""
    content = random.Random(25).randbytes(size)
    sent: list[int] = []
    left = itertools.repeat(True, cuts)

    def storage(request: Request, content: bytes) -> Script:
        start, stop = request.range or (0, len(content))
        if stop - start > MIB and next(left, False):
            stop = (start + stop) // 2
            sent.append(stop - start)
            return [head(206, faults.right_fields(request, content)) + content[start:stop], DROP]
        sent.append(stop - start)
        return faults.good(request, content)

    with (
        Kaggle([model_of({"f": content})], token=TOKEN, user="alice") as server,
        client_of(server.url, folder) as client,
    ):
        server.storage = storage
        assert content == read(client, "f")
    return Refetched(size, sum(sent))


def early(rounds: int, folder: Path, status: int = 429) -> int:
    """Requests that are sent before the second is over that a storage asked for, of `rounds`."""
    files = {f"{number}": b"x" * 1000 for number in range(rounds)}
    until = 0.0
    too_early = 0
    seen: set[str] = set()

    def storage(request: Request, content: bytes) -> Script:
        nonlocal until, too_early
        now = time.monotonic()
        too_early += now < until
        if request.path in seen:
            return faults.good(request, content)
        seen.add(request.path)
        until = max(until, now + 1.0)
        return reply(status, retry_after="1")

    with (
        Kaggle([model_of(files)], token=TOKEN, user="alice") as server,
        client_of(server.url, folder) as client,
    ):
        server.storage = storage
        for name, content in files.items():
            assert content == read(client, name)
    return too_early


def waited_out(value: str, folder: Path) -> float:
    """Seconds until a reader is told, of a storage that wants to be left alone for `value`."""
    with (
        Kaggle([model_of({"f": b"x" * 1000})], token=TOKEN, user="alice") as server,
        client_of(server.url, folder) as client,
    ):
        server.storage = lambda *_: reply(429, retry_after=value)
        begun = time.monotonic()
        judged(partial(read, client, "f"), b"")
        return time.monotonic() - begun


@dataclass
class Fuzzed:
    """What garbled answers came to; `slowest` in seconds, memory in bytes."""

    ends: Counter[str]
    slowest: float = 0.0
    bad: str = ""
    memory: tuple[int, int] = (0, 0)


def fuzzed(count: int, folder: Path, seed: int = 26) -> Fuzzed:
    """Reads of as many answers, of the API and of the storage, that were garbled on their way."""
    chance = random.Random(seed)
    # Of one block, and known by no digest that would be asked for first.
    content = chance.randbytes(3000)
    found = Fuzzed(Counter())
    state = {"left": 0, "stage": 0, "untold": 0}

    def garbled(script: Script, stage: int) -> Script:
        (step,) = script
        assert isinstance(step, bytes)
        if state["left"] and state["stage"] == stage:
            state["left"] -= 1
            step = garble(chance, step)
            state["untold"] |= stage == 1 and not _told(step)
            return [step, DROP]
        return [step]

    def meddle(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        return garbled(hand_on(request).script, 0)

    def storage(request: Request, content: bytes) -> Script:
        return garbled(faults.good(request, content), 1)

    begun_with = 0
    with Kaggle([model_of({"f": content})], token=TOKEN, user="alice") as server, hasty():
        server.meddle, server.storage = meddle, storage
        number = 0
        while number < count:
            stage = number % 2
            state.update(left=chance.choice((1, 1, 3)), stage=stage, untold=0)
            begun = time.monotonic()
            with client_of(server.url, folder / str(number)) as client:
                left = state["left"]
                verdict = judged(partial(read, client, "f"), content)
                # Without a word of its digest nobody can tell that a body is another one, nor of
                # a file that is listed without its size that it is not empty.
                if verdict.kind == WRONG and (state["untold"] or verdict.text == "b''"):
                    verdict = Verdict(UNPROVEN)
                number += max(1, left - state["left"])
            found.ends[verdict.kind] += 1
            if not begun_with and number > count // 10:  # with all modules loaded
                begun_with = _memory()
            # What a registry says of other things is its word; a file's bytes have a digest.
            if verdict.kind in (WRONG, BAD):
                found.bad += f"{number}: {verdict.text}\n"
            found.slowest = max(found.slowest, time.monotonic() - begun)
            if number % 500 < 2:
                server.clear()
                gc.collect()
    found.memory = begun_with, _memory()
    return found


def garble(chance: random.Random, data: bytes) -> bytes:
    """`data` with some damage: bits, bytes, lines and numbers changed, moved, doubled or lost."""
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at, to = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(9):
            case 0 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at:]
            case 3:
                data = data[:at] + chance.randbytes(chance.choice((1, 4, 100))) + data[at:]
            case 4:
                lines = data.split(b"\r\n")
                chance.shuffle(lines)
                data = b"\r\n".join(lines)
            case 5:
                lines = data.split(b"\r\n")
                data = b"\r\n".join([*lines[:2], chance.choice(lines), *lines[2:]])
            case 6:
                odd = chance.choice((b"-1", b"0", b"9" * 30, b"1e9", b"NaN", b"\xff", b"null"))
                spans = [n for n, byte in enumerate(data[:1000]) if 48 <= byte < 58]
                if spans:
                    at = chance.choice(spans)
                    data = data[:at] + odd + data[at + 1 :]
            case 7:
                odd = chance.choice((b'"', b"{", b"]", b"\0", b"\r\n", b":", b"\\u0000", b"%n"))
                data = data[:at] + odd * chance.choice((1, 2, 1000)) + data[at:]
            case _:
                data = data[:at]
    return data


def _told(answer: bytes) -> bool:
    """Whether a digest can still be read in the head of an answer."""
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    fields = [line.partition(":") for line in lines]
    return any(name == "x-goog-hash" and digests_of(value) for name, _, value in fields)


def _memory() -> int:
    """The most that this process has had at once so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
