"""Options that mean the same on every command, and how they become a Config."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from modelfs import config

F = TypeVar("F", bound=Callable[..., Any])

# Of the name of a version, in any registry.
_MOST_LEVELS = 5


def registry_options(*, is_several: bool) -> Callable[[F], F]:
    """`--registry` and `--token-file`."""
    text = (
        "kaggle, wriftai, kaggle+http://HOST:PORT, wriftai+http://HOST:PORT or local:DIR;"
        " the default is $MODELFS_REGISTRY or kaggle."
    )
    if is_several:
        text = f"{text} NAME=SPEC, repeated, for several."

    def add(function: F) -> F:
        function = click.option(
            "--token-file",
            metavar="FILE",
            help="Holds the token for a registry that is not Kaggle's own.",
        )(function)
        return click.option("--registry", "registries", metavar="SPEC", multiple=True, help=text)(
            function
        )

    return add


def ref_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What a REF may become, level by level; names of files where it can only be a PATH."""
    from modelfs.cli import completion

    if "PATH" in str(param.metavar) and incomplete.startswith((".", "/", "~")):
        return [CompletionItem(incomplete, type="file")]
    return completion.names(ctx, incomplete, _MOST_LEVELS)


def settings(**flags: Any) -> config.Config:
    """The configuration of this run; a flag that was not given is None or empty."""
    return config.load(flags, os.environ)
