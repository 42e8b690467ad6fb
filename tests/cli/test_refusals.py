"""What cannot be done is said in a sentence, with a status, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from cli.commands import Shell
from mounting import is_mounted

USAGE, FAILED = 2, 1
# Words after `modelfs mount MOUNTPOINT`, the status, and a part of what is said.
OPTIONS: dict[str, tuple[list[str], int, str]] = {
    "an unknown option": (["--nonsense"], USAGE, "--nonsense"),
    "an unknown scheme": (["--registry", "ftp://host"], USAGE, "not a registry: 'ftp://host'"),
    "no registry": (["--registry", ""], USAGE, "not a registry"),
    "an address without a host": (["--registry", "kaggle+http://"], USAGE, "address"),
    "a port that is none": (["--registry", "kaggle+http://h:99999"], USAGE, "address"),
    "a password in an address": (["--registry", "kaggle+http://u:s3cret@h:1"], USAGE, "address"),
    "a missing directory": (["--registry", "local:missing"], USAGE, "no such directory"),
    "two registries, one name": (["--registry", "a=kaggle", "--registry", "a=kaggle"], USAGE, "a"),
    "two registries, no name": (["--registry", "kaggle", "--registry", "kaggle"], USAGE, "name"),
    "deleting, read-only": (["--read-only", "--allow-delete"], USAGE, "--allow-delete"),
    "a cache without a name": (["--cache-dir", ""], USAGE, "the name is empty: cache-dir"),
    "a bad size": (["--cache-size", "many"], USAGE, "not a size: 'many'"),
    "a bad mask": (["--umask", "9"], USAGE, "octal"),
    "too much of a mask": (["--umask", "7777"], USAGE, "mask"),
    "a user that is none": (["--uid", "-5"], USAGE, "--uid"),
    "a FUSE option that is none": (["-o", "nonsense"], FAILED, "nonsense"),
    "a missing token file": (
        ["--registry", "kaggle+http://127.0.0.1:1", "--token-file", "missing"],
        USAGE,
        "missing",
    ),
    "a token file that is a directory": (
        ["--registry", "kaggle+http://127.0.0.1:1", "--token-file", "."],
        USAGE,
        "token file",
    ),
    "a cache that is a file": (["--cache-dir", "file"], FAILED, "cache directory"),
    "a cache in a file": (["--cache-dir", "file/cache"], FAILED, "cache directory"),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_mount_is_refused_for(kind: str, shell: Shell, registry: Path) -> None:
    (shell.folder / "file").touch()
    words, status, part = OPTIONS[kind]
    is_given = "--registry" in words
    chosen = words if is_given else ["--registry", f"local:{registry}", *words]
    done = shell.run("mount", shell.folder / "mnt", *chosen)
    assert status == done.returncode, done.stderr
    assert part in done.stderr
    is_sentence(done.stderr)
    assert "" == done.stdout
    assert not is_mounted(shell.folder / "mnt")
    assert "s3cret" not in done.stderr


def test_a_mountpoint_that_will_not_do_is_refused(shell: Shell, registry: Path) -> None:
    (shell.folder / "file").touch()
    (shell.folder / "full/inner").mkdir(parents=True)
    for path, part in (("file", "not a directory"), ("full", "not empty"), ("no/mnt", "no/mnt")):
        done = shell.run("mount", path, "--registry", f"local:{registry}")
        assert USAGE == done.returncode
        assert part in done.stderr
        is_sentence(done.stderr)
    assert not (shell.folder / "no").exists()


def test_a_mountpoint_in_use_is_refused(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    done = shell.run("mount", path, "--registry", f"local:{registry}")
    assert USAGE == done.returncode
    assert f"mounted there already: {path}" in done.stderr
    assert f"modelfs umount {path}" in done.stderr
    assert ["alice"] == [entry.name for entry in path.iterdir()]


def test_a_mount_that_insists_on_passthrough_is_refused_where_there_is_none(
    shell: Shell, registry: Path
) -> None:
    layers = [shell.folder / name for name in ("lower", "upper", "work", "cache")]
    for layer in layers:
        layer.mkdir()
    options = "lowerdir={},upperdir={},workdir={}".format(*layers[:3])
    stack = ["mount", "-t", "overlay", "overlay", "-o", options, str(layers[3])]
    if os.getuid() != 0 or subprocess.run(stack, check=False, capture_output=True).returncode:
        pytest.skip("needs root and a stacked file system for the cache")
    try:
        words = ["mount", shell.folder / "mnt", "--registry", f"local:{registry}"]
        done = shell.run(*words, "--passthrough", "on")
        mounted = is_mounted(shell.folder / "mnt")
    finally:
        subprocess.run(["umount", str(layers[3])], check=True, timeout=10)
    assert (FAILED, "", False) == (done.returncode, done.stdout, mounted)
    assert done.stderr.startswith("modelfs: reads cannot be passed through: ")
    assert 1 == len(done.stderr.splitlines())


def test_a_setting_of_the_environment_that_makes_no_sense_is_refused(
    shell: Shell, registry: Path
) -> None:
    done = shell.run("mount", "mnt", MODELFS_REGISTRY="nonsense")
    assert (USAGE, True) == (done.returncode, "not a registry: 'nonsense'" in done.stderr)
    done = shell.run("mount", "mnt", MODELFS_CONFIG="missing.toml")
    assert (USAGE, True) == (done.returncode, "missing.toml" in done.stderr)
    (shell.folder / "bad.toml").write_text("registry = [")
    done = shell.run("mount", "mnt", MODELFS_CONFIG="bad.toml")
    assert (USAGE, True) == (done.returncode, "bad.toml" in done.stderr)


def test_what_is_not_mounted_is_not_unmounted(shell: Shell) -> None:
    for path in ("missing", ".", "/proc"):
        done = shell.run("umount", path)
        assert FAILED == done.returncode
        assert "no modelfs is mounted there" in done.stderr
        is_sentence(done.stderr)


def is_sentence(text: str) -> None:
    """What is said is for a person: a few lines, and no insides of ours."""
    assert 1 <= len(text.strip().splitlines()) <= 4, text
    assert not re.search(r"Traceback|Error\(|\.py\b|0x[0-9a-f]+", text), text


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_who_closes_the_standard_files_gets_a_status_and_no_traceback(
    shell: Shell, registry: Path, closed: str
) -> None:
    closing = ("sh", "-c", f'exec "$@" {closed}', "-")
    done = shell.run("models", "list", "--registry", f"local:{registry}", before=closing)
    assert (0, "") == (done.returncode, done.stderr)
    done = shell.run("mount", "mnt", "--registry", f"local:{registry}", before=closing)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert is_mounted(shell.folder / "mnt")
