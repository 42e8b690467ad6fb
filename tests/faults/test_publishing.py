"""Faults of a registry while something is published, changed or deleted: once, whole or not at all.

Before the embedded registry stands what spoils the answers to one kind of request: before it is
handed on, or after the work was done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from faults.cells import (
    ARCHIVE,
    BAD,
    FAST,
    PACES,
    RIGHT,
    WRONG,
    Table,
    Verdict,
    client_of,
    hasty,
    judged,
    run,
)
from modelfs.api import Client
from modelfs.errors import NotFound
from modelfs.fs import packing
from modelfs.server.app import Settings, running
from sims import faults_api
from sims.raw import Request, Script
from sims.relay import Answered, Meddle, Relay

# All cells are one fixture; on a machine that does something else as well it takes minutes.
pytestmark = pytest.mark.timeout(900)

UPLOADING = ("StartBlobUpload", "PUT")
CREATING = ("CreateModel", "CreateModelInstance", "CreateModelInstanceVersion")
# Too large to be packed, and small ones that are.
PLAIN = {"config.json": b"{}", "deep/weights.bin": bytes(range(256)) * 400}
PACKED = {"config.json": b"{}", "deep/grüße.bin": bytes(range(256)) * 200, "deep/er/empty": b""}
# Operation -> what the faults are in the way of.
STAGES: Mapping[str, tuple[str, ...]] = {
    "upload": UPLOADING,
    "create": CREATING,
    "upload, packed": UPLOADING,
    "create, packed": CREATING,
    "update": ("UpdateModel",),
    "delete": ("DeleteModel",),
}
# One of each kind, as hundreds of versions are published in a test.
KINDS = [
    *("drop", "stall", "nonsense for a head", "cut", "cut off", "null"),
    *(f"status {status}" for status in (400, 401, 403, 404, 409, 413, 429, 500, 503)),
    *("status 200 with a page", "status 200 with nothing", "status 429, Retry-After of a billion"),
    *("200 that says 404", "200 that says error", "a redirect to a login"),
    *("an empty object", "two lengths", "more after it", "everything a level down"),
    *("texts that are null", "texts that are numbers", "numbers that are texts"),
    *("numbers one higher", "texts of controls"),
]
# What says, in the words for it, that all is done: that it is not there, or has been changed.
CLAIMED = {
    **dict.fromkeys(("status 404", "200 that says 404"), ("delete",)),
    "an empty object": ("update", "delete"),
    "everything a level down": ("update", "delete"),
}
# With a body that ends.
SPOILED_AT_ONCE = {kind for kind in faults_api.SPOILED if kind not in ("cut off", "more after it")}
# Of files that are packed so many-th cells: the others differ by what is uploaded alone.
EVERY = int(os.environ.get("FAULTS_EVERY", "5"))
REFUSALS = {f"status {status}" for status in (400, 401, 403, 404, 409, 413)}
MODES = ("once", "always", "done")
# An error will do while there is a fault, but for one thing: who gives up on a server that is slow
# to make a version, and asks again, would have two, as nobody looks for as long as he should.
PACES = {
    **PACES,
    "": replace(FAST, read=3, total=6, stall=3, submit=60),
    "stalled": replace(FAST, read=3, total=6, stall=3, submit=10),
    "stalled for ever": replace(FAST, read=3, total=6, stall=3, submit=2),
}
ENDLESS = {"stall", "more after it"}
# A version whose making is not answered is looked for several times.
LONGEST = 240.0


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("publishing")
    for stage in STAGES:
        for path, content in files_of(stage).items():
            (folder / stage / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / stage / path).write_bytes(content)
    # Nobody pulls the plug here; waiting for the disk would take most of the time.
    with (
        mock.patch("os.fsync"),
        mock.patch.object(packing, "_FEWEST", 1),
        running(Settings(folder / "registry", "alice")) as url,
        hasty(PACES),
    ):
        token = (folder / "registry/token").read_text().strip()
        cells = [
            (kind, mode, stage)
            for kind in KINDS
            for mode in MODES
            for stage in STAGES
            # An answer is spoiled after what it tells of was done; and neither what is spoiled nor
            # what is refused in the words of HTTP is asked for again in one call.
            if not (mode == "done" and kind in faults_api.SPOILED)
            and not (mode == "once" and (kind in REFUSALS or kind in SPOILED_AT_ONCE))
            # Who asks to be left alone while a version is made is waited for, an hour if need be.
            and not (stage.startswith("create") and kind.endswith("of a billion"))
        ]
        packed = [cell for cell in cells if cell[2].endswith("packed")]
        cells = [cell for cell in cells if cell not in packed] + packed[::EVERY]
        rows = [
            partial(row, cell, token, url, folder / cell[2], folder / f"c{number}")
            for number, cell in enumerate(cells)
        ]
        yield run(rows, is_server_here=True)


def row(
    cell: tuple[str, str, str], token: str, url: str, source: Path, folder: Path
) -> Mapping[tuple[str, ...], Verdict]:
    kind, mode, stage = cell
    model = f"alice/{folder.name}"
    pace = ""
    if kind in ENDLESS:
        pace = "stalled for ever" if mode == "always" else "stalled"
    client_at = partial(client_of, token=token, pace="patient")
    with Relay(url) as relay, client_at(url, folder / "direct") as direct:
        if stage in ("update", "delete"):
            direct.create(model, {"title": "before"})
        with client_of(relay.url, folder, token, pace=pace) as client:
            operation = partial(OPERATIONS[stage], client, model, source)
            relay.meddle = in_the_way(faults_api.ALL[kind], mode, STAGES[stage])
            found = {stage: judged(operation, lambda _: True, longest=LONGEST)}
            relay.meddle = None
            relay.settle()
        is_done = found[stage].kind == RIGHT
        if stage in CLAIMED.get(kind, ()):
            return {(kind, mode, stage): found[stage]}
        if wrong := half_done(direct, model, stage, is_over=is_done):
            found[stage] = Verdict(WRONG, wrong)
        with client_at(relay.url, folder) as client:
            again = partial(OPERATIONS[stage], client, model, source)
            for _ in range(0 if is_done else 2):
                # Uploads of an earlier call that are refused are done anew by the one after it.
                found[f"{stage}, after"] = judged(again, lambda _: True, longest=LONGEST)
                if found[f"{stage}, after"].kind == RIGHT:
                    break
        with client_at(url, folder / "direct") as direct:
            if wrong := half_done(direct, model, stage, is_over=True):
                found[f"{stage}, after"] = Verdict(WRONG, f"{wrong}; {found}")
    # One that broke off in the middle has no name.
    sent = [message.get("name", "") for message in relay.messages("StartBlobUpload") if message]
    if sent and (sent[0] == ARCHIVE) != stage.endswith("packed"):
        found[stage] = Verdict(BAD, f"sent: {sent}")
    return {(kind, mode, operation): verdict for operation, verdict in found.items()}


def publish(client: Client, model: str, source: Path) -> object:
    return client.publish(source, f"{model}/other/it", notes="n")


def update(client: Client, model: str, source: Path) -> object:
    client.update(model, {"title": "after"})
    return True


def delete(client: Client, model: str, source: Path) -> object:
    client.delete(model)
    return True


OPERATIONS: Mapping[str, Callable[[Client, str, Path], object]] = {
    "upload": publish,
    "create": publish,
    "upload, packed": publish,
    "create, packed": publish,
    "update": update,
    "delete": delete,
}


def in_the_way(fault: Meddle, mode: str, endings: tuple[str, ...]) -> Meddle:
    seen: set[str] = set()

    def meddle(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        method = request.path.rpartition("/")[2]
        if not (method in endings or request.method in endings):
            return hand_on(request).script
        if mode != "always" and method in seen:
            return hand_on(request).script
        seen.add(method)
        if mode == "done":
            hand_on(request)
        return fault(request, hand_on)

    return meddle


def half_done(direct: Client, model: str, stage: str, *, is_over: bool) -> str:
    """What there is that must not be: half a version, two of them, nothing after a success."""
    if stage == "delete":
        return "still there" if is_over and exists(direct, model) else ""
    if stage == "update":
        title = direct.metadata(model)["title"]
        return "" if title == "after" or (title == "before" and not is_over) else f"title {title}"
    registry = direct._registry
    registry.forget(registry.canonical(direct.resolve(model)))
    instance = f"{model}/other/it"
    versions = [item.ref for item in direct.list(instance)] if exists(direct, instance) else []
    if len(versions) > 1 or (is_over and not versions):
        return f"{len(versions)} versions"
    files = files_of(stage)
    for version in versions:
        listed = {file.path: file.size for file in direct.manifest(version).files}
        if listed != {path: len(content) for path, content in files.items()}:
            return f"half a version: {listed}"
        for path, content in files.items():
            with direct.open(f"{version}/{path}") as file:
                if file.read() != content:
                    return f"another {path}"
    return ""


def files_of(stage: str) -> Mapping[str, bytes]:
    return PACKED if stage.endswith("packed") else PLAIN


def exists(client: Client, ref: str) -> bool:
    try:
        client.stat(ref)
    except NotFound:
        return False
    return True


def test_nothing_is_half_done_or_done_twice(table: Table) -> None:
    assert {} == table.of(WRONG, BAD)


def test_what_failed_is_done_by_asking_again(table: Table) -> None:
    assert {} == {
        cell: each.text
        for cell, each in table.cells.items()
        if cell[2].endswith(", after") and each.kind != RIGHT
    }
    assert {RIGHT} <= set(table.counts)
