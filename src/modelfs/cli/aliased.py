"""Groups of commands that can be called by shorter names too, as in the official client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class Aliased(click.Group):
    """A group whose commands have `aliases`, short name -> name, which its help leaves out."""

    def __init__(
        self, *arguments: Any, aliases: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._aliases = dict(aliases or {})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self._aliases.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Each with its whole first sentence; click's own list cuts it off.
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(200))
                    for name, command in sorted(self.commands.items())
                ]
            )
