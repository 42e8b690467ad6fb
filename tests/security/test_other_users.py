"""What another user of this machine can do to us, and to whoever looks into our mount: nothing."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from cli.commands import Shell
from cli.conftest import CONTENT, VERSION
from mount.conftest import Mount
from published import BASE
from security.conftest import NOBODY, AsNobody
from sims.content import BERT, plant

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="gives files to another user")


def options_of(path: Path) -> set[str]:
    """What the kernel says of the mount at `path`, the file system's own options among it."""
    (entry,) = [
        line.split()
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(path)
    ]
    return {*entry[5].split(","), *entry[-1].split(",")}


# The mount.


@pytest.mark.parametrize("shared", [(), ("--allow-other",), ("-o", "allow_other")])
def test_a_mount_is_never_without_the_options_of_safety(
    shared: tuple[str, ...], shell: Shell, registry: Path
) -> None:
    path = shell.mount(registry, *shared)
    assert {"nosuid", "nodev", "default_permissions"} <= options_of(path)
    assert bool(shared) == ("allow_other" in options_of(path))


@pytest.mark.parametrize(
    "option", ["suid", "dev", "nosuid=0", "default_permissions=0", "fsname=x\\", "ro,suid"]
)
def test_an_option_cannot_undo_those_of_safety(option: str, shell: Shell, registry: Path) -> None:
    done = shell.run("mount", "mnt", "--registry", f"local:{registry}", "-o", option)
    assert (2, "") == (done.returncode, done.stdout)
    assert "not an option for a mount" in done.stderr


def test_another_user_sees_nothing_of_a_mount(
    shell: Shell, registry: Path, as_nobody: AsNobody
) -> None:
    path = shell.mount(registry)
    for words in (("ls", path), ("cat", path / VERSION / "w"), ("stat", path / "alice")):
        done = as_nobody(*words)
        assert (b"", True) == (done.stdout, b"denied" in done.stderr)


def test_in_a_shared_mount_another_user_has_what_the_modes_say(
    mounted: Mount, tmp_path: Path, as_nobody: AsNobody
) -> None:
    plant(tmp_path / "registry", [BERT])
    draft = mounted(tmp_path / "registry", "--allow-other").path / BASE / "draft"
    draft.mkdir(mode=0o755)
    (draft / "secret").write_text("mine")
    (draft / "secret").chmod(0o600)
    (draft / "open").write_text("ours")
    (draft / "open").chmod(0o644)
    assert b"ours" == as_nobody("cat", draft / "open").stdout
    for words in (
        ("cat", draft / "secret"),
        ("touch", draft / "made"),
        ("mkdir", draft.with_name("draft-of-theirs")),
        ("ln", "-s", "x", draft / "made"),
        ("mv", draft / "open", draft / "made"),
        ("rm", draft / "open"),
        ("sh", "-c", f"echo x >> {draft}/open"),
        ("sh", "-c", f"echo publish > {draft}/NOTES"),
    ):
        done = as_nobody(*words)
        assert done.returncode, words
        assert b"denied" in done.stderr, (words, done)
    assert ["open", "secret"] == sorted(os.listdir(draft))
    assert "mineours" == (draft / "secret").read_text() + (draft / "open").read_text()


