"""`modelfs models`: the official client's commands, on models themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelfs.cli import folders
from modelfs.cli.aliased import Aliased
from modelfs.cli.clients import (
    confirmed,
    listing_options,
    print_page,
    with_client,
    yes_option,
)
from modelfs.cli.facts import change, owned, remove, say_done, show
from modelfs.cli.folders import folder_option
from modelfs.cli.instances import instances
from modelfs.cli.options import settings
from modelfs.cli.slugs import Slug
from modelfs.cli.tables import Column, Layout, flag_of, number_of, text_of, time_of
from modelfs.refs import Ref
from modelfs.registry.metadata import MODEL

if TYPE_CHECKING:
    from modelfs.api import Client

_ORDERS = ("hotness", "downloadCount", "voteCount", "notebookCount", "createTime")
_COLUMNS = (
    Column("id", "id", number_of("id")),
    Column("ref", "ref", lambda item: str(item.ref)),
    Column("title", "title", text_of("title")),
    Column("subtitle", "subtitle", text_of("subtitle")),
    Column("author", "author", text_of("author")),
    Column("slug", "slug", text_of("slug"), is_extra=True),
    Column("isPrivate", "isPrivate", flag_of("isPrivate"), is_extra=True),
    Column("updateTime", "updateTime", time_of("updateTime"), is_extra=True),
    Column("url", "url", text_of("url"), is_extra=True),
)


@click.group(cls=Aliased, aliases={"i": "instances", "variations": "instances", "v": "instances"})
def models() -> None:
    """Models of a registry: the commands of the official client.

    They take the options of `kaggle models` and print what it prints, without a mount and against
    any registry. `modelfs m` is short for `modelfs models`, `mi` for `models instances`, and `miv`
    for `models instances versions`.
    """


models.add_command(instances)


@models.command()
@folder_option("Where to write it; the current folder by default.")
def init(folder: Path | None) -> None:
    """Write a template of model-metadata.json, to be filled in."""
    folder = folders.existing(folder)
    path = folders.write(folder, MODEL, folders.template(MODEL, settings().license))
    click.echo(f"Model template written to: {path}")


@models.command()
@folder_option("Where model-metadata.json is; the current folder by default.")
@with_client
def create(client: Client, folder: Path | None) -> None:
    """Create a model, as model-metadata.json describes it."""
    ref, fields = folders.read(folders.existing(folder), MODEL, is_new=True)
    say_done(client.create(ref, fields), "model was created")


@models.command()
@click.argument("model", type=Slug(2))
@folder_option("Write model-metadata.json there, instead of printing everything.")
@with_client
def get(client: Client, model: Ref, folder: Path | None) -> None:
    """Show what the registry says of MODEL, or write its metadata file."""
    show(client, owned(client, model), folder, MODEL)


@models.command("list")
@click.option(
    "--sort-by",
    metavar="ORDER",
    shell_complete=lambda ctx, param, incomplete: [o for o in _ORDERS if o.startswith(incomplete)],
    help=f"{', '.join(_ORDERS)}.  [default: {_ORDERS[0]}]",
)
@click.option("-s", "--search", metavar="WORDS", help="Only models with these words.")
@click.option("--owner", metavar="NAME", help="Only models of this user or organization.")
@listing_options
@with_client
def list_models(
    client: Client,
    sort_by: str | None,
    search: str | None,
    owner: str | None,
    paging: dict[str, Any],
    layout: Layout,
) -> None:
    """List models."""
    listing = client.list(
        Ref(), search=search or "", owner=owner or "", sort_by=sort_by or _ORDERS[0], **paging
    )
    print_page(next(listing.pages()), _COLUMNS, layout, "No models found")


@models.command()
@folder_option("Where model-metadata.json is; the current folder by default.")
@with_client
def update(client: Client, folder: Path | None) -> None:
    """Change a model as model-metadata.json says; what it does not mention stays."""
    change(client, folder, MODEL, "model")


@models.command()
@click.argument("model", type=Slug(2))
@yes_option
@with_client
def delete(client: Client, model: Ref, is_sure: bool) -> None:
    """Delete MODEL with all its instances and their versions."""
    if is_sure or confirmed("model", model):
        remove(client, owned(client, model))
        click.echo("The model was deleted.")
