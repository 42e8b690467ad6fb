"""`modelfs lock`: writes down which versions are meant and what is in them.

Resolves `latest` by asking the registries themselves, not what is remembered of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click

from modelfs.api.places import version_of
from modelfs.cli import wording
from modelfs.cli.options import ref_names, registry_options, settings
from modelfs.config import Config
from modelfs.errors import Usage
from modelfs.model import File
from modelfs.refs import Ref
from modelfs.registry import lockfile, open_registry
from modelfs.registry.base import Registry
from modelfs.registry.lockfile import Lock, Section
from modelfs.registry.pinned import locked_version

# Questions in flight; where digests come with the bytes, there is one for each file.
_ASKERS = 8


@click.command()
@click.argument("refs", metavar="REF…", nargs=-1, required=True, shell_complete=ref_names)
@click.option(
    "-o",
    "--output",
    default="modelfs.lock",
    show_default=True,
    metavar="FILE",
    help="Where to write it, - for standard output; a file that is there is replaced.",
)
@registry_options(is_several=True)
def lock(
    refs: tuple[str, ...], output: str, registries: tuple[str, ...], token_file: str | None
) -> None:
    """Write a lock file: which versions REF… are, and what is in them.

    REF is owner/model/framework/instance and a version; without a version, or with `latest`, the
    highest there is now. With several --registry NAME=SPEC it begins with the name. A mount with
    --pin FILE shows these versions and nothing else.
    """
    config = settings(registries=registries, token_file=token_file)
    with ExitStack() as stack:
        opened = _open(config, stack)
        made = _made(refs, opened)
    if output == "-":
        click.echo(made.text(), nl=False)
        return
    path = Path(output)
    lockfile.write(path, made)
    files = list(_files(made))
    versions = sum(len(section.versions) for section in made.registries.values())
    said = (
        wording.amount(versions, "version"),
        wording.amount(len(files), "file"),
        wording.size(sum(file.size for file in files)),
    )
    click.echo(f"{path}: {', '.join(said)}")
    if bare := sum(1 for file in files if file.size and not file.digests):
        text = f"the registry tells no digest of {wording.amount(bare, 'file')}: sizes are locked"
        click.echo(f"modelfs: {text}", err=True)


def _open(config: Config, stack: ExitStack) -> Mapping[str, Registry]:
    found = {}
    for mount in config.registries:
        registry = found[mount.name] = open_registry(mount.spec, config)
        stack.callback(registry.close)
    return found


def _made(refs: Sequence[str], registries: Mapping[str, Registry]) -> Lock:
    """The lock of what `refs` mean now."""
    made = Lock({registry.traits.identity: Section() for registry in registries.values()})
    with ThreadPoolExecutor(_ASKERS) as executor:

        def each(questions: Sequence[Callable[[], File]]) -> list[File]:
            return list(executor.map(lambda ask: ask(), questions))

        for text in refs:
            registry, ref = _parsed(text, registries)
            version = version_of(registry, ref)
            held = locked_version(registry, version, each)
            latest = {version.parent: version.name} if version != ref else {}
            one = Lock({registry.traits.identity: Section(latest, {version: held})})
            made = _with(made, one)
    return made


def _with(made: Lock, one: Lock) -> Lock:
    """Both; a version that is later than `latest` cannot be, as that is the highest there is."""
    joined = made.joined(one)
    ((identity, section),) = one.registries.items()
    if missing := set(section.versions) - set(joined.section(identity).versions):
        raise Usage(f"published while latest was locked, try again: {missing.pop()}")
    return joined


def _parsed(text: str, registries: Mapping[str, Registry]) -> tuple[Registry, Ref]:
    """The registry that `text` is about, and the ref in it."""
    ref = Ref.parse(text)
    registry = registries.get("")
    if registry is None:
        name, ref = ref.parts[0] if ref.parts else "", Ref(ref.parts[1:])
        registry = registries.get(name)
        if registry is None:
            raise Usage(f"no such registry: {name!r}", hint=f"there are {', '.join(registries)}")
    return registry, registry.canonical(ref)


def _files(made: Lock) -> Iterable[File]:
    for section in made.registries.values():
        for locked in section.versions.values():
            yield from locked.files