def test_setuid_and_devices_in_a_draft_have_no_power(
    mounted: Mount, tmp_path: Path, as_nobody: AsNobody
) -> None:
    plant(tmp_path / "registry", [BERT])
    draft = mounted(tmp_path / "registry", "--allow-other").path / BASE / "draft"
    draft.mkdir(mode=0o755)
    shutil.copy("/usr/bin/id", draft / "id")
    (draft / "id").chmod(0o4755)
    assert b"%d\n" % NOBODY == as_nobody(draft / "id", "-u").stdout
    try:
        os.mknod(draft / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        return  # better still
    assert b"denied" in as_nobody("head", "-c1", draft / "zero").stderr


# What is kept.


def kept(shell: Shell) -> list[Path]:
    return [
        path
        for top in (shell.folder / "cache", shell.state)
        for path in (top, *top.rglob("*"))
        if "tree" not in path.parts  # a draft's own files: their modes are the user's
    ]


def is_open(path: Path) -> bool:
    """Whether others may do anything with `path`, but for what is above it."""
    return bool(stat.S_IMODE(path.lstat().st_mode) & 0o077)


@pytest.mark.parametrize("mask", [0o000, 0o022])
def test_what_is_kept_is_for_its_owner_alone(mask: int, shell: Shell, registry: Path) -> None:
    before = os.umask(mask)
    try:
        own = shutil.copytree(registry, shell.folder / "registry")
        path = shell.mount(own, "--verbose")
        assert CONTENT == (path / VERSION / "w").read_bytes()
        draft = path / VERSION.replace("/1", "/draft")
        draft.mkdir()
        (draft / "w").write_bytes(b"more")
        (draft / "w").chmod(0o666)
        done = shell.run("publish", draft, "--notes", "more")
        assert 0 == done.returncode, done.stderr
    finally:
        os.umask(before)
    assert {"log", "mounts", "drafts", "blocks"} <= {item.name for item in kept(shell)}
    assert set() == {str(item) for item in kept(shell) if item.is_file() and is_open(item)}
    trees = [item for item in shell.state.rglob("tree") if item.parent.parent.name == "drafts"]
    assert trees
    assert [] == [item for item in (shell.folder / "cache", shell.state, *trees) if is_open(item)]


@needs_root
@pytest.mark.parametrize("kind", ["cache", "state"])
def test_a_directory_of_another_user_is_not_used(kind: str, shell: Shell, registry: Path) -> None:
    top = shell.folder / kind
    top.mkdir(exist_ok=True)
    os.chown(top, NOBODY, NOBODY)
    done = shell.run("mount", "mnt", "--registry", f"local:{registry}")
    assert 0 != done.returncode
    assert f"the {kind} directory is another user's: {top}" in done.stderr
    assert [] == list(top.iterdir())


@pytest.mark.parametrize("kind", ["cache", "state"])
def test_a_directory_that_is_a_link_is_not_used(kind: str, shell: Shell, registry: Path) -> None:
    real = shell.folder / "elsewhere"
    real.mkdir()
    (shell.folder / kind).symlink_to(real)
    done = shell.run("mount", "mnt", "--registry", f"local:{registry}")
    assert 0 != done.returncode
    assert f"the {kind} directory is a symbolic link" in done.stderr
    assert str(real) in done.stderr  # what to name instead
    assert [] == list(real.iterdir())


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_state_directory_that_others_may_write_to_is_not_used(
    mode: int, shell: Shell, registry: Path
) -> None:
    shell.state.mkdir()
    shell.state.chmod(mode)
    done = shell.run("mount", "mnt", "--registry", f"local:{registry}")
    assert 0 != done.returncode
    assert f"can be written to by others: {shell.state}" in done.stderr
    assert [] == list(shell.state.iterdir())


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_links_planted_in_what_is_kept_lead_nowhere(
    link: object, shell: Shell, registry: Path
) -> None:
    """By somebody who could write there once, say through a backup that was restored."""
    own = shutil.copytree(registry, shell.folder / "registry")
    path = shell.mount(own)
    assert CONTENT == (path / VERSION / "w").read_bytes()
    draft = path / VERSION.replace("/1", "/draft")
    draft.mkdir()
    assert 0 == shell.run("umount", path).returncode
    victim = shell.folder / "victim"
    victim.write_text("precious")
    replaced = [item for item in kept(shell) if item.is_file()]
    assert replaced
    for item in replaced:
        item.unlink()
        link(victim, item)  # type: ignore[operator]
    done = shell.run("mount", path, "--registry", f"local:{own}")
    if done.returncode == 0:
        assert CONTENT == (path / VERSION / "w").read_bytes()
        assert 0 == shell.run("umount", path).returncode
    else:
        assert 1 == len(done.stderr.splitlines()), done.stderr
    assert "precious" == victim.read_text()
    assert "Traceback" not in done.stderr + shell.log
