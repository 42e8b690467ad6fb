"""Faults of a storage below a mount, read whole, in part and mapped, in both ways to verify.

One mount has a registry for each fault, so that what one host asks for (to be left alone) is not
asked of the others.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import signal
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from faults.cells import ERROR, RIGHT, UNPROVEN, WRONG
from faults.reading import read_all
from mounting import Mounted
from polling import wait_for
from sims import faults, faults_bytes
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle
from sims.raw import DROP

# All cells are one fixture; on a machine that does something else as well it takes minutes.
pytestmark = pytest.mark.timeout(900)

SIZE = 600_000
START, STOP = 300_000, 310_000
WAYS = ("whole", "part", "mapped")
_RANDOM = random.Random(23)
CONTENT = {way: _RANDOM.randbytes(SIZE) for way in WAYS}
GOOD = {"whole": _RANDOM.randbytes(SIZE)}


def model(files: dict[str, bytes]) -> Model:
    return Model("alice", "faulty", (Instance("other", "it", (Version(files),)),))


VERSION = "alice/faulty/other/it/1"
TOKEN = "KGAT_canary_of_the_mount"
# One of each kind: the matrix of the clients has all statuses, and all that Retry-After may say.
KINDS = [
    *faults.FAULTS,
    *faults_bytes.LIES,
    *(kind for kind in faults_bytes.ALL if not kind.startswith("status ")),
    *(f"status {status}" for status in (401, 403, 404, 409, 418, 451, 504)),
    *(f"status 429, Retry-After {kind}" for kind in ("in the past", "of a billion", "of words")),
]
KINDS = [*dict.fromkeys(KINDS)]
# A host that asks for that is left alone for an hour.
LEFT_ALONE = {"status 429, Retry-After of a billion"}
ERRORS = {f"errno {number}" for number in (errno.EIO, errno.ETIMEDOUT, errno.ENOENT)}
ERRORS.add(f"signal {signal.SIGBUS}")


# Files that are held until Python collects garbage; hundreds of reads have failed by then.
A_FEW = 8


@dataclass
class Result:
    """What a mount gave, by fault and way; `later`: once the faults were gone."""

    verify: str
    during: dict[tuple[str, str], str] = field(default_factory=dict)
    later: dict[tuple[str, str], str] = field(default_factory=dict)
    warm: dict[tuple[str, str], str] = field(default_factory=dict)
    fetched_warm: int = 0
    good: str = ""
    log: str = ""
    descriptors: tuple[int, int] = (0, 0)


@pytest.fixture(scope="module", params=["complete", "first"])
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        servers = {
            kind: stack.enter_context(Kaggle([model(files)], token=TOKEN, user="alice"))
            for kind, files in {"good": GOOD, **dict.fromkeys(KINDS, CONTENT)}.items()
        }
        names = {kind: f"r{number}" for number, kind in enumerate(servers)}
        specs = [f"{names[kind]}=kaggle+{server.url}" for kind, server in servers.items()]
        options = [word for spec in specs[1:] for word in ("--registry", spec)]
        mount = stack.enter_context(
            Mounted(
                folder,
                specs[0],
                *(*options, "--read-only", "--verify", request.param, "--passthrough", "off"),
                token=TOKEN,
            )
        )
        return measured(mount, servers, {kind: mount.path / names[kind] for kind in servers})


def measured(mount: Mounted, servers: dict[str, Kaggle], roots: dict[str, Path]) -> Result:
    found = Result("first" if "first" in str(mount.path) else "complete")

    def read(cells: list[tuple[str, str]], *, as_is: bool) -> dict[tuple[str, str], str]:
        wishes = [
            (way if as_is else "whole", roots[kind] / VERSION / way, *span(way, as_is=as_is))
            for kind, way in cells
        ]
        return {
            cell: verdict(cell, told, as_is=as_is)
            for cell, told in zip(cells, read_all(wishes), strict=True)
        }

    cells = [(kind, way) for kind in KINDS for way in WAYS]
    for root in roots.values():
        os.listdir(root / VERSION)
    before = open_files(mount.pid)
    for kind in KINDS:
        servers[kind].storage = faults_bytes.ALL[kind]
    found.during = read(cells, as_is=True)
    [told] = read_all([("whole", roots["good"] / VERSION / "whole", 0, SIZE)])
    found.good = RIGHT if told == hashlib.sha256(GOOD["whole"]).hexdigest() else told
    for kind in KINDS:
        servers[kind].storage = faults.good

    def all_right() -> bool:
        left = [cell for cell in cells if found.later.get(cell) != RIGHT]
        found.later |= read(left, as_is=False)
        return {kind for kind, way in cells if found.later[kind, way] != RIGHT} <= LEFT_ALONE

    try:
        wait_for(all_right, 180)
    except AssertionError:
        pass  # told cell by cell
    for server in servers.values():
        server.storage = lambda *_: [DROP]
        server.clear()
    found.warm = read([cell for cell in cells if cell[0] not in LEFT_ALONE], as_is=False)
    found.fetched_warm = sum(len(server.fetched) for server in servers.values())
    wait_for(lambda: open_files(mount.pid) <= before + A_FEW, 60, "files of the cache are closed")
    found.descriptors = before, open_files(mount.pid)
    found.log = mount.log
    return found


def span(way: str, *, as_is: bool) -> tuple[int, int]:
    return (START, STOP) if as_is and way == "part" else (0, SIZE)


def verdict(cell: tuple[str, str], told: str, *, as_is: bool) -> str:
    kind, way = cell
    start, stop = span(way, as_is=as_is)
    if told == hashlib.sha256(CONTENT[way][start:stop]).hexdigest():
        return RIGHT
    if told in ERRORS:
        return ERROR
    return f"{UNPROVEN if kind in faults_bytes.LIES and way == 'part' and as_is else WRONG}: {told}"


def open_files(pid: int) -> int:
    """Files that a process has open, connections not counted: those wait for the next request."""
    count = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{number}").startswith("/")
        except OSError:
            pass
    return count


def of(cells: dict[tuple[str, str], str], *good: str) -> dict[tuple[str, str], str]:
    return {cell: each for cell, each in cells.items() if each.partition(":")[0] not in good}


def test_no_reader_of_a_mount_gets_wrong_bytes(result: Result) -> None:
    assert len(KINDS) * len(WAYS) == len(result.during)
    unproven = {cell for cell, each in result.during.items() if each.startswith(UNPROVEN)}
    assert {} == of(result.during, RIGHT, ERROR, UNPROVEN)
    if result.verify == "first":
        assert set() == unproven
    else:
        assert {(kind, "part") for kind in faults_bytes.LIES} >= unproven


def test_a_mount_goes_on(result: Result) -> None:
    assert RIGHT == result.good
    before, after = result.descriptors
    assert after <= before + A_FEW


def test_nothing_is_wrong_in_a_mount_once_the_fault_is_gone(result: Result) -> None:
    assert {} == {
        cell: each
        for cell, each in of(result.later, RIGHT).items()
        if cell[0] not in LEFT_ALONE or each != ERROR
    }
    assert {} == of(result.warm, RIGHT)
    assert 0 == result.fetched_warm


def test_the_log_of_a_mount_says_what_was_wrong_and_no_more(result: Result) -> None:
    assert "Traceback" not in result.log
    assert TOKEN not in result.log
    assert "Signature=" not in result.log
    for line in result.log.splitlines():
        if "WARNING" in line or "ERROR" in line:
            assert re.search(r"(read_buf|read|open): \S", line), line
