"""`modelfs warm`: has bytes in the cache before somebody needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelfs.cli import wording
from modelfs.cli.cached import unstarted
from modelfs.cli.naming import Named, named
from modelfs.cli.options import ref_names, registry_options, settings
from modelfs.cli.transfers import quiet_option, telling
from modelfs.config import Config, Mount
from modelfs.errors import Corrupt, NoSpace, NotFound, Usage
from modelfs.fs.nodes import identity
from modelfs.model import Digests, File
from modelfs.refs import Ref
from modelfs.registry import lockfile
from modelfs.registry.lockfile import Locked
from modelfs.registry.pinned import agreed

if TYPE_CHECKING:
    from modelfs.api import Client
    from modelfs.cache import BlockCache


@click.command()
@click.argument("paths", metavar="[REF|PATH…]", nargs=-1, shell_complete=ref_names)
@click.option("--lock", "lock_file", metavar="FILE", help="All that this lock file locks.")
@click.option("--pin", "is_pinned", is_flag=True, help="And keep it there: see modelfs cache pin.")
@click.option("--cache-dir", metavar="DIR", help="Where downloaded bytes are kept.")
@click.option("--cache-size", metavar="SIZE", help="How many of them.  [default: 50GB]")
@quiet_option
@registry_options(is_several=True)
def warm(
    paths: tuple[str, ...],
    lock_file: str | None,
    is_pinned: bool,
    cache_dir: str | None,
    cache_size: str | None,
    is_quiet: bool,
    registries: tuple[str, ...],
    token_file: str | None,
) -> None:
    """Download REF or PATH into the cache, where mounts find it.

    REF is a version, a directory in it or a file, PATH the same in a mount; `latest` is the
    highest version there is. What is there already is not downloaded again, and a warming that was
    broken off goes on where it was.
    """
    if not paths and lock_file is None:
        raise Usage("say what to download: REF, PATH or --lock FILE")
    config = settings(
        registries=registries, token_file=token_file, cache_dir=cache_dir, cache_size=cache_size
    )
    wanted: dict[Mount, list[str]] = {}
    for text in paths:
        found = named(text, config)
        wanted.setdefault(found.mount, []).append(found.path)
    for mount in config.registries if lock_file else ():
        wanted.setdefault(mount, [])
    locked = lockfile.read(_existing(lock_file)) if lock_file else lockfile.Lock()

    from modelfs.api import Client

    for mount, texts in wanted.items():
        with Client(config=Named(mount, "").config(config)) as client:
            versions = locked.section(client.traits.identity).versions
            if lock_file and not texts and client.traits.identity not in locked.registries:
                raise Usage(f"the lock file is not of {client.traits.identity}: {lock_file}")
            _warm(client, config, texts, versions, is_pinned=is_pinned, is_quiet=is_quiet)


def _existing(lock_file: str) -> Path:
    path = Path(lock_file)
    if not path.exists():
        raise Usage(f"no such lock file: {path}", hint="modelfs lock makes one")
    return path


def _warm(
    client: Client,
    config: Config,
    texts: Iterable[str],
    locked: Mapping[Ref, Locked],
    *,
    is_pinned: bool,
    is_quiet: bool,
) -> None:
    """Have in the cache what one registry has of `texts` and of what is locked."""
    names: list[str] = []
    chosen: dict[tuple[Ref, str], File] = {}
    for text in texts:
        version, below, files = under(client, text)
        names.append(f"{version}/{below}" if below else str(version))
        chosen.update({(version, file.path): file for file in files})
    for version, held in locked.items():
        manifest = agreed(version, held, client.manifest(version))
        names.append(str(version))
        chosen.update({(version, file.path): file for file in manifest.files})
    blocks = unstarted(config)
    size = sum(file.size for file in chosen.values())
    if size > config.cache_size:
        room = wording.size(config.cache_size)
        raise NoSpace(
            f"more than the cache may hold: {wording.size(size)}, and it has room for {room}",
            hint="--cache-size, or MODELFS_CACHE_SIZE, gives it more",
        )
    with telling(is_quiet=is_quiet) as tell:
        client.warm(names, progress=tell)
    registry = client.traits.identity
    for ref, held in locked.items():
        _expect(blocks, registry, ref, held)
    for (ref, path), file in chosen.items() if is_pinned else ():
        if file.size:
            blocks.pin(identity(registry, ref, path), file.size, file.digests)
    if not is_quiet:
        click.echo(f"here: {wording.amount(len(chosen), 'file')}, {wording.size(size)}")


def under(client: Client, text: str) -> tuple[Ref, str, list[File]]:
    """The version that `text` is in, the path in it, and the files that this means."""
    parts = Ref.parse(text).parts
    depth = client.traits.depth
    below = "/".join(parts[depth:])
    version = client.resolve(Ref(parts[:depth]))
    if version.depth == depth - 1:
        version = client.resolve(version.child("latest"))
    files = client.manifest(version).files
    found = [
        file
        for file in files
        if not below or file.path == below or file.path.startswith(f"{below}/")
    ]
    if below and not found:
        raise NotFound(f"no such file: {text}")
    return version, below, found


def _expect(blocks: BlockCache, registry: str, ref: Ref, locked: Locked) -> None:
    """Where digests came with the bytes: they are the locked ones."""
    for file in locked.files:
        if not file.size or not (file.digests.md5 or file.digests.sha256):
            continue
        name = identity(registry, ref, file.path)
        found = blocks.key_of(name, file.size, Digests())
        if found.partition("-")[0] in ("md5", "sha256"):
            expected = blocks.key_of(name, file.size, file.digests)
            if found.partition("-")[0] == expected.partition("-")[0] and found != expected:
                raise Corrupt(f"{ref} is not what is locked: {file.path}: other bytes came")
