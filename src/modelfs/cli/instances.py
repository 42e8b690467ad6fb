"""`modelfs models instances`: the official client's commands, on instances of models."""

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
from modelfs.cli.options import settings
from modelfs.cli.slugs import Slug
from modelfs.cli.tables import Column, Layout, number_of, size_of, text_of, time_of
from modelfs.cli.transfers import published, upload_options
from modelfs.cli.versions import versions
from modelfs.errors import Exists, NotFound
from modelfs.refs import Ref
from modelfs.registry.metadata import INSTANCE

if TYPE_CHECKING:
    from modelfs.api import Client

_COLUMNS = (
    Column("versionNumber", "version", number_of("versionNumber")),
    Column("versionNotes", "notes", text_of("versionNotes")),
    Column("creationStatus", "created", time_of("creationStatus", "creationStart")),
    Column("totalUncompressedBytes", "size", number_of("totalUncompressedBytes")),
    # Without these nobody knows which instance a line is about.
    Column("ref", "ref", lambda item: str(item.ref), is_extra=True),
    Column("framework", "framework", lambda item: item.ref.parts[2], is_extra=True),
    Column("slug", "slug", lambda item: item.ref.name, is_extra=True),
    Column("id", "id", number_of("id"), is_extra=True),
    Column("licenseName", "license", text_of("licenseName"), is_extra=True),
    Column("url", "url", text_of("url"), is_extra=True),
)
_FILE_COLUMNS = (
    Column("name", "name", lambda item: item.path),
    Column("total_bytes", "total_bytes", size_of("size")),
    Column("creationDate", "creationDate", time_of("creationDate")),
    Column("size", "size", number_of("size"), is_extra=True),
)


@click.group(cls=Aliased, aliases={"v": "versions"})
def instances() -> None:
    """Instances of models, also called variations: one framework and one name each."""


instances.add_command(versions)


@instances.command()
@folder_option("Where to write it; the current folder by default.")
def init(folder: Path | None) -> None:
    """Write a template of model-instance-metadata.json, to be filled in."""
    folder = folders.existing(folder)
    path = folders.write(folder, INSTANCE, folders.template(INSTANCE, settings().license))
    click.echo(f"Model Instance template written to: {path}")


@instances.command()
@folder_option("Where model-instance-metadata.json and the files are; the current one by default.")
@upload_options
@with_client
def create(client: Client, folder: Path | None, **options: Any) -> None:
    """Create an instance with the files of a folder as its first version.

    model-instance-metadata.json in the folder describes it; the model has to exist.
    """
    folder = folders.existing(folder)
    ref, _ = folders.read(folder, INSTANCE, is_new=True)
    client.stat(ref.parent.parent)
    _check_new(client, ref)
    published(client, folder, ref, **options)
    say_done(client.stat(ref), "model instance was created")


@instances.command()
@click.argument("instance", type=Slug(4))
@folder_option("Write model-instance-metadata.json there, instead of printing everything.")
@with_client
def get(client: Client, instance: Ref, folder: Path | None) -> None:
    """Show what the registry says of INSTANCE, or write its metadata file."""
    show(client, instance, folder, INSTANCE)


@instances.command("list")
@click.argument("model", type=Slug(2))
@listing_options
@with_client
def list_instances(client: Client, model: Ref, paging: dict[str, Any], layout: Layout) -> None:
    """List the instances of MODEL, each with its current version."""
    listing = client.list(owned(client, model), **paging)
    print_page(next(listing.pages()), _COLUMNS, layout, "No instances found")


@instances.command()
@click.argument("instance", type=Slug(4))
@listing_options
@with_client
def files(client: Client, instance: Ref, paging: dict[str, Any], layout: Layout) -> None:
    """List the files of the current version of INSTANCE."""
    number = client.stat(instance).facts.get("versionNumber")
    if not number:
        raise NotFound(f"it has no version: {instance}")
    listing = client.list(instance.child(str(number)), **paging)
    print_page(next(listing.pages()), _FILE_COLUMNS, layout, "No files found")


@instances.command()
@folder_option("Where model-instance-metadata.json is; the current folder by default.")
@with_client
def update(client: Client, folder: Path | None) -> None:
    """Change an instance as model-instance-metadata.json says; what it does not mention stays."""
    change(client, folder, INSTANCE, "model instance")


@instances.command()
@click.argument("instance", type=Slug(4))
@yes_option
@with_client
def delete(client: Client, instance: Ref, is_sure: bool) -> None:
    """Delete INSTANCE with all its versions."""
    if is_sure or confirmed("variation", instance):
        remove(client, instance)
        click.echo("The model instance was deleted.")


def _check_new(client: Client, ref: Ref) -> None:
    try:
        client.stat(ref)
    except NotFound:
        return
    raise Exists(f"instance exists: {ref}", hint=f"modelfs models instances versions create {ref}")
