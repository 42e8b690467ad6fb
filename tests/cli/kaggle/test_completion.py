"""What a shell offers: commands, options, and names of the registry, never an error."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from cli.kaggle.conftest import BASE, Type
from modelfs.cli import completion
from modelfs.cli.main import cli
from polling import wait_for
from serving import BIN, MODELFS, own_environ


def _offered(*words: str) -> list[str]:
    """What completes the last of `words`."""
    *before, last = words
    complete = ShellComplete(cli, {}, "modelfs", "_MODELFS_COMPLETE")
    return [item.value for item in complete.get_completions(list(before), last)]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("mod",), ["models"]),
        (("models", "inst"), ["instances"]),
        (("mi", "vers"), ["versions"]),
        (("miv", "download", "--fo"), ["--force"]),
        (("miv", "create", "-r", "t"), ["tar", "tree"]),
        (("models", "list", "--sort-by", "c"), ["createTime"]),
        (("completion", ""), ["bash", "fish", "zsh"]),
        (("models", "get", "a"), ["alice/"]),
        (("models", "get", "alice/"), ["alice/bert"]),
        (("mi", "get", "alice/be"), ["alice/bert/"]),
        (("mi", "get", "alice/bert/"), ["alice/bert/pytorch/"]),
        (("mi", "get", "alice/bert/pytorch/b"), [BASE]),
        (("miv", "files", f"{BASE}/"), [f"{BASE}/1", f"{BASE}/2"]),
        (("miv", "files", f"{BASE}/1/"), []),
        (("warm", "alice/be"), ["alice/bert/"]),
        (("warm", "--lock", "f", f"{BASE}/"), [f"{BASE}/1", f"{BASE}/2"]),
        (("pull", f"{BASE}/"), [f"{BASE}/1", f"{BASE}/2"]),
        (("pull", "./a"), ["./a"]),
        (("lock", f"{BASE}/1", "alice/"), ["alice/bert/"]),
        (("lock", "--registry", "a=kaggle", "a/"), []),
        (("miv", "files", "nobody/nothing/"), []),
        (("miv", "files", "a//b/"), []),
        (("miv", "files", "\x1b/"), []),
        (("miv", "files", "--registry", "nope", "alice/"), []),
    ],
)
def test_what_can_come_next_is_offered(
    typed: Type, words: tuple[str, ...], offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which names are offered is the question here, not whether the machine has a second for it.
    monkeypatch.setattr(completion, "_DEADLINE", 30)
    assert offered == _offered(*words)


def test_a_registry_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    environ = own_environ(
        tmp_path / "home",
        # Reserved for documentation: packets to it get lost, or are refused.
        MODELFS_REGISTRY="kaggle+http://192.0.2.1:9",
        MODELFS_CACHE_DIR=str(tmp_path / "cache"),
        _MODELFS_COMPLETE="bash_complete",
        COMP_WORDS="modelfs mi get alice/bert/",
        COMP_CWORD="3",
    )
    before = time.monotonic()
    done = subprocess.run(
        [MODELFS], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert ("", "") == (done.stdout.strip(), done.stderr)
    # A client tries for 12 seconds and more; a busy machine takes some to start Python.
    assert time.monotonic() - before < 9


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(typed: Type, shell: str, tmp_path: Path) -> None:
    said = typed("completion", shell)
    assert (0, "") == (said.status, said.stderr)
    assert f"_MODELFS_COMPLETE={shell}_complete" in said.stdout
    assert {"bash": "-o nospace", "zsh": "-S ''", "fish": "complete"}[shell] in said.stdout
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(said.stdout)
        subprocess.run([shell, "-n", script], check=True)


def test_bash_completes_with_the_script(registry: Path, tmp_path: Path) -> None:
    environ = own_environ(
        tmp_path / "home",
        MODELFS_REGISTRY=f"local:{registry}",
        MODELFS_CACHE_DIR=str(tmp_path / "cache"),
    )
    environ["PATH"] = f"{BIN}:{environ['PATH']}"
    code = (
        "compopt() { echo $*; }; source <(modelfs completion bash);"
        "COMP_WORDS=(modelfs mi get alice/be); COMP_CWORD=3;"
        '_modelfs_completion modelfs; echo "${COMPREPLY[@]}"'
    )

    def completed() -> bool:
        done = subprocess.run(
            ["bash", "-c", code],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        # A machine that takes more than a second to ask leaves the prompt as it is.
        assert (done.stdout, done.stderr) in ((expected, ""), ("\n", ""))
        return expected == done.stdout

    expected = "-o nospace\nalice/bert/\n"
    wait_for(completed, 30, "the name is completed")


def test_every_command_has_help_that_fits(typed: Type) -> None:
    def below(command: click.Command, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        found = [words]
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                inner = command.get_command(click.Context(command), name)
                assert inner is not None
                found += below(inner, (*words, name))
        return found

    for words in [
        ("completion",),
        *below(cli.get_command(click.Context(cli), "models"), ("models",)),
    ]:
        said = typed(*words, "--help")
        assert (0, "") == (said.status, said.stderr)
        assert all(len(line) <= 100 for line in said.stdout.splitlines()), words
        assert "..." not in said.stdout.replace("[OPTIONS] COMMAND [ARGS]...", "")
