"""Every fault of an API, at each question that a reader asks: the right answer or an error."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest

from faults.cells import (
    BAD,
    RIGHT,
    TOKEN,
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
from modelfs.errors import NotFound
from modelfs.model import File
from modelfs.refs import Ref, name_fault
from modelfs.registry.pinned import locked_version
from sims import faults_api
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle
from sims.raw import Request, Script
from sims.relay import Answered, Meddle

# All cells are one fixture; on a machine that does something else as well it takes minutes.
pytestmark = pytest.mark.timeout(900)

CONTENT = random.Random(22).randbytes(5000)
FILES = {"config.json": b"{}", "deep/a": b"a", "empty": b"", "weights": CONTENT}
# Faults that say, in words that cannot be told from true ones, that something else is there.
OTHER = {
    *("hostile names", "everything twice", "lists that are null", "an empty object"),
    *("numbers one higher", "texts that are null", "numbers that are null", "texts of 1 MB"),
    *("lists that are objects", "numbers that are huge", "texts of controls"),
    *("everything a level down", "numbers that are negative"),
    *(f"200 that says {code!r}" for code in (-1, 10**30, None, True)),
}


INSTANCE = "alice/faulty/other/it"
MODEL = Model("alice", "faulty", (Instance("other", "it", (Version(FILES), Version(FILES))),))
QUESTIONS: Mapping[str, Callable[[Client, Path], object]] = {
    "account": lambda client, _: client.account().name[:10],
    "models": lambda client, _: names(client, "alice"),
    "instances": lambda client, _: names(client, "alice/faulty"),
    "versions": lambda client, _: names(client, f"{INSTANCE}"),
    "files": lambda client, _: [item.path for item in client.list(f"{INSTANCE}/1")],
    "stat": lambda client, _: client.stat("alice/faulty").ref,
    "stat of a version": lambda client, _: client.stat(f"{INSTANCE}/1").ref,
    "manifest": lambda client, _: [
        (file.path, file.size) for file in client.manifest(f"{INSTANCE}/1").files
    ],
    "latest": lambda client, _: client.resolve(f"{INSTANCE}/latest"),
    "metadata": lambda client, _: client.metadata(INSTANCE)["framework"],
    "read": lambda client, _: read(client, 0, len(CONTENT)),
    "a part": lambda client, _: read(client, 1000, 2000),
    "download": lambda client, folder: downloaded(client, folder),
    "lock": lambda client, _: locked(client),
}
# A size that could be right is kept with all that is known of a version: an error, not other bytes.
BELIEVED = {"numbers one higher"}
# What the bytes of a file are is known whatever a registry says of it; so is who owns a name.
EXACT = {"read", "a part", "download", "lock"}


def names(client: Client, ref: str) -> list[Ref]:
    return sorted((item.ref for item in client.list(ref)), key=str)


def read(client: Client, start: int, stop: int) -> bytes:
    with client.open(f"{INSTANCE}/1/weights") as file:
        file.seek(start)
        return file.read(stop - start)


def downloaded(client: Client, folder: Path) -> bytes:
    (path,) = client.download(f"{INSTANCE}/1", folder / "target", files=["weights"])
    return path.read_bytes()


def locked(client: Client) -> str:
    """The digest that a lock file has of the file."""
    registry = client._registry

    def each(questions: Sequence[Callable[[], File]]) -> list[File]:
        return [ask() for ask in questions]

    held = locked_version(registry, Ref.parse(f"{INSTANCE}/1"), each)
    found = {file.path: file.digests.md5 for file in held.files}
    if "weights" not in found:
        raise NotFound("not locked: weights")
    return found["weights"]


def right(name: str) -> object:
    """What a question is answered with when nothing is wrong."""
    return {
        "account": "alice",
        "models": [Ref.parse("alice/faulty")],
        "instances": [Ref.parse(INSTANCE)],
        "versions": [Ref.parse(f"{INSTANCE}/{number}") for number in (1, 2)],
        "files": [*FILES],
        "stat": Ref.parse("alice/faulty"),
        "stat of a version": Ref.parse(f"{INSTANCE}/1"),
        "manifest": [(path, len(content)) for path, content in sorted(FILES.items())],
        "latest": Ref.parse(f"{INSTANCE}/2"),
        "metadata": "other",
        "read": CONTENT,
        "a part": CONTENT[1000:2000],
        "download": CONTENT,
        "lock": hashlib.md5(CONTENT).hexdigest(),
    }[name]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("matrix")
    with hasty():
        return run(
            partial(row, kind, mode, names, folder / f"{number}-{mode}")
            for number, kind in enumerate(faults_api.ALL)
            for mode in ("once", "always")
            for names in asked(kind)
        )


def asked(kind: str) -> Sequence[Collection[str]]:
    """What is asked with a fault in the way, by rows: the questions of one wait for each other."""
    if kind == "stall":
        return [[name] for name in QUESTIONS]
    # When a host may be asked again is for all questions one and the same code.
    return [("stat", "read")] if "Retry-After" in kind else [QUESTIONS]


def row(
    kind: str, mode: str, names: Collection[str], folder: Path
) -> Mapping[tuple[str, ...], Verdict]:
    found = {}
    fault = faults_api.ALL[kind]
    pace = pace_of(kind, mode, faults_api.PASSING)
    with Kaggle([MODEL], TOKEN, "alice") as server:
        for name in names:
            question = QUESTIONS[name]
            server.meddle = only_first(fault) if mode == "once" else fault
            # One for each, as what has been answered is not asked again.
            with client_of(server.url, folder / name, pace=pace) as client:
                expected = right(name)
                if kind in OTHER and name not in EXACT:
                    expected = is_there if name == "files" else is_tame
                found[name] = judged(partial(question, client, folder / name), expected)
                server.meddle = None
            if name not in EXACT:
                continue
            with client_of(server.url, folder / name, pace="patient") as client:
                found[f"{name}, after"] = judged(
                    partial(question, client, folder / name), right(name)
                )
    return {(kind, mode, operation): verdict for operation, verdict in found.items()}


def only_first(fault: Meddle) -> Meddle:
    def meddle(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        is_first, meddle.is_over = not meddle.is_over, True
        return fault(request, hand_on) if is_first else hand_on(request).script

    meddle.is_over = False
    return meddle


def is_there(value: object) -> bool:
    """What a listing says of files is the registry's own words, for who asks for those."""
    return isinstance(value, list)


