"""Every fault of a storage, at each way to read: right bytes or an error, and no harm for later."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from faults.cells import (
    BAD,
    RIGHT,
    TOKEN,
    UNPROVEN,
    WRONG,
    Table,
    Verdict,
    client_of,
    hasty,
    judged,
    pace_of,
    run,
)
from modelfs.api import Client
from sims import faults, faults_bytes
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle
from sims.raw import Request, Script

# All cells are one fixture; on a machine that does something else as well it takes minutes.
pytestmark = pytest.mark.timeout(900)

# Two blocks of the cache, and some.
SIZE = 600_000
_RANDOM = random.Random(21)
CONTENT = {name: _RANDOM.randbytes(SIZE) for name in ("whole", "part", "download")}
MODEL = Model("alice", "faulty", (Instance("other", "it", (Version(CONTENT),)),))
VERSION = "alice/faulty/other/it/1"
START, STOP = 300_000, 310_000

Row = Mapping[tuple[str, ...], Verdict]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("matrix")
    with hasty():
        return run(
            row(kind, mode, folder / f"{number}-{mode}")
            for number, kind in enumerate(faults_bytes.ALL)
            for mode in ("once", "always")
        )


def row(kind: str, mode: str, folder: Path) -> Callable[[], Row]:
    return lambda: _row(kind, mode, folder)


def _row(kind: str, mode: str, folder: Path) -> Row:
    fault = faults_bytes.ALL[kind]
    is_lie = kind in faults_bytes.LIES
    seen: set[bytes] = set()

    def storage(request: Request, content: bytes) -> Script:
        is_first = content not in seen
        seen.add(content)
        return (fault if is_first or mode == "always" else faults.good)(request, content)

    found: dict[str, Verdict] = {}
    with Kaggle([MODEL], token=TOKEN, user="alice") as server:
        server.storage = storage
        pace = pace_of(kind, mode, faults_bytes.PASSING)
        with client_of(server.url, folder, pace=pace) as client:
            found["whole"] = judged(lambda: whole(client, "whole"), CONTENT["whole"])
            found["part"], found["rest after a part"] = parts(client, is_lie)
            found["download"] = judged(lambda: downloaded(client, folder), CONTENT["download"])
        server.storage = faults.good
        with client_of(server.url, folder, pace="patient") as client:
            for name, content in CONTENT.items():
                found[f"{name}, after"] = judged(partial(whole, client, name), content)
            found["downloaded, after"] = judged(
                lambda: downloaded(client, folder), CONTENT["download"]
            )
            asked = len(server.fetched)
            found["warm"] = judged(lambda: whole(client, "part"), CONTENT["part"])
            if more := [(each.target, each.range) for each in server.fetched[asked:]]:
                found["warm"] = Verdict(BAD, f"what is cached was asked for: {more}")
    return {(kind, mode, operation): verdict for operation, verdict in found.items()}


def whole(client: Client, name: str) -> bytes:
    with client.open(f"{VERSION}/{name}") as file:
        return file.read()


def parts(client: Client, is_lie: bool) -> tuple[Verdict, Verdict]:
    """Some bytes in the middle; and with the same opening, all of it."""
    content = CONTENT["part"]
    file = None

    def part() -> bytes:
        nonlocal file
        file = client.open(f"{VERSION}/part")
        file.seek(START)
        return file.read(STOP - START)

    def rest() -> bytes:
        assert file is not None
        file.seek(0)
        return file.read()

    first = judged(part, content[START:STOP], is_lie=is_lie)
    try:
        return first, judged(rest, content) if file is not None else first
    finally:
        if file is not None:
            file.close()


def downloaded(client: Client, folder: Path) -> bytes:
    target = folder / "target"
    try:
        (path,) = client.download(VERSION, target, files=["download"])
    except BaseException:
        assert [] == [each.name for each in target.glob("*") if each.name == "download"]
        raise
    return path.read_bytes()


def test_no_operation_gives_wrong_bytes_or_fails_without_saying_so(table: Table) -> None:
    assert {} == table.of(WRONG, BAD)
    assert 9 * 2 * len(faults_bytes.ALL) == len(table)


def test_only_a_part_of_a_file_whose_storage_lies_is_handed_out_unproven(table: Table) -> None:
    """What `--verify first` is for; the end of such a file nobody gets."""
    unproven = table.of(UNPROVEN)
    assert {"part"} == {operation for _, _, operation in unproven}
    assert set(faults_bytes.LIES) >= {kind for kind, _, _ in unproven}


def test_nothing_is_wrong_once_the_fault_is_gone(table: Table) -> None:
    later = {cell: each for cell, each in table.cells.items() if "after" in cell[2].split(", ")}
    assert 4 * 2 * len(faults_bytes.ALL) == len(later)
    assert {} == {cell: each.text for cell, each in later.items() if each.kind != RIGHT}
    assert {RIGHT} == {each.kind for cell, each in table.cells.items() if cell[2] == "warm"}


@pytest.mark.parametrize("operation", ["whole", "download", "part"])
def test_a_fault_that_passes_is_not_noticed(operation: str, table: Table) -> None:
    kinds = set(faults_bytes.PASSING)
    assert {} == {
        cell: each.text
        for cell, each in table.cells.items()
        if cell[0] in kinds and cell[1:] == ("once", operation) and each.kind != RIGHT
    }
