"""`modelfs pull`: plain files, where nothing can be mounted."""

from __future__ import annotations

from pathlib import Path

import click

from modelfs.cli import wording
from modelfs.cli.naming import named
from modelfs.cli.options import ref_names, registry_options, settings
from modelfs.cli.transfers import quiet_option, telling
from modelfs.cli.warm import under
from modelfs.errors import Exists


@click.command()
@click.argument("ref", metavar="REF|PATH", shell_complete=ref_names)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--link",
    "is_linked",
    is_flag=True,
    help="Let the files be the cache's own, to be read only: takes no room.",
)
@click.option("-f", "--force", "is_replacing", is_flag=True, help="Replace files that differ.")
@click.option("--cache-dir", metavar="DIR", help="Where downloaded bytes are kept.")
@quiet_option
@registry_options(is_several=True)
def pull(
    ref: str,
    directory: Path,
    is_linked: bool,
    is_replacing: bool,
    cache_dir: str | None,
    is_quiet: bool,
    registries: tuple[str, ...],
    token_file: str | None,
) -> None:
    """Put the files of a version into DIR, which is made; no mount is needed.

    REF is a version, a directory in it or a file; without a version, the highest there is. Every
    file is compared with its digest and appears whole or not at all. A file that is there and right
    stays; one that differs is refused without --force. A pull that was broken off goes on where it
    was.
    """
    config = settings(registries=registries, token_file=token_file, cache_dir=cache_dir)
    found = named(ref, config)

    from modelfs.api import Client

    with Client(config=found.config(config)) as client:
        version, _, files = under(client, found.path)
        with telling(is_quiet=is_quiet) as tell:
            try:
                client.download(
                    version,
                    directory,
                    files=[file.path for file in files],
                    is_replacing=is_replacing,
                    link=is_linked,
                    progress=tell,
                )
            except Exists as exc:
                raise Exists(str(exc), hint="--force replaces it") from exc
    if not is_quiet:
        size = wording.size(sum(file.size for file in files))
        click.echo(f"{version}: {wording.amount(len(files), 'file')}, {size}")
