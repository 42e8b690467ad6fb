"""What the commands that ask a registry have in common: options, the client, pages of listings."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from modelfs.cli.options import registry_options, settings
from modelfs.cli.tables import Column, Layout, printed
from modelfs.errors import Error, Usage
from modelfs.model import Item, Page
from modelfs.refs import Ref

Command = Callable[..., Any]


def with_client(function: Command) -> Command:
    """`--registry` and `--token-file`; the command gets the client that they describe first."""

    @registry_options(is_several=False)
    @functools.wraps(function)
    def opened(
        *arguments: Any, registries: tuple[str, ...], token_file: str | None, **options: Any
    ) -> Any:
        from modelfs.api import Client

        config = settings(registries=registries, token_file=token_file)
        with Client(config=config) as client:
            return function(client, *arguments, **options)

    return opened


def listing_options(function: Command) -> Command:
    """Which page of a listing, and how it is printed; the command gets `paging` and `layout`."""

    @click.option(
        "--page-token", metavar="TOKEN", help="The page to show, as the one before it told."
    )
    @click.option(
        "--page-size",
        type=int,
        default=20,
        show_default=True,
        metavar="N",
        help="How many entries a page has; registries give 200 at most.",
    )
    @click.option(
        "--format",
        "format_text",
        metavar="FORMAT",
        help="table, csv or json; with chosen fields: json(ref,id).",
    )
    @click.option("-v", "--csv", "is_csv", is_flag=True, help="The same as --format csv.")
    @functools.wraps(function)
    def paged(
        *arguments: Any,
        page_size: int,
        page_token: str | None,
        is_csv: bool,
        format_text: str | None,
        **options: Any,
    ) -> Any:
        if page_size < 1:
            raise Usage(f"page size is less than 1: {page_size}")
        if is_csv and format_text is not None:
            raise Usage("--csv and --format exclude each other")
        layout = Layout.parse("csv" if is_csv else format_text or "table")
        paging = {"page_size": page_size, "page_token": page_token or ""}
        return function(*arguments, paging=paging, layout=layout, **options)

    return paged


def print_page(page: Page[Item], columns: Sequence[Column], layout: Layout, nothing: str) -> None:
    """Print a page, or that there is `nothing`; what programs read has nothing but data."""
    is_table = layout.format == "table"
    text = printed(page.items, columns, layout)
    if page.next_token:
        click.echo(f"Next Page Token = {page.next_token}", err=not is_table)
    if not page.items:
        click.echo(nothing, err=not is_table)
    # What the terminal's encoding does not have is no reason to fail.
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "replace"), nl=False)


def confirmed(noun: str, ref: Ref | str) -> bool:
    """Whether the person wants `ref` deleted; says so if not. Error if nobody answers."""
    click.echo(f"Are you sure you want to delete the {noun} {ref}? [yes/no] ", nl=False)
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        click.echo()
        raise Error("nobody answered, so nothing was deleted", hint="to be sure, say --yes")
    word = answer.strip().lower()
    if word in ("yes", "y"):
        return True
    if word not in ("no", "n"):
        click.echo("Please respond with 'yes' or 'no'.")
    click.echo("Deletion cancelled")
    return False


yes_option = click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