def is_tame(value: object) -> bool:
    """Whether what a registry says of other things holds nothing that harms who uses it."""
    texts = value if isinstance(value, list) else [value]
    parts = [part for text in texts for part in (text if isinstance(text, tuple) else (text,))]
    return all(
        isinstance(part, int)
        or (isinstance(part, Ref) and all(map(is_name, part.parts)))
        or (isinstance(part, str) and all(map(is_name, part.split("/"))))
        for part in parts
    )


def is_name(text: str) -> bool:
    return not name_fault(text)


def test_no_question_is_answered_wrongly_or_fails_without_saying_so(table: Table) -> None:
    assert {} == table.of(WRONG, BAD)
    names = [name for kind in faults_api.ALL for row in asked(kind) for name in row]
    assert 2 * (len(names) + sum(name in EXACT for name in names)) == len(table)


def test_nothing_is_wrong_once_the_fault_is_gone(table: Table) -> None:
    assert {} == {
        cell: each.text
        for cell, each in table.cells.items()
        if cell[2].endswith(", after") and each.kind != RIGHT and cell[0] not in BELIEVED
    }


def test_a_fault_that_passes_is_not_noticed(table: Table) -> None:
    assert {} == {
        cell: each.text
        for cell, each in table.cells.items()
        if cell[0] in faults_api.PASSING and cell[1] == "once" and each.kind != RIGHT
    }
