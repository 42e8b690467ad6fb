"""Names of drafts and above them, as the local part of a tree has them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from drafting import DRAFT, MODEL, OTHER, WAIT, Studio
from modelfs import waiting
from modelfs.errors import NotFound, WrongState
from modelfs.fs.documents import Documents
from modelfs.fs.drafts import State
from modelfs.fs.local import Local
from modelfs.refs import Ref
from sims.desk import Desk


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture
def local(desk: Desk, studio: Studio, executor: ThreadPoolExecutor) -> Local:
    documents = Documents(desk, studio.staging, executor, waiting.wait)
    return Local(
        desk,
        studio.staging,
        studio.publisher,
        documents,
        caller=lambda: OTHER,
        wait=waiting.wait,
    )


def test_a_document_that_the_disk_did_not_take_is_not_edited_for_ever(
    local: Local, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    studio.fill()
    studio.publish()
    document = MODEL.child("model.json")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            local.open(document, "", os.O_WRONLY)
    local.open(document, "", os.O_WRONLY).close()
    assert not studio.staging.holds(document)


def test_what_goes_while_it_is_listed_takes_nothing_else_with_it(
    local: Local, studio: Studio
) -> None:
    studio.fill()
    expected = {name for name, _, _ in local.listing(DRAFT)}
    done = threading.Event()

    def come_and_go() -> None:
        for number in count():
            if done.is_set():
                return
            path = studio.staging.path(DRAFT, f"new-{number % 50}")
            path.touch()
            path.unlink()

    coming = threading.Thread(target=come_and_go)
    coming.start()
    try:
        for _ in range(3000):
            assert expected <= {name for name, _, _ in local.listing(DRAFT)}
    finally:
        done.set()
        coming.join(WAIT)


def test_what_a_draft_being_published_is_in_is_not_renamed(
    local: Local, studio: Studio, desk: Desk
) -> None:
    studio.fill()
    gate, reached = threading.Event(), threading.Event()

    def hook(name: str, moment: str) -> None:
        if (name, moment) == ("create", "before"):
            reached.set()
            assert gate.wait(WAIT)

    desk.hook = hook
    outcome = studio.begin()
    assert reached.wait(WAIT)
    journal = studio.staging.read_journal(DRAFT)
    assert "creating" == journal["phase"]
    other = Ref((*MODEL.parts[:-1], "other"))
    with pytest.raises(WrongState, match="is being published"):
        local.rename((MODEL, ""), (other, ""))
    with pytest.raises(WrongState, match="is being published"):
        studio.publisher.renamed(DRAFT, MODEL.child("copy"))
    assert (journal, {}) == (
        studio.staging.read_journal(DRAFT),
        studio.staging.read_journal(MODEL.child("copy")),
    )
    gate.set()
    assert DRAFT == outcome.result(WAIT)


def test_drafts_keep_their_state_when_what_they_are_in_is_renamed(
    local: Local, studio: Studio
) -> None:
    studio.fill()
    studio.staging.write_journal(DRAFT, {"what": "is known of it"})
    other = Ref((*MODEL.parts[:-1], "other"))
    local.rename((MODEL, ""), (other, ""))
    moved = other.child(DRAFT.name)
    assert ({}, {"what": "is known of it"}) == (
        studio.staging.read_journal(DRAFT),
        studio.staging.read_journal(moved),
    )
    assert State.OPEN is studio.state(moved)
    with pytest.raises(NotFound):
        studio.publisher.ask(DRAFT)
