"""Whose the files are, and who else may read them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from cli.commands import Shell
from cli.conftest import CONTENT, VERSION

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv"
)
STRANGER = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """Whose folder others may enter."""
    for path in (shell.folder, *shell.folder.parents):
        if path.stat().st_uid == os.getuid() and path.is_relative_to("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)
    return shell


def as_stranger(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*STRANGER, *words], check=False, capture_output=True, timeout=20)


def test_a_mount_is_its_users_alone(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    assert b"denied" in as_stranger("ls", path).stderr
    assert b"denied" in as_stranger("cat", path / VERSION / "w").stderr


def test_others_may_read_if_it_is_allowed(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry, "--allow-other")
    assert CONTENT == as_stranger("cat", path / VERSION / "w").stdout
    assert 0 != as_stranger("touch", path / VERSION / "w").returncode


def test_a_mask_takes_permissions_away_from_others(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry, "--allow-other", "--umask", "077")
    assert CONTENT == (path / VERSION / "w").read_bytes()
    assert b"denied" in as_stranger("cat", path / VERSION / "w").stderr
    assert "-r--------" == stat.filemode((path / VERSION / "w").stat().st_mode)
    assert "dr-x------" == stat.filemode((path / VERSION).stat().st_mode)


def test_files_are_whose_they_are_said_to_be(shell: Shell, registry: Path) -> None:
    ids = ("--uid", "65534", "--gid", "65534")
    path = shell.mount(registry, "--allow-other", "--umask", "077", *ids)
    told = (path / VERSION / "w").stat()
    assert (65534, 65534) == (told.st_uid, told.st_gid)
    assert CONTENT == as_stranger("cat", path / VERSION / "w").stdout


def test_an_option_of_fuse_has_its_effect(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry, "-o", "ro,noexec", "-o", "fsname=models")
    (entry,) = [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(path)
    ]
    assert {"ro", "noexec", "nosuid", "nodev"} <= set(entry.split()[5].split(","))
    assert " fuse.modelfs models " in entry
    with pytest.raises(OSError, match="Read-only file system"):
        (path / "new").mkdir()


def test_what_is_kept_is_its_users_alone(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry, "--allow-other")
    (path / VERSION / "w").read_bytes()
    for kept in (shell.folder / "cache", shell.state):
        assert "drwx------" == stat.filemode(kept.stat().st_mode)
    files = [kept for kept in (shell.folder / "cache").rglob("*") if kept.is_file()]
    assert files
    assert {"-rw-------"} == {stat.filemode(kept.stat().st_mode) for kept in files}
