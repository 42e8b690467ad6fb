"""What is said to be on disk is flushed to it first. Nobody pulls the plug: calls are noted."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from drafting import DRAFT, Studio
from modelfs.fs import material
from modelfs.fs.staging import write_durably
from modelfs.fs.writing import LocalHandle


def test_a_sync_of_a_file_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(("fsync", fd)))
    monkeypatch.setattr(os, "fdatasync", lambda fd: calls.append(("fdatasync", fd)))
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    handle = LocalHandle(fd, None)
    handle.sync(is_data_only=False)
    handle.sync(is_data_only=True)
    handle.close()
    assert [("fsync", fd), ("fdatasync", fd)] == calls


def test_a_journal_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal.json"
    journal.write_bytes(b"old")
    flushed: list[tuple[str, bytes]] = []

    def fsync(fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        flushed.append((path.name, journal.read_bytes() if path.is_dir() else path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_durably(journal, b"new")
    assert [("journal.new", b"new"), (tmp_path.name, b"new")] == flushed


def test_two_who_write_one_journal_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "journal.json"
    syncing = threading.Barrier(2)

    def fsync(fd: int) -> None:
        with suppress(threading.BrokenBarrierError):  # the other does not come as far, or both do
            syncing.wait(0.2)

    monkeypatch.setattr(os, "fsync", fsync)
    written = [b"armed" * 1000, b"cancelled" * 1000]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda data: write_durably(journal, data), written))
    assert journal.read_bytes() in written
    assert ["journal.json"] == os.listdir(tmp_path)


def test_a_draft_is_on_disk_before_anything_is_sent(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[Path, str, int]] = []

    def sync_disk(path: Path) -> None:
        phase = studio.staging.read_journal(DRAFT)["phase"]
        flushed.append((path, phase, len(studio.desk.held.uploads)))

    monkeypatch.setattr(material, "sync_disk", sync_disk)
    studio.fill()
    studio.publish()
    assert [(studio.staging.path(DRAFT), "sealed", 0)] == flushed
