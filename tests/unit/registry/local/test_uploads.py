"""Resumable uploads: sessions, offsets, writers, restarts."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import google_crc32c
import pytest

from modelfs.errors import InvalidName, NoSpace, NotFound, TooLarge, WrongState
from modelfs.registry.local import Store
from unit.registry.local.filling import NOW, Clock, Filling

DATA = bytes(range(256)) * 20


def begin(store: Store, data: bytes = DATA) -> str:
    return store.uploads.begin("w.bin", len(data), NOW, "alice").token


def test_a_whole_upload_has_all_its_digests_and_becomes_a_read_only_blob(store: Store) -> None:
    token = begin(store)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA[:1000])
        writer.write(DATA[1000:])
        upload = writer.finish()
    assert upload.is_complete
    assert upload == store.uploads.find(token)
    assert (
        hashlib.sha256(DATA).hexdigest(),
        hashlib.md5(DATA).hexdigest(),
        f"{google_crc32c.value(DATA):08x}",
    ) == (upload.sha256, upload.md5, upload.crc32c)
    blob = store.blob_path(upload.sha256)
    assert DATA == blob.read_bytes()
    assert 0o444 == blob.stat().st_mode & 0o777


def test_an_empty_file_is_complete_once_it_was_sent(store: Store) -> None:
    token = begin(store, b"")
    assert not store.uploads.find(token).is_complete
    with store.uploads.open(token, 0) as writer:
        assert writer.finish().is_complete


def test_a_broken_upload_goes_on_where_it_stopped(store: Store) -> None:
    token = begin(store)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA[:1234])
    assert 1234 == store.uploads.find(token).received
    with store.uploads.open(token, 1234) as writer:
        writer.write(DATA[1234:])
        upload = writer.finish()
    assert hashlib.sha256(DATA).hexdigest() == upload.sha256
    assert hashlib.md5(DATA).hexdigest() == upload.md5


def test_an_earlier_offset_drops_what_came_after_it(store: Store) -> None:
    token = begin(store)
    with store.uploads.open(token, 0) as writer:
        writer.write(b"x" * 3000)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA[:10])
    assert 10 == store.uploads.find(token).received


def test_an_offset_beyond_what_came_is_refused(store: Store) -> None:
    token = begin(store)
    with pytest.raises(WrongState, match="goes on at 0"):
        store.uploads.open(token, 5)
    with pytest.raises(WrongState):
        store.uploads.open(token, -1)


def test_one_writer_at_a_time(store: Store) -> None:
    token = begin(store)
    with store.uploads.open(token, 0), pytest.raises(WrongState, match="another request"):
        store.uploads.open(token, 0)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA)
        writer.finish()


def test_a_complete_upload_takes_no_more_writers(store: Store, fill: Filling) -> None:
    with pytest.raises(WrongState, match="complete"):
        store.uploads.open(fill.put("w.bin", DATA).token, 0)


def test_more_than_was_announced_is_refused_and_nothing_is_lost(store: Store) -> None:
    token = begin(store)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA)
        with pytest.raises(TooLarge):
            writer.write(b"x")
        assert writer.finish().is_complete


def test_finishing_early_completes_nothing(store: Store) -> None:
    token = begin(store)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA[:7])
        upload = writer.finish()
    assert (7, False, "") == (upload.received, upload.is_complete, upload.sha256)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\x00b", "x" * 256])
def test_impossible_names_are_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidName):
        store.uploads.begin(name, 1, NOW, "alice")


def test_impossible_sizes_are_refused(store: Store) -> None:
    with pytest.raises(InvalidName):
        store.uploads.begin("w", -1, NOW, "alice")
    with pytest.raises(TooLarge):
        store.uploads.begin("w", 1 << 60, NOW, "alice")
    with pytest.raises((NoSpace, TooLarge)):
        store.uploads.begin("w", 1 << 50, NOW, "alice")


@pytest.mark.parametrize("token", ["", "x", "../" * 16, "0" * 48, "A" * 48])
def test_other_tokens_are_not_found(store: Store, token: str) -> None:
    with pytest.raises(NotFound):
        store.uploads.find(token)
    with pytest.raises(NotFound):
        store.uploads.open(token, 0)


def test_sessions_survive_a_restart_of_the_server(
    store: Store, directory: Path, clock: Clock, fill: Filling
) -> None:
    token = begin(store)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA[:99])
    done = fill.put("v.bin", b"done").token
    store.stop()
    again = Store(directory, clock)
    again.start()
    assert 99 == again.uploads.find(token).received
    assert again.uploads.find(done).is_complete
    again.stop()


def test_after_a_power_cut_only_what_was_synced_counts(store: Store, directory: Path) -> None:
    token = begin(store)
    with store.uploads.open(token, 0) as writer:
        writer.write(DATA[:100])
    session = directory / "uploads" / token
    # What a power cut can leave: another boot, and a length that outlived its bytes.
    state = json.loads((session / "state.json").read_bytes())
    (session / "state.json").write_text(json.dumps({**state, "boot": "an earlier one"}))
    with (session / "data").open("ab") as data:
        data.write(bytes(500))
    assert 100 == store.uploads.find(token).received
    with store.uploads.open(token, 100) as writer:
        writer.write(DATA[100:])
        assert hashlib.sha256(DATA).hexdigest() == writer.finish().sha256


def test_a_crash_before_the_last_step_is_made_up_for(store: Store, directory: Path) -> None:
    token = begin(store)
    (directory / "uploads" / token / "data").write_bytes(DATA)
    upload = store.uploads.find(token)
    assert (True, hashlib.sha256(DATA).hexdigest()) == (upload.is_complete, upload.sha256)


def test_a_session_with_a_damaged_state_is_gone(store: Store, directory: Path) -> None:
    token = begin(store)
    (directory / "uploads" / token / "state.json").write_bytes(b"")
    with pytest.raises(NotFound):
        store.uploads.find(token)


def test_a_finished_session_answers_for_a_week_and_is_swept_later(
    store: Store, fill: Filling, clock: Clock, directory: Path
) -> None:
    token = fill.put("w.bin", DATA).token
    clock.now = (directory / "uploads" / token).stat().st_mtime + 7 * 86400
    store.sweep()
    assert store.uploads.find(token).is_complete
    clock.now += 2 * 86400
    store.sweep()
    with pytest.raises(NotFound):
        store.uploads.find(token)


def test_a_disk_that_is_full_for_a_while_mixes_no_bytes_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = begin(store)
    pwrite = os.pwrite

    def full(fd: int, data: memoryview, offset: int) -> int:
        if len(data) > 300:
            return pwrite(fd, data[:300], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with store.uploads.open(token, 0) as writer:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(NoSpace):
            writer.write(DATA[:1000])
        monkeypatch.setattr(os, "pwrite", pwrite)
        writer.write(DATA)
        assert hashlib.sha256(DATA).hexdigest() == writer.finish().sha256
    assert DATA == store.blob_path(store.uploads.find(token).sha256).read_bytes()
