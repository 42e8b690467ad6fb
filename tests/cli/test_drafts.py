"""`modelfs drafts` and `modelfs status`, with mounts, dead mounts and none."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mounting import Mounted
from serving import MODELFS, Served

TOY = "alice/toy/pytorch/base"


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


@pytest.fixture
def mount(served: Served, mounted: Callable[..., Mounted]) -> Mounted:
    return mounted(served)


def draft_in(top: Path, ref: str) -> Path:
    draft = top / ref
    (draft / "sub").mkdir(parents=True)
    (draft / "sub/weights.bin").write_bytes(bytes(1_500_000))
    (draft / ".DS_Store").write_bytes(b"not counted")
    return draft


def columns(text: str) -> list[list[str]]:
    """The cells of a table."""
    return [[cell for cell in line.strip().split("  ") if cell] for line in text.splitlines()]


def test_without_any_there_is_nothing_to_list(mount: Mounted) -> None:
    done = mount.run("drafts", "list")
    assert (0, "", "there are no drafts\n") == (done.returncode, done.stdout, done.stderr)
    assert [] == json.loads(mount.run("drafts", "list", "--json").stdout)


def test_drafts_are_listed_with_and_without_a_mount(mount: Mounted, served: Served) -> None:
    draft = draft_in(mount.path, f"{TOY}/tuned")
    registry = f"kaggle+{served.url}"
    expected = [f"{TOY}/tuned", "open", "1 file", "1.5 MB", registry]
    assert expected == [cell.strip() for cell in columns(mount.run("drafts", "list").stdout)[1]]
    [told] = json.loads(mount.run("drafts", "list", "--json").stdout)
    assert (f"{TOY}/tuned", "open", 1, 1_500_000, registry, str(draft)) == (
        told["ref"],
        told["state"],
        told["files"],
        told["bytes"],
        told["registry"],
        told["path"],
    )
    mount.stop()
    assert expected == [cell.strip() for cell in columns(mount.run("drafts", "list").stdout)[1]]
    [told] = json.loads(mount.run("drafts", "list", "--json").stdout)
    assert (None, "open", 1_500_000) == (told["path"], told["state"], told["bytes"])


def test_why_one_failed_is_remembered_without_a_mount(mount: Mounted) -> None:
    draft_in(mount.path, f"{TOY}/1")
    assert 1 == mount.run("publish", mount.path / TOY / "1", "-n", "").returncode
    reason = columns(mount.run("drafts", "list").stdout)[1][-1]
    assert "NOTES" in reason
    mount.stop()
    assert reason == columns(mount.run("drafts", "list").stdout)[1][-1]
    done = mount.run("drafts", "retry", f"{TOY}/1")
    assert 2 == done.returncode
    assert "publishing needs a mount" in done.stderr


def test_only_what_failed_is_tried_again(mount: Mounted) -> None:
    draft = draft_in(mount.path, f"{TOY}/1")
    for name in (draft, f"{TOY}/1"):
        done = mount.run("drafts", "retry", name)
        assert (2, "") == (done.returncode, done.stdout)
        assert f"modelfs: it has not failed: {name}" == done.stderr.splitlines()[0]
    done = mount.run("drafts", "retry", f"{TOY}/2")
    assert (2, f"modelfs: no such draft: {TOY}/2") == (
        done.returncode,
        done.stderr.splitlines()[0],
    )


@pytest.mark.parametrize("is_mounted", [True, False], ids=["mounted", "not mounted"])
def test_a_draft_is_discarded(mount: Mounted, is_mounted: bool) -> None:
    draft_in(mount.path, f"{TOY}/1")
    draft_in(mount.path, f"{TOY}/other")
    if not is_mounted:
        mount.stop()
    done = mount.run("drafts", "discard", f"{TOY}/1")
    assert 2 == done.returncode
    assert "nobody can be asked" in done.stderr
    done = mount.run("drafts", "discard", f"{TOY}/1", "-y")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    [left] = json.loads(mount.run("drafts", "list", "--json").stdout)
    assert f"{TOY}/other" == left["ref"]
    assert 2 == mount.run("drafts", "discard", f"{TOY}/1", "-y").returncode


def test_a_draft_is_discarded_while_the_registry_cannot_be_asked(
    mount: Mounted, served: Served
) -> None:
    draft = draft_in(mount.path, f"{TOY}/1")
    mount.stop()
    served.stop()
    mount.start()  # knows nothing of what is published
    done = mount.run("drafts", "discard", draft, "-y")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert [] == json.loads(mount.run("drafts", "list", "--json").stdout)


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("y", 0)])
def test_a_person_is_asked_before_anything_is_discarded(
    mount: Mounted, answer: str, status: int
) -> None:
    draft = draft_in(mount.path, f"{TOY}/1")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, f"{answer}\n".encode())
    done = subprocess.run(
        [MODELFS, "drafts", "discard", draft],
        check=False,
        env=mount.environ,
        stdin=terminal,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(terminal)
    os.close(keyboard)
    assert (status, "") == (done.returncode, done.stdout), done.stderr
    assert f"Discard {draft} (1 file, 1.5 MB)?" in done.stderr
    assert draft.exists() == (answer == "n")


def test_status_shows_mounts_and_their_drafts(mount: Mounted, served: Served) -> None:
    draft_in(mount.path, f"{TOY}/1")
    draft = draft_in(mount.path, f"{TOY}/tuned")
    head, *rows = mount.run("status").stdout.splitlines()
    assert head.startswith(f"{mount.path}  kaggle+{served.url}  up ")
    assert head.endswith(f"pid {mount.pid}, buffers 0 B of 67 MB")
    assert [f"{TOY}/1", f"{TOY}/tuned"] == [row.split()[0] for row in rows]
    assert 2 == len(mount.run("status", draft / "sub").stdout.splitlines())
    assert 3 == len(mount.run("status", mount.path).stdout.splitlines())
    told = json.loads(mount.run("status", "--json").stdout)
    [described] = told["mounts"]
    assert ([], str(mount.path), mount.pid, True) == (
        told["drafts"],
        described["mountpoint"],
        described["pid"],
        described["is_alive"],
    )
    assert ["open", "open"] == [each["state"] for each in described["drafts"]]
    assert (0, 64 << 20) == (
        described["gauges"]["buffers"],
        described["gauges"]["buffers_total"],
    )


def test_status_of_what_is_no_mount_is_a_usage_error(mount: Mounted, tmp_path: Path) -> None:
    done = mount.run("status", tmp_path)
    assert (2, "", f"modelfs: not in a mount of modelfs: {tmp_path}\n") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


def test_a_dead_mount_is_shown_as_such_until_it_is_cleared_away(mount: Mounted) -> None:
    mount.stop()
    mount.start("--no-watchdog")
    draft_in(mount.path, f"{TOY}/1")
    mount.kill()
    blocks = mount.run("status").stdout.split("\n\n")
    assert f"dead; clear it away: modelfs umount {mount.path}" in blocks[0]
    assert blocks[1].startswith(f"not mounted\n  {TOY}/1 ")
    [described] = json.loads(mount.run("status", "--json").stdout)["mounts"]
    assert not described["is_alive"]
    assert 1 == mount.run("status", mount.path).returncode
    assert 0 == mount.run("umount", mount.path).returncode
    assert mount.run("status").stdout.startswith("not mounted\n")


def test_with_nothing_at_all_status_says_so(mount: Mounted) -> None:
    mount.stop()
    done = mount.run("status")
    assert (0, "", "nothing is mounted, and there are no drafts\n") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    assert {"mounts": [], "drafts": []} == json.loads(mount.run("status", "--json").stdout)


def test_attributes_of_ours_are_asked_not_stored(mount: Mounted) -> None:
    draft = draft_in(mount.path, f"{TOY}/1")
    for place, name in (
        (draft, "user.modelfs.anything"),
        (draft / "sub", "user.modelfs.publish"),
        (mount.path / TOY, "user.modelfs.publish"),
    ):
        with pytest.raises(OSError, match="not supported"):
            os.setxattr(place, name, b"1")
        assert [] == os.listxattr(place)
    os.setxattr(draft, "user.modelfs.notes", b"so far")
    assert b"so far" == (draft / "NOTES").read_bytes()
    assert [] == os.listxattr(draft)
    os.setxattr(draft, "user.mine", b"stored")
    assert ["user.mine"] == os.listxattr(draft)


@pytest.mark.parametrize("command", ["publish", "status", "drafts"])
def test_help_is_there_at_once(mount: Mounted, command: str) -> None:
    done = mount.run(command, "-h")
    assert 0 == done.returncode
    assert f"Usage: modelfs {command}" in done.stdout
