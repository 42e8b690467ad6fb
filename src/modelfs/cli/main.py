"""The command line: which commands there are."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from modelfs.cli.reporting import report

# Command -> the module that has it, imported only when it is asked for: start-up is felt.
_COMMANDS = {
    "drafts": "modelfs.cli.drafts",
    "mount": "modelfs.cli.mount",
    "publish": "modelfs.cli.publish",
    "serve": "modelfs.cli.serve",
    "status": "modelfs.cli.status",
    "umount": "modelfs.cli.mount",
}


class _Commands(click.Group):
    """Commands by name, imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - our own table is wrong otherwise
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="modelfs", prog_name="modelfs")
def cli() -> None:
    """A model registry, mounted.

    Versions of models are directories: bytes are downloaded when something reads them, and kept.
    """


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(report(lambda: cli.main(standalone_mode=False)))
