"""`modelfs publish`: the real command on a real mount of `modelfs serve`."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mounting import Mounted
from polling import wait_for
from serving import MODELFS, Served

TOY = "alice/toy/pytorch/base"


@pytest.fixture
def mount(serve: Callable[..., Served], mounted: Callable[..., Mounted]) -> Mounted:
    return mounted(serve())


def state(draft: Path) -> str:
    """The state of a draft; empty for the moment in which it is neither draft nor version."""
    try:
        return str(json.loads((draft / ".modelfs/status.json").read_text())["state"])
    except FileNotFoundError:
        return ""


def draft_in(mount: Mounted, ref: str = f"{TOY}/1", notes: str = "") -> Path:
    """A draft with one file; its notes come before the file, and so do not publish it yet."""
    draft = mount.path / ref
    draft.mkdir(parents=True)
    (draft / "weights.bin").write_bytes(b"weights" * 1000)
    if notes:
        os.setxattr(draft, "user.modelfs.notes", notes.encode())
    return draft


def test_it_prints_the_path_of_the_version(mount: Mounted) -> None:
    draft = draft_in(mount, notes="the first")
    done = mount.run("publish", draft)
    assert (0, f"{draft}\n", "") == (done.returncode, done.stdout, done.stderr)
    assert "published" == state(draft)
    assert "the first\n" == (draft / "NOTES").read_text()
    assert b"weights" * 1000 == (draft / "weights.bin").read_bytes()


def test_a_draft_by_another_name_becomes_the_next_number(mount: Mounted) -> None:
    done = mount.run("publish", draft_in(mount, f"{TOY}/tuned"), "-n", "tuned a bit")
    version = mount.path / TOY / "1"
    assert (0, f"{version}\n") == (done.returncode, done.stdout), done.stderr
    assert "tuned a bit\n" == (version / "NOTES").read_text()


def test_a_number_that_was_taken_meanwhile_stays_the_version_of_that_number(
    mount: Mounted,
) -> None:
    instance = mount.path / TOY
    numbered, named = draft_in(mount, f"{TOY}/1"), draft_in(mount, f"{TOY}/tuned")
    (numbered / "later.txt").write_text("later")
    for draft, version in ((named, "1"), (numbered, "2")):
        done = mount.run("publish", draft, "-n", f"became {version}")
        assert (0, f"{instance / version}\n") == (done.returncode, done.stdout), done.stderr
    for version, name in (("1", "1"), ("2", "2"), ("1", "tuned"), ("2", "latest")):
        wait_for(lambda name=name: (instance / name / "NOTES").exists(), 30.0, name)  # type: ignore[misc]
        assert f"became {version}\n" == (instance / name / "NOTES").read_text()
    assert ["NOTES", "weights.bin"] == sorted(os.listdir(numbered))
    assert not numbered.is_symlink()


def test_any_place_in_the_draft_will_do(mount: Mounted) -> None:
    draft = draft_in(mount, notes="the first")
    (draft / "deep/er").mkdir(parents=True)
    (draft / "deep/er/config.json").write_text("{}")
    done = mount.run("publish", draft / "deep/er/config.json")
    assert (0, f"{draft}\n") == (done.returncode, done.stdout), done.stderr


def test_new_notes_replace_those_that_are_there_and_publish_once(mount: Mounted) -> None:
    draft = draft_in(mount, notes="a first thought, much longer than the second")
    done = mount.run("publish", draft, "--notes", "better: größer")
    assert 0 == done.returncode, done.stderr
    assert "better: größer\n" == (draft / "NOTES").read_text()
    assert ["1"] == [name for name in os.listdir(mount.path / TOY) if name.isdecimal()]


def test_what_is_left_out_is_said(mount: Mounted) -> None:
    draft = draft_in(mount, notes="the first")
    (draft / ".DS_Store").write_bytes(b"junk")
    (draft / "big.bin").write_bytes(os.urandom(30 << 20))  # so that there is a while to look
    done = mount.run("publish", draft)
    assert (0, f"{draft}\n") == (done.returncode, done.stdout), done.stderr
    assert "left out: .DS_Store\n" == done.stderr


def test_a_registry_that_refuses_is_quoted_and_a_retry_after_repair_works(mount: Mounted) -> None:
    draft = draft_in(mount, "bob/toy/pytorch/base/1", notes="not mine")
    done = mount.run("publish", draft)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("modelfs: ")
    assert "bob" in done.stderr
    assert "failed" == state(draft)
    again = mount.run("drafts", "retry", "bob/toy/pytorch/base/1")
    assert (1, done.stderr) == (again.returncode, again.stderr)


def test_a_draft_that_cannot_be_published_fails_until_it_can(mount: Mounted) -> None:
    draft = mount.path / TOY / "1"
    draft.mkdir(parents=True)
    done = mount.run("publish", draft, "-n", "nothing yet")
    assert (1, "") == (done.returncode, done.stdout)
    assert "modelfs: there is nothing to publish: there are no files\n" == done.stderr
    (draft / "weights.bin").write_bytes(b"weights")
    done = mount.run("drafts", "retry", f"{TOY}/1")
    assert (0, f"{draft}\n") == (done.returncode, done.stdout), done.stderr


def test_without_waiting_it_goes_on_in_the_background(mount: Mounted) -> None:
    draft = draft_in(mount, notes="the first")
    done = mount.run("publish", draft, "--no-wait")
    assert (0, "") == (done.returncode, done.stdout)
    assert f"modelfs status {draft}" in done.stderr
    wait_for(lambda: state(draft) == "published", 30)
    assert 2 == mount.run("publish", draft, "--no-wait", "-q").returncode


def test_nothing_to_publish_is_a_usage_error(mount: Mounted, tmp_path: Path) -> None:
    draft = draft_in(mount, notes="the first")
    assert 0 == mount.run("publish", draft).returncode
    for path, reason in {
        draft: f"published already: {TOY}/1",
        draft / "weights.bin": f"published already: {TOY}/1",
        mount.path / TOY / "latest": f"published already: {TOY}/1",
        mount.path / TOY: f"not a draft: {mount.path / TOY}",
        mount.path: f"not a draft: {mount.path}",
        tmp_path: f"not in a mount of modelfs: {tmp_path}",
        mount.path / TOY / "2": f"no such file or directory: {mount.path / TOY / '2'}",
    }.items():
        done = mount.run("publish", path)
        assert (2, "") == (done.returncode, done.stdout)
        assert f"modelfs: {reason}" == done.stderr.splitlines()[0]


def test_a_mount_that_was_killed_is_named(mount: Mounted) -> None:
    mount.stop()
    mount.start("--no-watchdog")
    draft = draft_in(mount, notes="the first")
    mount.kill()
    done = mount.run("publish", draft)
    assert 1 == done.returncode
    assert f"modelfs: the mount has ended: {mount.path}" == done.stderr.splitlines()[0]
    mount.start()
    assert 0 == mount.run("publish", draft).returncode


def test_a_terminal_is_shown_how_far_it_is(mount: Mounted) -> None:
    draft = draft_in(mount, notes="the first")
    (draft / "big.bin").write_bytes(os.urandom(30 << 20))
    screen, terminal = pty.openpty()
    command = subprocess.Popen(
        [MODELFS, "publish", draft],
        env=mount.environ | {"TERM": "xterm", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown = _read_all(screen)
    output, _ = command.communicate(timeout=60)
    assert (0, f"{draft}\n".encode()) == (command.returncode, output), shown
    assert "[" in shown
    assert " of 2 files" in shown
    assert "%" in shown


def test_an_interrupted_command_leaves_the_upload_to_the_mount(
    serve: Callable[..., Served], mounted: Callable[..., Mounted]
) -> None:
    served = serve()
    mount = mounted(served)
    draft = draft_in(mount, notes="the first")
    served.stop()  # so that it cannot end
    command = subprocess.Popen(
        [MODELFS, "publish", draft],
        env=mount.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: "sealed" in mount.run("status", draft).stdout, 30)
    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=30)
    assert (130, "") == (command.returncode, output), errors
    assert f"it goes on; see how: modelfs status {draft}" == errors.strip()
    assert "sealed" == state(draft)
    busy = mount.run("publish", draft, "-n", "other notes")
    assert (1, f"modelfs: it is being published, its notes are fixed: {draft}\n") == (
        busy.returncode,
        busy.stderr,
    )
    done = mount.run("drafts", "discard", draft, "--yes")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert [] == json.loads(mount.run("drafts", "list", "--json").stdout)


def _read_all(screen: int) -> str:
    """All that is written to a terminal until nobody has it open."""
    shown = b""
    try:
        while data := os.read(screen, 1 << 16):
            shown += data
    except OSError:  # how Linux tells the end
        pass
    os.close(screen)
    return shown.decode()
