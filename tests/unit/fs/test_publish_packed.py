"""Many small files go to a registry as one archive, and are a version only if it unpacks them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from drafting import DRAFT, NOTES, WAIT, Studio
from modelfs.errors import DeadlinePassed, InvalidName, Unavailable, WrongState
from modelfs.fs import packing
from modelfs.fs.drafts import State
from modelfs.fs.journal import Journal
from modelfs.model import File
from polling import wait_for
from sims.desk import Desk, Version
from unit.fs.test_publish import SLOW, fail_at, hold

ARCHIVE = "archive.zip"
MANY = {f"d{n % 7}/grüße {n}.bin": bytes([n]) * (n * 37) for n in range(60)}
MIXED = {**MANY, "weights.bin": b"w" * 300_000, "d0/more.bin": b"m" * 200_000}
MakeStudio = Callable[..., Studio]


@pytest.fixture
def desk() -> Desk:
    return Desk(archive=ARCHIVE)


def assert_published(studio: Studio, files: dict[str, bytes], version: str = "1") -> None:
    assert 1 == studio.desk.held.creations
    assert Version(files, NOTES) == studio.desk.held.versions[DRAFT.parent.child(version)]
    wait_for(lambda: not studio.staging.path(DRAFT).exists(), WAIT)


def test_many_small_files_are_one_upload(studio: Studio) -> None:
    studio.fill(MANY)
    studio.publish()
    assert_published(studio, MANY)
    assert (1, {ARCHIVE}) == (studio.desk.calls["begin"], set(studio.desk.received))


def test_large_files_among_them_go_by_themselves(studio: Studio) -> None:
    studio.fill(MIXED)
    studio.publish()
    assert_published(studio, MIXED)
    assert {ARCHIVE, "weights.bin", "d0/more.bin"} == set(studio.desk.received)


def test_files_that_are_few_go_as_they_are(studio: Studio) -> None:
    few = dict(list(MANY.items())[:50])
    studio.fill(few)
    studio.publish()
    assert_published(studio, few)
    assert 50 == studio.desk.calls["begin"]


def test_a_registry_that_unpacks_nothing_gets_each_file(make_studio: MakeStudio) -> None:
    studio = make_studio()
    studio.desk.traits = Desk().traits
    studio.fill(MANY)
    studio.publish()
    assert_published(studio, MANY)
    assert 60 == studio.desk.calls["begin"]


def test_how_far_it_is_is_told_in_files_and_their_bytes(studio: Studio) -> None:
    gate = hold(studio.desk, "create")
    studio.fill(MIXED)
    outcome = studio.begin()
    try:
        studio.wait_for(State.UPLOADING)
        size = sum(map(len, MIXED.values()))

        def is_sent() -> bool:
            told = studio.publisher.status(DRAFT)
            assert (62, size) == (told["files"], told["bytes"])
            return (62, size) == (told["files_done"], told["bytes_sent"])

        wait_for(is_sent, WAIT)
    finally:
        gate.set()
    outcome.result(WAIT)


def test_an_archive_goes_on_where_it_was_after_an_error(studio: Studio) -> None:
    studio.desk.piece = 1000
    fail_at(studio.desk, "send", "within", Unavailable("cut"), times=3)
    studio.fill(MANY)
    studio.publish()
    assert_published(studio, MANY)
    assert 1 == len(studio.desk.held.uploads)
    (upload,) = studio.desk.held.uploads.values()
    assert len(upload.data) == studio.desk.received[ARCHIVE]


def test_an_archive_goes_on_where_it_was_after_a_restart(make_studio: MakeStudio) -> None:
    studio = make_studio(patience=SLOW)
    studio.desk.piece = 1000
    left = [3]

    def hook(name: str, moment: str) -> None:
        if (name, moment) == ("send", "within"):
            left[0] -= 1
            if left[0] < 0:
                raise Unavailable("cut")

    studio.desk.hook = hook
    studio.fill(MANY)
    studio.begin()
    wait_for(lambda: left[0] < 0, WAIT)
    studio.stop()
    studio.desk.hook = lambda name, moment: None
    studio = make_studio()
    # It is no draft any more a moment before it is gone.
    wait_for(lambda: not studio.staging.path(DRAFT).exists(), WAIT)
    assert_published(studio, MANY)
    (upload,) = studio.desk.held.uploads.values()
    assert len(upload.data) == studio.desk.received[ARCHIVE]


def test_an_answer_that_got_lost_makes_no_second_version(studio: Studio) -> None:
    fail_at(studio.desk, "create", "after", DeadlinePassed("504"))
    studio.fill(MANY)
    studio.publish()
    assert_published(studio, MANY)


def test_an_archive_that_is_refused_and_was_unpacked_makes_no_second_version(
    studio: Studio,
) -> None:
    fail_at(studio.desk, "create", "after", InvalidName("no"))
    studio.fill(MANY)
    studio.publish()
    assert_published(studio, MANY)


def test_a_version_that_is_still_unpacked_is_waited_for(studio: Studio) -> None:
    studio.desk.unfinished = 2
    studio.fill(MANY)
    studio.publish()
    assert_published(studio, MANY)


@pytest.mark.expect_warnings("was not published")
def test_an_archive_that_was_not_unpacked_is_no_published_version(studio: Studio) -> None:
    studio.desk.unpack = lambda data: {ARCHIVE: data}
    studio.fill(MANY)
    with pytest.raises(WrongState, match=r"missing: .*; not ours: archive\.zip"):
        studio.publish()
    assert State.FAILED is studio.state()
    assert MANY == studio.local_files()
    # Whoever asks again gets a version all the same: each file by itself.
    assert DRAFT.parent.child("2") == studio.publish()
    assert Version(MANY, NOTES) == studio.desk.held.versions[DRAFT.parent.child("2")]


@pytest.mark.expect_warnings("was not published")
@pytest.mark.parametrize("wrong", ["a size", "a name", "one missing"])
def test_what_comes_out_of_an_archive_is_compared(studio: Studio, wrong: str) -> None:
    def listed(files: tuple[File, ...]) -> tuple[File, ...]:
        first, *others = files
        if wrong == "a size":
            return (File(first.path, first.size + 1), *others)
        return (File("flat.bin", first.size), *others) if wrong == "a name" else tuple(others)

    studio.desk.listed = listed
    studio.fill(MANY)
    with pytest.raises(WrongState, match="not what was sent"):
        studio.publish()
    assert MANY == studio.local_files()


@pytest.mark.expect_warnings("was not published")
def test_after_an_archive_was_refused_each_file_goes_by_itself(studio: Studio) -> None:
    studio.desk.refusal = InvalidName("no archives here")
    studio.fill(MANY)
    with pytest.raises(InvalidName, match="no archives"):
        studio.publish()
    studio.desk.refusal = None
    studio.publish()
    assert_published(studio, MANY)
    assert 61 == studio.desk.calls["begin"]


def test_the_same_files_make_the_same_archive(studio: Studio, tmp_path: Path) -> None:
    gate = hold(studio.desk, "create")
    studio.fill(MANY)
    outcome = studio.begin()
    studio.wait_for(State.UPLOADING)
    wait_for(lambda: studio.desk.calls["create"], WAIT)
    journal = Journal.load(studio.staging.read_journal(DRAFT))
    assert journal.archive is not None
    again = Journal.load(journal.dump())
    assert journal == again
    items = list(journal.items.values())
    made = journal.archive.part
    fd = packing.fill(
        journal.archive,
        items,
        lambda path: studio.staging.path(DRAFT) / path,
        tmp_path,
        memoryview(bytearray(1 << 16)),
        lambda: False,
    )
    os.close(fd)
    assert made == journal.archive.part
    gate.set()
    outcome.result(WAIT)


def test_what_is_hashed_and_sent_is_counted_with_all_bytes_on_their_way(studio: Studio) -> None:
    """Where others hold all memory, files wait for it, and no thread waits with them."""
    memory = studio.cache.memory
    held = []
    for n in range(20):  # each place has what it leaves to others: half, a quarter, …
        while loan := memory.at_once(1 << 14, str(n)):
            held.append(loan)
    assert memory.at_once(1 << 14, "one more") is None
    gate = hold(studio.desk, "send")
    studio.fill(MIXED)
    outcome = studio.begin()
    studio.wait_for(State.UPLOADING)
    assert not outcome.done()
    assert (0, 0) == (studio.desk.calls["begin"], memory.gauges.waiting)
    held.clear()
    wait_for(lambda: studio.desk.calls["send"], WAIT)
    assert memory.gauges.held > 0
    gate.set()
    outcome.result(WAIT)
    assert_published(studio, MIXED)
    wait_for(lambda: not memory.gauges.held, WAIT)
    assert memory.gauges.most <= memory.gauges.total
