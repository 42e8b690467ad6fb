"""`modelfs models instances versions`: the official client's commands, on versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelfs.cli import archives, folders
from modelfs.cli.aliased import Aliased
from modelfs.cli.clients import (
    confirmed,
    listing_options,
    print_page,
    with_client,
    yes_option,
)
from modelfs.cli.facts import remove
from modelfs.cli.folders import folder_option
from modelfs.cli.slugs import Slug
from modelfs.cli.tables import Column, Layout, flag_of, number_of, text_of, time_of
from modelfs.cli.transfers import published, quiet_option, telling, upload_options
from modelfs.refs import Ref

if TYPE_CHECKING:
    from modelfs.api import Client

_COLUMNS = (
    Column("versionNumber", "version", number_of("versionNumber")),
    Column("variationSlug", "variation", text_of("variationSlug")),
    Column("modelTitle", "title", text_of("modelTitle")),
    Column("isPrivate", "private", flag_of("isPrivate")),
    Column("ref", "ref", lambda item: str(item.ref), is_extra=True),
    Column("id", "id", number_of("id"), is_extra=True),
    Column("versionNotes", "notes", text_of("versionNotes"), is_extra=True),
    Column("creationTime", "created", time_of("creationTime"), is_extra=True),
    Column("url", "url", text_of("url"), is_extra=True),
)
_FILE_COLUMNS = (
    Column("name", "name", lambda item: item.path),
    Column("size", "size", number_of("size")),
    Column("creation_date", "creationDate", time_of("creationDate")),
)


@click.group(cls=Aliased)
def versions() -> None:
    """Versions of an instance: numbered, each with its files."""


@versions.command()
@click.argument("instance", type=Slug(4))
@folder_option("Where the files are; the current folder by default.")
@click.option("-n", "--version-notes", "notes", metavar="TEXT", help="What is new in it.")
@upload_options
@with_client
def create(
    client: Client, instance: Ref, folder: Path | None, notes: str | None, **options: Any
) -> None:
    """Create a new version of INSTANCE from the files of a folder."""
    folder = folders.existing(folder)
    client.stat(instance)
    version = published(client, folder, instance, notes=notes or "", **options)
    url = client.stat(version).facts.get("url")
    click.echo(f"Your model instance version was created. Url={url}")


@versions.command("list")
@click.argument("instance", type=Slug(4))
@listing_options
@with_client
def list_versions(client: Client, instance: Ref, paging: dict[str, Any], layout: Layout) -> None:
    """List the versions of INSTANCE."""
    listing = client.list(instance, **paging)
    print_page(next(listing.pages()), _COLUMNS, layout, "No versions found")


@versions.command()
@click.argument("version", type=Slug(5))
@listing_options
@with_client
def files(client: Client, version: Ref, paging: dict[str, Any], layout: Layout) -> None:
    """List the files of VERSION."""
    listing = client.list(version, **paging)
    print_page(next(listing.pages()), _FILE_COLUMNS, layout, "No files found")


@versions.command()
@click.argument("version", type=Slug(5))
@click.option(
    "-p",
    "--path",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default=Path.cwd,
    help="Where to put it; the current folder by default.",
)
@click.option("--untar", is_flag=True, help="The files themselves instead of an archive of them.")
@click.option(
    "--file",
    "names",
    metavar="NAME",
    multiple=True,
    help="Only this file, by its path in the version, itself. Repeatable.",
)
@click.option("-f", "--force", "is_forced", is_flag=True, help="Write also what is there already.")
@quiet_option
@with_client
def download(
    client: Client,
    version: Ref,
    folder: Path,
    untar: bool,
    names: tuple[str, ...],
    is_forced: bool,
    is_quiet: bool,
) -> None:
    """Download VERSION as an archive, or as files. Prints the path of what was written.

    The archive is MODEL-FRAMEWORK-INSTANCE-NUMBER.tar.gz. Every file is checked against the
    registry's digest. A download that was broken off goes on where it was.
    """
    with telling(is_quiet=is_quiet) as tell:
        if names:
            written = client.download(
                version, folder, files=names, is_forced=is_forced, progress=tell
            )
        elif untar:
            client.download(version, folder, is_forced=is_forced, progress=tell)
            written = [folder]
        else:
            written = [archives.write(client, version, folder, tell)]
    for path in written:
        click.echo(str(path))


@versions.command()
@click.argument("version", type=Slug(5))
@yes_option
@with_client
def delete(client: Client, version: Ref, is_sure: bool) -> None:
    """Delete VERSION; its number is not given again."""
    if is_sure or confirmed("version", version):
        remove(client, version)
        click.echo("The model instance version was deleted.")
