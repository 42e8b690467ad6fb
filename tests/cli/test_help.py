"""What the commands say of themselves."""

from __future__ import annotations

import re
from importlib.metadata import version

import pytest

from cli.commands import Shell


def test_the_version_is_the_packages(shell: Shell) -> None:
    done = shell.run("--version")
    assert (0, f"modelfs, version {version('modelfs')}\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize("command", [[], ["mount"], ["umount"], ["serve"]])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_reads_well(shell: Shell, command: list[str], flag: str) -> None:
    done = shell.run(*command, flag)
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Usage: modelfs")
    assert all(len(line) <= 100 for line in done.stdout.splitlines())
    # Every option and every command has a word of explanation.
    _, _, listed = done.stdout.partition("Options:\n")
    entries = re.split(r"\n(?=  \S)", listed.replace("Commands:\n", ""))
    assert all(re.search(r"\S {2,}\S", entry.strip()) for entry in entries if entry.strip())


def test_help_names_every_command(shell: Shell) -> None:
    said = shell.run("--help").stdout
    for command in ("mount", "umount", "serve"):
        assert f"  {command} " in said


def test_an_unknown_command_is_refused(shell: Shell) -> None:
    done = shell.run("mnt")
    assert 2 == done.returncode
    assert "mnt" in done.stderr
    assert "Traceback" not in done.stderr
