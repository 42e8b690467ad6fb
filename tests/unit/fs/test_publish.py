"""Drafts become versions: when, once, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drafting import DRAFT, FILES, HASTY, MODEL, NOTES, OTHER, WAIT, WRITER, Studio
from modelfs.errors import (
    Corrupt,
    DeadlinePassed,
    Error,
    Expired,
    Forbidden,
    Interrupted,
    InvalidName,
    NotFound,
    ReadOnly,
    TooManyRequests,
    Unavailable,
    WrongState,
)
from modelfs.fs.drafts import State
from modelfs.fs.nodes import identity
from modelfs.model import Digests, File
from modelfs.refs import Ref
from polling import wait_for
from sims.desk import Desk, Version

FAILURE = "PUBLISH_FAILED.txt"
MakeStudio = Callable[..., Studio]
# Leaves time to stop in the middle.
SLOW = replace(HASTY, pause=0.05, longest=0.05, tries=10_000)


def fail_at(desk: Desk, call: str, moment: str, error: Exception, times: int = 1) -> None:
    """Have the next `times` calls of that name fail there."""
    left = [times]

    def hook(name: str, when: str) -> None:
        if (name, when) == (call, moment) and left[0] > 0:
            left[0] -= 1
            raise error

    desk.hook = hook


def hold(desk: Desk, call: str) -> threading.Event:
    """Have calls of that name wait until the event is set."""
    gate = threading.Event()

    def hook(name: str, _: str) -> None:
        assert name != call or gate.wait(WAIT)

    desk.hook = hook
    return gate


def assert_published(studio: Studio, version: Ref = DRAFT, creations: int = 1) -> None:
    assert creations == studio.desk.held.creations
    assert Version(FILES, NOTES) == studio.desk.held.versions[version]
    # It is no draft any more a moment before it is gone.
    wait_for(lambda: not studio.staging.path(DRAFT).exists(), WAIT)


# The trigger.


def test_notes_of_somebody_who_writes_nothing_else_publish_at_once(studio: Studio) -> None:
    studio.fill()
    assert DRAFT == studio.publish()
    assert_published(studio)
    assert [(DRAFT, DRAFT)] == studio.published
    assert State.PUBLISHED is studio.state()


def test_notes_of_a_copier_publish_once_all_is_quiet(make_studio: MakeStudio) -> None:
    studio = make_studio(settle=0.05)
    studio.fill()
    opening = studio.publisher.opened(DRAFT)
    assert studio.publisher.noted(DRAFT, WRITER) is None
    assert State.ARMED is studio.state()
    assert "armed" == studio.publisher.status(DRAFT)["state"]
    wait_for(lambda: studio.staging.read_journal(DRAFT), WAIT)
    opening.closed()
    studio.wait_for(State.PUBLISHED)
    wait_for(lambda: not studio.staging.path(DRAFT).exists(), WAIT)
    assert_published(studio)


def test_a_draft_with_a_writer_is_not_quiet(make_studio: MakeStudio) -> None:
    studio = make_studio(settle=0.0)
    studio.fill()
    studio.publisher.opened(DRAFT)
    assert studio.publisher.noted(DRAFT, WRITER) is None
    assert State.ARMED is studio.state()
    assert 0 == studio.desk.calls.total()
    assert DRAFT == studio.publish()


def test_notes_wait_for_who_else_writes_the_draft(make_studio: MakeStudio) -> None:
    studio = make_studio(settle=0.05)
    studio.fill()
    studio.alive.add(WRITER)
    assert studio.publisher.noted(DRAFT, OTHER) is None
    assert State.ARMED is studio.state()
    studio.wait_for(State.PUBLISHED)


def test_notes_before_any_file_wait_for_the_files(make_studio: MakeStudio) -> None:
    studio = make_studio(settle=0.2)
    studio.fill({})
    assert studio.publisher.noted(DRAFT, OTHER) is None
    for path, data in FILES.items():
        studio.write(path, data)
    studio.wait_for(State.PUBLISHED)
    wait_for(lambda: not studio.staging.path(DRAFT).exists(), WAIT)
    assert_published(studio)


@pytest.mark.expect_warnings("was not published")
def test_notes_that_no_file_follows_are_refused(make_studio: MakeStudio) -> None:
    studio = make_studio(settle=0.05)
    studio.fill({})
    assert studio.publisher.noted(DRAFT, OTHER) is None
    studio.wait_for(State.FAILED)


def test_who_asks_twice_waits_for_one_outcome(studio: Studio) -> None:
    gate = hold(studio.desk, "stat")
    studio.fill()
    first, second = studio.begin(), studio.begin()
    third = studio.publisher.ask(DRAFT)
    assert first is second is third
    with pytest.raises(WrongState):
        studio.publisher.check_writable(DRAFT)
    gate.set()
    assert DRAFT == first.result(WAIT)
    assert_published(studio)
    with pytest.raises(ReadOnly):
        studio.publisher.check_writable(DRAFT)


def test_a_draft_that_is_not_there_cannot_be_asked_for(studio: Studio) -> None:
    with pytest.raises(NotFound):
        studio.publisher.ask(DRAFT)


def test_any_name_becomes_the_next_number(studio: Studio) -> None:
    studio.publish(studio.fill())
    named = studio.fill(ref=MODEL.child("dragged folder"))
    assert MODEL.child("2") == studio.publish(named)
    assert MODEL.child("2") == studio.publisher.draft(named).version


def test_a_name_can_be_a_draft_again_after_it_was_published(studio: Studio) -> None:
    named = MODEL.child("folder")
    for number in ("1", "2"):
        studio.fill(ref=named)
        assert State.OPEN is studio.state(named)
        assert MODEL.child(number) == studio.publish(named)


# Parents, documents, receipts, the cache.


def test_missing_parents_are_made_from_the_documents_beside_the_draft(studio: Studio) -> None:
    studio.fill()
    studio.staging.path(MODEL, "model.json").write_text('{"title": "mine"}')
    studio.publish()
    assert {MODEL: '{"title": "mine"}'} == studio.desk.held.models
    assert not studio.staging.holds(MODEL)


def test_parents_that_exist_are_left_alone(studio: Studio) -> None:
    studio.publish(studio.fill())
    second = studio.fill(ref=MODEL.child("2"))
    studio.staging.path(MODEL, "model.json").write_text('{"title": "not this"}')
    studio.publish(second)
    assert "not this" not in studio.desk.held.models[MODEL]


@pytest.mark.parametrize("tells_digests", [False, True])
def test_what_was_published_is_read_from_the_cache(tmp_path: Path, tells_digests: bool) -> None:
    studio = Studio(tmp_path, Desk(tells_digests=tells_digests)).start()
    try:
        studio.fill()
        version = studio.publish()
        for file in studio.desk.manifest(version).files:
            name = identity("desk", version, file.path)
            state = studio.cache.status(name, file.size, file.digests)
            assert state.is_verified
            with studio.cache.open(
                name, file.size, file.digests, lambda *_: pytest.fail("asked the registry")
            ) as opened:
                assert FILES[file.path] == opened.read(0, file.size)
    finally:
        studio.stop()


def test_a_receipt_says_what_was_sent(studio: Studio) -> None:
    studio.publish(studio.fill())
    (path,) = (studio.staging.directory / "receipts").iterdir()
    receipt = json.loads(path.read_text())
    assert str(DRAFT) == receipt["version"]
    assert {path: len(data) for path, data in FILES.items()} == {
        file["path"]: file["size"] for file in receipt["files"]
    }
    assert 0o600 == path.stat().st_mode & 0o777


# Refusals.


def refused(studio: Studio, ref: Ref = DRAFT) -> str:
    """The reason why a draft is not published; that it is told everywhere, and nothing is lost."""
    before = studio.local_files(ref)
    with pytest.raises(Error) as caught:
        studio.publisher.ask(ref).result(WAIT)
    reason = str(caught.value)
    assert State.FAILED is studio.state(ref)
    assert reason == studio.publisher.status(ref)["reason"]
    assert reason in studio.staging.path(ref, FAILURE).read_text()
    assert before == studio.local_files(ref)
    return reason


REFUSED = [
    ({}, NOTES, "no files"),
    (FILES, None, "NOTES is missing or empty"),
    (FILES, " \n", "NOTES is missing or empty"),
    (FILES, "x" * 201, "takes 200"),
    (FILES, "INSERT_NOTES_HERE", "placeholder"),
    ({"Readme.md": b"a", "README.md": b"b"}, NOTES, "one name"),
    ({"Data/a": b"a", "data/b": b"b"}, NOTES, "one name"),
    ({"caf\u00e9": b"a", "cafe\u0301": b"b"}, NOTES, "one name"),
    ({"a\nb": b"a"}, NOTES, "control character"),
    ({"setup.exe": b"a"}, NOTES, "no programs here"),
]


@pytest.mark.expect_warnings("was not published")
@pytest.mark.parametrize(("files", "notes", "reason"), REFUSED)
def test_what_cannot_be_published_is_refused_before_anything_is_sent(
    studio: Studio, files: dict[str, bytes], notes: str | None, reason: str
) -> None:
    studio.fill(files, notes)
    assert reason in refused(studio)
    assert 0 == studio.desk.calls["begin"]


@pytest.mark.expect_warnings("was not published")
@pytest.mark.parametrize("kind", ["link", "pipe", "not unicode"])
def test_special_files_are_refused(studio: Studio, kind: str) -> None:
    top = studio.staging.path(studio.fill())
    if kind == "link":
        (top / "odd").symlink_to("config.json")
    elif kind == "pipe":
        os.mkfifo(top / "odd")
    else:
        os.close(os.open(os.fsencode(top) + b"/odd\xff", os.O_CREAT))
    with pytest.raises(InvalidName, match="odd"):
        studio.publish()


@pytest.mark.expect_warnings("was not published")
def test_a_failed_draft_is_published_by_the_next_trigger(studio: Studio) -> None:
    studio.fill(notes="")
    assert "NOTES" in refused(studio)
    studio.staging.path(DRAFT, "NOTES").write_text(NOTES)
    studio.publish()
    assert_published(studio)


@pytest.mark.expect_warnings("was not published")
def test_metadata_with_placeholders_is_refused(studio: Studio) -> None:
    studio.fill()
    studio.staging.path(MODEL, "model.json").write_text('{"title": "INSERT_TITLE_HERE"}')
    assert "model.json" in refused(studio)


JUNK = (
    ".DS_Store", "._x", "Thumbs.db", "sub/desktop.ini", ".Trash-1000/a", ".directory",
    ".goutputstream-X1", ".fuse_hidden0001", "notes.txt~", ".a.swp", ".git/config",
    ".cache/huggingface/x", ".huggingface/x", FAILURE, "4913",
)  # fmt: skip


def test_junk_is_not_sent_and_is_told(studio: Studio) -> None:
    studio.fill(FILES | dict.fromkeys(JUNK, b"junk"))
    (studio.staging.path(DRAFT) / "hollow" / "inner").mkdir(parents=True)
    gate = hold(studio.desk, "send")
    outcome = studio.begin()
    studio.wait_for(State.UPLOADING)
    ignored = studio.publisher.status(DRAFT)["ignored"]
    assert isinstance(ignored, list)
    top = {path.split("/")[0] for path in JUNK if path != FAILURE} - {"sub"}
    assert top | {"sub/desktop.ini", "hollow/", "hollow/inner/", "sub/"} == set(ignored)
    gate.set()
    outcome.result(WAIT)
    assert_published(studio)


# Faults of the registry.

PASSING = [Unavailable("503"), DeadlinePassed("504"), TooManyRequests("429")]
CALLS = [
    ("children", "before"), ("children", "after"), ("stat", "before"), ("begin", "before"),
    ("begin", "after"), ("send", "before"), ("send", "within"), ("send", "after"),
    ("create", "before"), ("create", "after"), ("manifest", "before"),
]  # fmt: skip


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("error", PASSING)
@pytest.mark.parametrize(("call", "moment"), CALLS)
def test_what_passes_delays_a_publication_and_makes_no_second_version(
    studio: Studio, call: str, moment: str, error: Error, times: int
) -> None:
    studio.publish(studio.fill({"old": b"old"}, "version 1"))
    studio.desk.held.creations = 0
    fail_at(studio.desk, call, moment, error, times)
    second = MODEL.child("2")
    studio.fill(ref=second)
    assert second == studio.publish(second)
    assert 1 == studio.desk.held.creations
    assert Version(FILES, NOTES) == studio.desk.held.versions[second]


@pytest.mark.expect_warnings("was not published")
@pytest.mark.parametrize("error", [Forbidden("403: not yours"), InvalidName("422: no licence")])
@pytest.mark.parametrize("call", ["stat", "begin", "send", "create"])
def test_a_refusal_is_told_in_the_registrys_words_and_can_be_tried_again(
    studio: Studio, call: str, error: Error
) -> None:
    studio.fill()
    fail_at(studio.desk, call, "before", error)
    assert str(error) == refused(studio)
    studio.publish()
    assert_published(studio)


@pytest.mark.expect_warnings("was not published")
def test_a_registry_that_stays_away_ends_the_attempt(studio: Studio) -> None:
    studio.fill()
    fail_at(studio.desk, "send", "before", Unavailable("nobody there"), 10_000)
    assert "nobody there" == refused(studio)
    studio.desk.hook = lambda call, moment: None
    studio.publish()
    assert_published(studio)


@pytest.mark.parametrize("error", [Expired("gone"), Corrupt("md5 differs")])
def test_a_lost_or_damaged_upload_begins_again(studio: Studio, error: Error) -> None:
    studio.fill()
    fail_at(studio.desk, "send", "within", error, 3)
    studio.publish()
    assert_published(studio)


@pytest.mark.expect_warnings("was not published")
def test_uploads_that_are_always_damaged_end_the_attempt(studio: Studio) -> None:
    studio.fill()
    fail_at(studio.desk, "send", "within", Corrupt("md5 differs"), 10_000)
    assert "md5 differs" == refused(studio)


def test_what_arrived_is_not_sent_again_after_an_error(studio: Studio) -> None:
    studio.desk.piece = 1000
    studio.fill()
    fail_at(studio.desk, "send", "within", Unavailable("cut"), 20)
    studio.publish()
    assert {path: len(data) for path, data in FILES.items() if data} == studio.desk.received


@pytest.mark.expect_warnings("was not published")
def test_what_was_uploaded_before_a_refusal_is_not_sent_again(studio: Studio) -> None:
    studio.fill()
    fail_at(studio.desk, "create", "before", InvalidName("no licence"))
    refused(studio)
    sends = studio.desk.calls["send"]
    studio.publish()
    assert sends == studio.desk.calls["send"]
    assert_published(studio)


@pytest.mark.expect_warnings("was not published")
def test_uploads_that_were_refused_twice_are_made_again(studio: Studio) -> None:
    studio.fill()
    fail_at(studio.desk, "create", "before", InvalidName("tokens are too old"), 2)
    refused(studio)
    refused(studio)
    sends = studio.desk.calls["send"]
    studio.publish()
    assert 2 * sends == studio.desk.calls["send"]


# Exactly once.


def test_a_version_that_shows_up_late_is_found(studio: Studio) -> None:
    studio.desk.late = 2
    studio.fill()
    fail_at(studio.desk, "create", "after", DeadlinePassed("no answer"))
    assert DRAFT == studio.publish()
    assert_published(studio)


def test_an_answer_that_makes_no_sense_is_looked_into(studio: Studio) -> None:
    studio.fill()
    fail_at(studio.desk, "create", "after", Corrupt("not JSON"))
    studio.publish()
    assert_published(studio)


def test_what_is_refused_and_was_done_is_done(studio: Studio) -> None:
    """As by what stands between us and a registry; whoever asked again would have two."""
    studio.fill()
    fail_at(studio.desk, "create", "after", InvalidName("no"))
    assert DRAFT == studio.publish()
    assert_published(studio)


def test_a_version_of_somebody_else_is_not_taken_for_ours(studio: Studio) -> None:
    studio.publish(studio.fill({"old": b"old"}))
    second = studio.fill(ref=MODEL.child("2"))
    other = Version({"theirs": b"x"}, "theirs")

    def hook(call: str, moment: str) -> None:
        if (call, moment) == ("create", "before") and studio.desk.calls["create"] == 2:
            studio.desk.held.versions[MODEL.child("2")] = other
            raise DeadlinePassed("no answer")

    studio.desk.hook = hook
    assert MODEL.child("3") == studio.publish(second)
    assert other == studio.desk.held.versions[MODEL.child("2")]
    assert Version(FILES, NOTES) == studio.desk.held.versions[MODEL.child("3")]


@pytest.mark.expect_warnings("was not published")
def test_one_that_cannot_be_told_from_ours_is_left_to_a_person(studio: Studio) -> None:
    studio.publish(studio.fill({"old": b"old"}))
    second = studio.fill(ref=MODEL.child("2"))

    def hook(call: str, moment: str) -> None:
        if (call, moment) == ("create", "before") and studio.desk.calls["create"] == 2:
            studio.desk.held.versions[second] = Version(FILES, "other notes")
            raise DeadlinePassed("no answer")

    studio.desk.hook = hook
    assert f"{second} appeared" in refused(studio, second)
    assert MODEL.child("3") == studio.publish(second)


@pytest.mark.expect_warnings("was not published")
def test_after_an_unknown_outcome_the_next_attempt_looks_first(studio: Studio) -> None:
    studio.publish(studio.fill({"old": b"old"}))
    studio.desk.held.creations = 0
    second = studio.fill(ref=MODEL.child("2"))
    # Nothing was made as far as anybody can see, four times; then the first one shows up.
    studio.desk.late = 10_000
    fail_at(studio.desk, "create", "before", DeadlinePassed("no answer"), 4)
    assert "did not create" in refused(studio, second)
    studio.desk.held.versions[second] = Version(FILES, NOTES)
    assert second == studio.publish(second)
    assert 0 == studio.desk.held.creations


# Compared with what was sent.


@pytest.mark.expect_warnings("was not published")
@pytest.mark.parametrize(
    "change",
    [
        lambda files: files[1:],
        lambda files: (*files, File("more", 1)),
        lambda files: (File(files[0].path, files[0].size + 1), *files[1:]),
        lambda files: (
            File(files[0].path, files[0].size, None, Digests(md5="0" * 32)),
            *files[1:],
        ),
    ],
)
def test_a_version_that_is_not_what_was_sent_is_told_and_nothing_is_deleted(
    studio: Studio, change: Callable[[tuple[File, ...]], tuple[File, ...]]
) -> None:
    studio.fill()
    studio.desk.listed = change
    reason = refused(studio)
    assert f"{DRAFT} was created, but is not what was sent" in reason
    assert [] == studio.published


def test_a_version_that_is_still_being_unpacked_is_waited_for(studio: Studio) -> None:
    studio.desk.unfinished = 5
    studio.fill()
    studio.publish()
    assert_published(studio)


def test_an_archive_that_the_registry_unpacked_is_no_difference(studio: Studio) -> None:
    studio.fill({"a": b"a", "data/all.zip": b"PK"})
    studio.desk.listed = lambda files: (File("a", 1), File("data/all/one", 5))
    assert DRAFT == studio.publish()


@pytest.mark.expect_warnings("was not published")
def test_a_write_that_slipped_in_is_not_deleted(studio: Studio) -> None:
    studio.fill()

    def hook(call: str, moment: str) -> None:
        if (call, moment) == ("create", "after"):
            studio.staging.path(DRAFT, "config.json").write_bytes(b"slipped in")

    studio.desk.hook = hook
    with pytest.raises(WrongState, match=r"the draft changed since: config.json"):
        studio.publish()
    assert b"slipped in" == studio.local_files()["config.json"]


@pytest.mark.expect_warnings("was not published")
def test_a_file_that_changes_under_way_is_noticed(studio: Studio) -> None:
    studio.fill()

    def hook(call: str, moment: str) -> None:
        if (call, moment) == ("stat", "before"):
            studio.staging.path(DRAFT, "config.json").write_bytes(b"slipped in")

    studio.desk.hook = hook
    with pytest.raises(WrongState, match="changed while"):
        studio.publish()
    assert 0 == studio.desk.held.creations


# Cancelled, stopped, started again.


def test_a_cancelled_draft_is_open_again(studio: Studio) -> None:
    studio.fill()
    gate = hold(studio.desk, "send")
    outcome = studio.begin()
    studio.wait_for(State.UPLOADING)
    studio.publisher.cancel(DRAFT)
    with pytest.raises(Interrupted):
        outcome.result(WAIT)
    gate.set()
    assert State.OPEN is studio.state()
    assert {} == studio.staging.read_journal(DRAFT)
    studio.write("more", b"more")
    studio.publish()
    assert 1 == studio.desk.held.creations


def test_what_may_have_been_created_cannot_be_cancelled(studio: Studio) -> None:
    studio.fill()
    gate, asked = threading.Event(), threading.Event()

    def hook(call: str, moment: str) -> None:
        if call == "create":
            asked.set()
            assert gate.wait(WAIT)

    studio.desk.hook = hook
    outcome = studio.begin()
    assert asked.wait(WAIT)
    with pytest.raises(WrongState):
        studio.publisher.cancel(DRAFT)
    gate.set()
    assert DRAFT == outcome.result(WAIT)


@pytest.mark.parametrize("call", ["stat", "send", "children", "create", "manifest"])
def test_a_publication_goes_on_after_a_restart(
    make_studio: MakeStudio, desk: Desk, call: str
) -> None:
    desk.piece = 10_000
    studio = make_studio(patience=SLOW)
    studio.fill()
    reached = threading.Event()

    def hook(name: str, moment: str) -> None:
        if name == call and (name != "send" or desk.calls["send"] > 2):
            reached.set()
            raise Unavailable("the network is down")

    desk.hook = hook
    outcome = studio.begin()
    assert reached.wait(WAIT)
    studio.stop()
    with pytest.raises(Interrupted):
        outcome.result(0)
    desk.hook = lambda name, moment: None
    again = make_studio()
    wait_for(lambda: again.published, WAIT)
    wait_for(lambda: not again.staging.path(DRAFT).exists(), WAIT)
    assert_published(again)
    assert {path: len(data) for path, data in FILES.items() if data} == desk.received


@pytest.mark.expect_warnings("while files were still being copied")
def test_a_copy_that_the_end_of_the_mount_cut_is_not_published(make_studio: MakeStudio) -> None:
    studio = make_studio(settle=1000.0)
    studio.fill()
    assert studio.publisher.noted(DRAFT, WRITER) is None
    wait_for(lambda: studio.staging.read_journal(DRAFT), WAIT)
    again = make_studio()
    assert State.FAILED is again.state()
    assert "still being copied" in again.staging.path(DRAFT, FAILURE).read_text()
    again.publish()
    assert_published(again)


@pytest.mark.expect_warnings("while files were still being copied")
def test_drafts_are_there_also_where_the_disk_takes_no_journal(
    make_studio: MakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    studio = make_studio(settle=1000.0)
    studio.fill()
    assert studio.publisher.noted(DRAFT, WRITER) is None
    wait_for(lambda: studio.staging.read_journal(DRAFT), WAIT)
    studio.stop()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        again = make_studio()
    assert State.FAILED is again.state()
    again.publish()
    assert_published(again)


@pytest.mark.expect_warnings("was not published", "the machine stopped")
def test_a_draft_that_a_power_cut_caught_is_not_believed(make_studio: MakeStudio) -> None:
    studio = make_studio()
    studio.fill(notes="")
    refused(studio)
    journal = studio.staging.read_journal(DRAFT)
    studio.staging.write_journal(DRAFT, journal | {"phase": "sealed", "boot": "another"})
    again = make_studio()
    assert State.FAILED is again.state()


@pytest.mark.expect_warnings("was not published")
def test_a_failure_is_still_told_after_a_restart(make_studio: MakeStudio) -> None:
    studio = make_studio()
    studio.fill(notes="")
    reason = refused(studio)
    again = make_studio()
    assert State.FAILED is again.state()
    assert reason == again.publisher.draft(DRAFT).reason


def test_a_damaged_journal_is_as_good_as_none(make_studio: MakeStudio) -> None:
    studio = make_studio()
    studio.fill()
    studio.staging.write_journal(DRAFT, {"format": 1, "phase": "creating", "items": 3})
    again = make_studio()
    assert State.OPEN is again.state()
    again.publish()
    assert_published(again)


@pytest.mark.expect_warnings("another version of modelfs")
def test_a_draft_that_another_version_is_publishing_is_left_alone_and_said(
    make_studio: MakeStudio,
) -> None:
    """Only that one knows whether it has asked for the version."""
    studio = make_studio()
    studio.fill()
    theirs = {"format": 3, "phase": "creating", "what": ["we", "cannot", "know"]}
    studio.staging.write_journal(DRAFT, theirs)
    lone = studio.staging.directory / "journal" / ("0" * 32 + ".json")
    lone.write_text('{"format": 3}')
    unknown = lone.with_name("index.v2")
    unknown.write_bytes(b"\0\1")
    files = studio.local_files()
    again = make_studio()
    reason = again.publisher.draft(DRAFT).reason
    assert "journal format 3, not 1 or 2" in reason
    assert reason in again.staging.path(DRAFT, FAILURE).read_text()
    assert State.FAILED is again.state()
    with pytest.raises(WrongState, match="another version"):
        again.publish()
    again.wait_for(State.FAILED)
    # As who copies does, who is still there when it becomes quiet.
    again.alive.add(WRITER)
    again.publisher.changed(DRAFT, WRITER, is_notes=False)
    assert again.publisher.noted(DRAFT, WRITER) is None
    again.wait_for(State.FAILED)
    again.publisher.cancel(DRAFT)
    last = make_studio()
    assert theirs == last.staging.read_journal(DRAFT)
    assert files == last.local_files()
    assert lone.exists()
    assert unknown.exists()
    assert 0 == last.desk.held.creations
    new = last.fill(files, ref=MODEL.child("copy"))
    assert files == last.desk.held.versions[last.publish(new)].files


def test_a_renamed_draft_keeps_its_state(studio: Studio) -> None:
    studio.fill()
    new = MODEL.child("other")
    studio.publisher.renamed(DRAFT, new)
    studio.staging.path(DRAFT).rename(studio.staging.path(new))
    studio.staging.moved(DRAFT, new)
    assert studio.publisher.noted(new, WRITER) is None
    studio.wait_for(State.PUBLISHED, new)


def test_many_drafts_are_published_at_once(studio: Studio) -> None:
    studio.publish(studio.fill())
    drafts = [studio.fill({"n": bytes([n])}, ref=MODEL.child(f"d{n}")) for n in range(6)]
    outcomes = [studio.begin(ref) for ref in drafts]
    versions = {outcome.result(WAIT) for outcome in outcomes}
    assert 6 == len(versions)
    assert {bytes([n]) for n in range(6)} == {
        studio.desk.held.versions[version].files["n"] for version in versions
    }


def test_progress_is_told_without_asking_anybody(studio: Studio) -> None:
    studio.desk.piece = 50_000
    studio.fill()
    gate = threading.Event()

    def hook(call: str, moment: str) -> None:
        if moment == "within" and studio.desk.received.total() > 100_000:
            assert gate.wait(WAIT)

    studio.desk.hook = hook
    outcome = studio.begin()
    wait_for(lambda: studio.publisher.status(DRAFT).get("bytes_sent"), WAIT)
    told = studio.publisher.status(DRAFT)
    assert "uploading" == told["state"]
    assert (4, 326_003) == (told["files"], told["bytes"])
    gate.set()
    outcome.result(WAIT)
    assert "published" == studio.publisher.status(DRAFT)["state"]


def test_sessions_and_tokens_are_for_our_eyes_only(studio: Studio) -> None:
    studio.fill()
    gate = hold(studio.desk, "create")
    outcome = studio.begin()
    wait_for(lambda: studio.desk.calls["create"], WAIT)
    (path,) = (studio.staging.directory / "journal").iterdir()
    assert "token of session" in path.read_text()
    assert 0o600 == path.stat().st_mode & 0o777
    gate.set()
    outcome.result(WAIT)
