"""What the commands say of themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version

import click
import pytest

from cli.commands import Shell
from modelfs.cli import main
from modelfs.cli.main import cli


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


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    context = click.Context(cli)
    shown = {name: text for name, (_, text) in main._COMMANDS.items()}
    said = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        said[name] = command.get_short_help_str(100)
    assert said == shown


def test_start_up_imports_click_and_little_else() -> None:
    code = "import sys, modelfs.cli.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("modelfs")}
    assert {"modelfs", "modelfs.cli", "modelfs.cli.main"} | {
        "modelfs.cli.reporting",
        "modelfs.errors",
    } == ours
    assert not {"requests", "importlib.metadata", "asyncio"} & set(done.stdout.split())
