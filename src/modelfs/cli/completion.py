"""`modelfs completion`: what makes a shell complete our commands, and the names in a registry.

A registry that does not answer before a person notices is not waited for: what is remembered of
it is offered then. Nothing here ever fails in a prompt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from modelfs.cli.finding import within
from modelfs.cli.options import settings
from modelfs.errors import Error
from modelfs.refs import Ref

if TYPE_CHECKING:
    from modelfs.config import Config

_DEADLINE = 1.0

# click's scripts end each name with a space; one that ends with a slash goes on.
_GOING_ON = {
    "bash": (
        "            COMPREPLY+=($value)\n",
        "            COMPREPLY+=($value)\n            [[ $value == */ ]] && compopt -o nospace\n",
    ),
    "zsh": (
        "        compadd -U -V unsorted -a completions\n",
        "        compadd -U -V unsorted -- ${completions:#*/}\n"
        "        compadd -U -S '' -V unsorted -- ${(M)completions:#*/}\n",
    ),
    "fish": ("", ""),  # adds no space after a slash
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(_GOING_ON)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script for the completion of commands, options and names.

    \b
    bash: echo 'source <(modelfs completion bash)' >> ~/.bashrc
    zsh:  echo 'source <(modelfs completion zsh)' >> ~/.zshrc
    fish: modelfs completion fish > ~/.config/fish/completions/modelfs.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    click.echo(_script(kind(ctx.find_root().command, {}, "modelfs", "_MODELFS_COMPLETE"), shell))


def _script(complete: ShellComplete, shell: str) -> str:
    # Not source(), which runs the shell only to complain about old versions of it.
    old, new = _GOING_ON[shell]
    return (complete.source_template % complete.source_vars()).replace(old, new)


def names(ctx: click.Context, incomplete: str, depth: int) -> list[CompletionItem]:
    """What `incomplete` may become: the next level of a ref that has `depth` parts in the end."""
    above, _, begun = incomplete.rpartition("/")
    try:
        ref = Ref.parse(above)
        if ref.depth >= depth:
            return []
        config = settings(
            registries=ctx.params.get("registries"), token_file=ctx.params.get("token_file")
        )
        if config.registries[0].name:
            return []  # the first part is the name of one of several
        found = _children(config, ref)
    except Error:
        return []
    end = "/" if ref.depth + 1 < depth else ""
    return [CompletionItem(f"{ref.child(name)}{end}") for name in found if name.startswith(begun)]


def _children(config: Config, ref: Ref) -> list[str]:
    """The names below `ref`."""
    from modelfs.assemble import access
    from modelfs.registry import open_registry

    def ask() -> list[str]:
        # Without the threads of a client, which would be waited for at the end of the process.
        return [entry.name for entry in open_registry(config.registry, config).children(ref)]

    try:
        return within(_DEADLINE, ask)
    except (Error, OSError):
        remembered = access(replace(config, is_offline=True))
        try:
            return [entry.name for entry in remembered.registry.children(ref)]
        finally:
            remembered.stop()
