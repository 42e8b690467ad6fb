"""Faults of WriftAI, at each call of the package and of a mount: right, or an error that says so.

What a POST makes is counted at the service itself: one at most, whatever becomes of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

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
from faults.test_api import OTHER, is_tame, only_first
from faults.test_publishing import KINDS
from modelfs.api import Client
from modelfs.refs import Ref
from modelfs.wriftai import Client as Package
from polling import wait_for
from sims import faults_api
from sims.raw import Request, Script
from sims.relay import Answered, Meddle
from sims.wriftai import SCHEMAS, WriftAI, digest

# All cells are one fixture; on a machine that does something else as well it takes minutes.
pytestmark = pytest.mark.timeout(900)

MODEL = "alice/echo"
NOTES = "made while something was wrong"
Call = tuple[str, str, tuple[Any, ...]]

# As a program calls the package; each of these has a twin that is awaited.
ASKED: Mapping[str, Call] = {
    "me": ("authenticated_user", "get", ()),
    "user": ("users", "get", ("alice",)),
    "list of models": ("models", "list", (None, "alice")),
    "model": ("models", "get", (MODEL,)),
    "list of versions": ("model_versions", "list", (MODEL,)),
    "version": ("model_versions", "get", (f"{MODEL}:1",)),
}
CHANGED: Mapping[str, Call] = {
    "create a model": ("models", "create", ({"name": "new", "visibility": "private"},)),
    "create a version": (
        *("model_versions", "create"),
        (
            MODEL,
            {
                "release_notes": NOTES,
                "schemas": SCHEMAS,
                "container_image_digest": digest("e"),
            },
        ),
    ),
    "update a model": ("models", "update", (MODEL, {"description": "after"})),
    "delete a version": ("model_versions", "delete", (f"{MODEL}:1",)),
    "delete a model": ("models", "delete", (MODEL,)),
}
# Asked again where nothing came back, as twice is as once.
REPEATED = ("update a model", "delete a version", "delete a model")
# As a mount asks.
SHOWN: Mapping[str, Callable[[Client], object]] = {
    "models": lambda client: [item.ref for item in client.list("alice")],
    "versions": lambda client: [item.ref for item in client.list(MODEL)],
    "documents": lambda client: [each.name for each in client.manifest(f"{MODEL}/1").documents],
    "latest": lambda client: client.resolve(f"{MODEL}/latest"),
}
# Answers that are JSON as good as the right one: what they say is the service's own word.
BENT = ("texts", "numbers", "lists", "everything", "a token", "one token", "pages", "200 that")
# The last: what was asked for is done, its answer lost, and nothing is answered from then on.
MODES = ("once", "always", "done", "gone")
# Faults that say, in the words for it, that something was done.
CLAIMED = {
    *("null", "an empty object", "a number", "a text", "a list", "true"),
    *("status 200 with nothing", "everything a level down", "lists that are null"),
    *("200 that says 404", "200 that says error"),
}


def service() -> WriftAI:
    service = WriftAI(token=TOKEN, user="alice")
    for notes in ("first", "second", "third"):
        service.add_version("alice", "echo", notes)
    service.add_model("alice", "other")
    return service


def package(server: WriftAI, kind: str) -> Package:
    """As patient as it should be, but for answers that never come, which cost all of it."""
    seconds = 1 if kind == "stall" else 60
    return Package(TOKEN, f"{server.url}/v1", timeout=seconds, max_retries=2)


def called(client: Package, call: Call, *, is_awaited: bool) -> Any:
    resource, name, arguments = call
    if not is_awaited:
        return getattr(getattr(client, resource), name)(*arguments)

    async def awaited() -> Any:
        return await getattr(getattr(client, resource), f"async_{name}")(*arguments)

    return asyncio.run(awaited())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("matrix")
    asked = [
        partial(asking, kind, mode, folder / f"{number}-{mode}")
        for number, kind in enumerate(dict.fromkeys([*KINDS, *faults_api.SPOILED]))
        # A spoiled answer is not asked for again.
        for mode in (("always",) if kind in faults_api.SPOILED else ("once", "always"))
    ]
    changed = [
        partial(changing, kind, mode, operation)
        for kind in KINDS
        for mode in MODES
        for operation in CHANGED
        # Who says that it was too much, and did it nevertheless, is believed.
        if mode in ("once", "always") or not (kind in faults_api.SPOILED or "429" in kind)
    ]
    with hasty():
        return run([*asked, *changed])


def right() -> dict[str, object]:
    with service() as server, package(server, "") as client:
        return {name: called(client, call, is_awaited=False) for name, call in ASKED.items()}


RIGHT_SHOWN: Mapping[str, object] = {
    "models": [Ref.parse("alice/echo"), Ref.parse("alice/other")],
    "versions": [Ref.parse(f"{MODEL}/{number}") for number in (3, 2, 1)],
    "documents": ["NOTES", "schemas.json", "container_image_digest", "version.json"],
    "latest": Ref.parse(f"{MODEL}/3"),
}


def is_told(_: object) -> bool:
    return True


def asking(kind: str, mode: str, folder: Path) -> Mapping[tuple[str, ...], Verdict]:
    found: dict[str, Verdict] = {}
    fault = faults_api.ALL[kind]
    pace = pace_of(kind, mode, faults_api.PASSING)
    with service() as server:
        expected = right()
        is_other = kind in OTHER or kind.startswith(BENT)

        def spoil() -> None:
            server.meddle = only_first(fault) if mode == "once" else fault

        for name, call in ASKED.items():
            spoil()
            with package(server, kind) as client:
                # The package hands on what the service says, whatever that is.
                value = is_told if is_other else expected[name]
                ask = partial(called, client, call, is_awaited=mode == "always")
                found[name] = judged(ask, value)
        for name, question in SHOWN.items():
            spoil()
            with client_of(server.url, folder / name, pace=pace, protocol="wriftai") as client:
                value = is_tame if is_other else RIGHT_SHOWN[name]
                found[name] = judged(partial(question, client), value)
            server.meddle = None
            with client_of(
                server.url, folder / f"{name}, after", pace="patient", protocol="wriftai"
            ) as client:
                found[f"{name}, after"] = judged(partial(question, client), RIGHT_SHOWN[name])
    return {(kind, mode, operation): verdict for operation, verdict in found.items()}


class InTheWay:
    """What spoils changes: the first, every one, or the answers alone; `settle` waits for it."""

    def __init__(self, fault: Meddle, mode: str) -> None:
        self._fault = fault
        self._mode = mode
        self._is_seen = False
        self._begun = self._ended = 0

    def __call__(self, request: Request, hand_on: Callable[[Request], Answered]) -> Script:
        is_gone = self._mode == "gone" and self._is_seen
        is_over = self._is_seen and self._mode in ("once", "done")
        if not is_gone and (request.method == "GET" or is_over):
            return hand_on(request).script
        self._is_seen = True
        if self._mode in ("done", "gone") and not is_gone:
            self._begun += 1
            hand_on(request)
            self._ended += 1
        return self._fault(request, hand_on)

    def settle(self) -> None:
        wait_for(lambda: self._begun == self._ended, 60)


def changing(kind: str, mode: str, operation: str) -> Mapping[tuple[str, ...], Verdict]:
    found: dict[str, Verdict] = {}
    with service() as server:
        server.meddle = fault = InTheWay(faults_api.ALL[kind], mode)
        with package(server, kind) as client:
            change = partial(called, client, CHANGED[operation], is_awaited=mode == "always")
            found[operation] = judged(change, is_told)
        fault.settle()
        server.meddle = None
        is_sure = found[operation].kind == RIGHT and kind not in CLAIMED
        if wrong := misdone(server, operation, kind, is_over=is_sure):
            found[operation] = Verdict(WRONG, f"{wrong}; {found}")
        elif misdone(server, operation, kind, is_over=True):
            # Not done, as whoever looks finds out: he asks again.
            with package(server, "") as client:
                change = partial(called, client, CHANGED[operation], is_awaited=False)
                found[f"{operation}, after"] = judged(change, is_told)
            if wrong := misdone(server, operation, "status 429", is_over=True):
                found[f"{operation}, after"] = Verdict(WRONG, f"{wrong}; {found}")
    return {(kind, mode, name): verdict for name, verdict in found.items()}


def misdone(server: WriftAI, operation: str, kind: str, *, is_over: bool) -> str:
    """What the service holds that must not be; `is_over`: or does not hold, and has to."""
    asked = sum(request.method == "POST" for request in server.requests)
    if asked > 1 and "429" not in kind:
        return f"asked {asked} times"
    model = server.models.get(("alice", "echo"))
    versions = list(model.versions.values()) if model else []
    match operation:
        case "create a model":
            is_done = ("alice", "new") in server.models
        case "create a version":
            made = [item for item in versions if item["release_notes"] == NOTES]
            if len(made) > 1:
                return f"{len(made)} versions"
            is_done = bool(made)
        case "update a model":
            is_done = model is not None and model.fields.get("description") == "after"
        case "delete a version":
            is_done = bool(versions) and 1 not in [item["number"] for item in versions]
        case _:
            is_done = model is None
    return "not done" if is_over and not is_done else ""


def test_no_call_is_answered_wrongly_or_done_twice_or_fails_without_saying_so(
    table: Table,
) -> None:
    assert {} == table.of(WRONG, BAD)
    assert {"me", "latest", "create a version", "delete a model"} <= {
        name for *_, name in table.cells
    }


def test_what_failed_is_right_or_done_once_the_fault_is_gone(table: Table) -> None:
    later = {cell: each for cell, each in table.cells.items() if cell[2].endswith(", after")}
    assert later
    assert {} == {cell: each.text for cell, each in later.items() if each.kind != RIGHT}


def test_a_fault_that_passes_is_not_noticed(table: Table) -> None:
    assert {} == {
        cell: each.text
        for cell, each in table.cells.items()
        # Of an answer that never comes a program waits for as long as it wants to wait.
        if cell[0] in set(faults_api.PASSING) - {"stall"}
        and cell[1] == "once"
        and cell[2] in (*ASKED, *SHOWN, *([] if cell[0] in faults_api.SPOILED else REPEATED))
        and each.kind != RIGHT
    }
