"""The command line: which commands there are."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from modelfs.cli.reporting import report

# Command -> the module that has it, imported only when it is asked for since start-up is felt, and
# the first sentence of its help.
_COMMANDS = {
    "cache": (
        "modelfs.cli.cache",
        "What was downloaded and is kept: look at it, check it, make room.",
    ),
    "completion": (
        "modelfs.cli.completion",
        "Print a script for the completion of commands, options and names.",
    ),
    "drafts": ("modelfs.cli.drafts", "Drafts: versions that are not published yet."),
    "lock": (
        "modelfs.cli.lock",
        "Write a lock file: which versions REF… are, and what is in them.",
    ),
    "models": ("modelfs.cli.models", "Models of a registry: the commands of the official client."),
    "mount": ("modelfs.cli.mount", "Mount a model registry at MOUNTPOINT."),
    "publish": (
        "modelfs.cli.publish",
        "Publish the draft PATH, a directory in a mount or anything in it.",
    ),
    "pull": (
        "modelfs.cli.pull",
        "Put the files of a version into DIR, which is made; no mount is needed.",
    ),
    "serve": ("modelfs.cli.serve", "Serve DIR as a model registry over HTTP."),
    "status": ("modelfs.cli.status", "Show the mounts of this user, and their drafts."),
    "umount": ("modelfs.cli.mount", "Unmount MOUNTPOINT; what was downloaded is kept."),
    "wriftai": ("modelfs.cli.wriftai", "Models of WriftAI, whose versions are container images."),
    "warm": ("modelfs.cli.warm", "Download REF or PATH into the cache, where mounts find it."),
}
# What the official client's users type.
_ALIASES = {
    "m": ("models",),
    "mi": ("models", "instances"),
    "miv": ("models", "instances", "versions"),
}


class _Commands(click.Group):
    """Commands by name, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name, *below = _ALIASES.get(cmd_name, (cmd_name,))
        if name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(_COMMANDS[name][0]), name)
        for word in below:
            command = command.get_command(ctx, word)
        assert isinstance(command, click.Command)  # noqa: S101 - our own table is wrong otherwise
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="modelfs", prog_name="modelfs")
def cli() -> None:
    """A model registry, mounted.

    Versions of models are directories: bytes are downloaded when something reads them, and kept.
    """


def _open_standard_files() -> None:
    """Open those that we were started without, or the next files would be taken for them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - until we end


def main() -> NoReturn:
    """Run the command line and exit."""
    _open_standard_files()
    sys.exit(report(lambda: cli.main(standalone_mode=False)))
