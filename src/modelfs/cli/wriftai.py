"""`modelfs wriftai models` and `modelfs wriftai versions`: what WriftAI has, without a mount."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from modelfs.cli.aliased import Aliased
from modelfs.cli.clients import confirmed, listing_options, print_page, yes_option
from modelfs.cli.options import settings
from modelfs.cli.tables import Column, Layout, number_of, text_of, time_of
from modelfs.errors import Unauthenticated, Usage
from modelfs.model import NOTES, Bundle, Document, Query
from modelfs.refs import Ref

if TYPE_CHECKING:
    from modelfs.registry.base import Registry, WritableRegistry

Command = Callable[..., Any]

_MODEL_COLUMNS = (
    Column("name", "name", lambda item: str(item.ref)),
    Column("visibility", "visibility", text_of("visibility")),
    Column("created_at", "created", time_of("created_at")),
    Column("updated_at", "updated", time_of("updated_at")),
    Column("description", "description", text_of("description")),
    Column("id", "id", text_of("id"), is_extra=True),
    Column("predictions_count", "predictions", number_of("predictions_count"), is_extra=True),
)
_VERSION_COLUMNS = (
    Column("number", "number", number_of("number")),
    Column("created_at", "created", time_of("created_at")),
    Column("release_notes", "notes", text_of("release_notes")),
)


class Identifier(click.ParamType[Ref]):
    """`owner/name` or, of a version, `owner/name:number`."""

    def __init__(self, *, is_version: bool) -> None:
        self.name = "owner/name:number" if is_version else "owner/name"
        self._is_version = is_version

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ref:
        from modelfs.wriftai import identifiers

        if isinstance(value, Ref):
            return value
        return (identifiers.version if self._is_version else identifiers.model)(value)


MODEL, VERSION = Identifier(is_version=False), Identifier(is_version=True)


def _identifier(ref: Ref) -> str:
    return f"{ref.parent}:{ref.name}" if ref.depth > 2 else str(ref)


def with_registry(function: Command) -> Command:
    """`--registry` and `--token-file`; the command gets the registry first."""

    @click.option(
        "--registry",
        "spec",
        metavar="SPEC",
        help="wriftai, wriftai+http://HOST:PORT or wriftai+https://HOST; the default is"
        " $MODELFS_REGISTRY if that is one of them, else wriftai.",
    )
    @click.option(
        "--token-file",
        metavar="FILE",
        help="Holds the token for a server that is not WriftAI's own.",
    )
    @functools.wraps(function)
    def opened(*arguments: Any, spec: str | None, token_file: str | None, **options: Any) -> Any:
        from modelfs.registry import open_registry

        config = settings(token_file=token_file)
        spec = spec or (config.registry if config.registry.startswith("wriftai") else "wriftai")
        if not spec.startswith("wriftai"):
            raise Usage(f"not a registry of this kind: {spec!r}")
        with closing(open_registry(spec, config)) as registry:
            return function(registry, *arguments, **options)

    return opened


def _writable(registry: Registry) -> WritableRegistry:
    if not registry.traits.is_writable:
        raise Unauthenticated("nobody is signed in", hint="WRIFTAI_ACCESS_TOKEN holds the token")
    return cast("WritableRegistry", registry)


@click.group(cls=Aliased)
def wriftai() -> None:
    """Models of WriftAI, whose versions are container images."""


@wriftai.group(cls=Aliased)
def models() -> None:
    """Models: OWNER/NAME."""


@wriftai.group(cls=Aliased)
def versions() -> None:
    """Versions of a model: OWNER/NAME:NUMBER."""


# Models


def _model_options(function: Command) -> Command:
    """What can be said of a model; the command gets `fields`, only those that were given."""

    @click.option(
        "--visibility", type=click.Choice(["private", "public", "restricted"]), help="Who sees it."
    )
    @click.option("--description", metavar="TEXT", help="What it is, in a sentence.")
    @click.option("--overview", metavar="TEXT", help="What it is, at length.")
    @click.option("--source-url", metavar="URL", help="Where its code is.")
    @click.option("--license-url", metavar="URL", help="Under which terms it may be used.")
    @click.option("--paper-url", metavar="URL", help="Where it is described.")
    @click.option("--category", "category_slugs", metavar="SLUG", multiple=True, help="Repeatable.")
    @functools.wraps(function)
    def told(*arguments: Any, **options: Any) -> Any:
        names = ("visibility", "description", "overview", "source_url", "license_url", "paper_url")
        fields = {name: options.pop(name) for name in names}
        fields["category_slugs"] = list(options.pop("category_slugs")) or None
        given = {name: value for name, value in fields.items() if value is not None}
        return function(*arguments, fields=given, **options)

    return told


@models.command("list")
@click.argument("owner", required=False)
@click.option("-s", "--search", default="", metavar="WORDS", help="Only models that match.")
@click.option("--sort-by", type=click.Choice(["created_at", "predictions_count"]), default=None)
@click.option("--sort-direction", type=click.Choice(["asc", "desc"]), default=None)
@listing_options
@with_registry
def list_models(
    registry: Registry,
    owner: str | None,
    search: str,
    sort_by: str | None,
    sort_direction: str | None,
    paging: dict[str, Any],
    layout: Layout,
) -> None:
    """List the models of OWNER or, without one, of everybody."""
    if sort_direction and not sort_by:
        raise Usage("--sort-direction needs --sort-by")
    order = ":".join(filter(None, (sort_by, sort_direction)))
    page = registry.page(Ref(), Query(search, owner or "", order), **_page_of(paging))
    print_page(page, _MODEL_COLUMNS, layout, "No models found")


@models.command("get")
@click.argument("model", type=MODEL)
@with_registry
def get_model(registry: Registry, model: Ref) -> None:
    """Print all that the registry says of MODEL, as JSON."""
    click.echo(json.dumps(registry.item(model).facts, indent=2))


@models.command("create")
@click.argument("model", type=MODEL)
@_model_options
@with_registry
def create_model(registry: Registry, model: Ref, fields: dict[str, object]) -> None:
    """Create MODEL, private unless said otherwise. It needs no version."""
    target = _writable(registry)
    (blank,) = target.blank(model)
    content = json.dumps(json.loads(blank.content) | fields).encode()
    target.add(model, (Document(blank.name, content),))
    click.echo(f"The model was created: {model}")


@models.command("update")
@click.argument("model", type=MODEL)
@_model_options
@with_registry
def update_model(registry: Registry, model: Ref, fields: dict[str, object]) -> None:
    """Change what is said of MODEL; an empty TEXT takes one away."""
    if not fields:
        raise Usage("nothing is to be changed")
    target = _writable(registry)
    (name,) = target.traits.documents_of(model)
    target.update(model, Document(name, json.dumps(fields).encode()))
    click.echo(f"The model was updated: {model}")


@models.command("delete")
@click.argument("model", type=MODEL)
@yes_option
@with_registry
def delete_model(registry: Registry, model: Ref, is_sure: bool) -> None:
    """Delete MODEL with all its versions."""
    _delete(registry, model, "model", is_sure=is_sure)


# Versions


@versions.command("list")
@click.argument("model", type=MODEL)
@listing_options
@with_registry
def list_versions(registry: Registry, model: Ref, paging: dict[str, Any], layout: Layout) -> None:
    """List the versions of MODEL, newest first."""
    page = registry.page(model, **_page_of(paging))
    print_page(page, _VERSION_COLUMNS, layout, "No versions found")


@versions.command("get")
@click.argument("version", type=VERSION)
@with_registry
def get_version(registry: Registry, version: Ref) -> None:
    """Print all that the registry says of VERSION, as JSON."""
    click.echo(json.dumps(registry.item(version).facts, indent=2))


@versions.command("create")
@click.argument("model", type=MODEL)
@click.option("-n", "--release-notes", metavar="TEXT", help="What is new, in 255 characters.")
@click.option("-s", "--schemas", metavar="FILE", help="JSON Schemas of what it takes and gives.")
@click.option("-d", "--digest", metavar="DIGEST", help="sha256:… of the container image.")
@click.option(
    "--settings", "version", metavar="FILE", help="JSON with compatibilities and configuration."
)
@click.option(
    "-p",
    "--path",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Has NOTES, schemas.json, container_image_digest and version.json, for what is not given.",
)
@with_registry
def create_version(
    registry: Registry,
    model: Ref,
    release_notes: str | None,
    schemas: str | None,
    digest: str | None,
    version: str | None,
    folder: Path | None,
) -> None:
    """Create a new version of MODEL, from what is given or lies in a folder."""
    target = _writable(registry)
    given: dict[str, bytes | None] = {
        NOTES: None if release_notes is None else release_notes.encode(errors="replace"),
        "schemas.json": _read(schemas),
        "container_image_digest": None if digest is None else digest.encode(errors="replace"),
        "version.json": _read(version),
    }
    if folder is not None:
        for name in given:
            if given[name] is None and (folder / name).is_file():
                given[name] = (folder / name).read_bytes()
    documents = tuple(Document(name, text) for name, text in given.items() if text is not None)
    bundle = Bundle(model.child("new"), (), documents)
    target.check(bundle)
    click.echo(f"The version was created: {_identifier(target.create(bundle))}")


@versions.command("delete")
@click.argument("version", type=VERSION)
@yes_option
@with_registry
def delete_version(registry: Registry, version: Ref, is_sure: bool) -> None:
    """Delete VERSION."""
    _delete(registry, version, "version", is_sure=is_sure)


def _page_of(paging: dict[str, Any]) -> dict[str, Any]:
    return {"size": paging["page_size"], "token": paging["page_token"]}


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def _delete(registry: Registry, ref: Ref, noun: str, *, is_sure: bool) -> None:
    target = _writable(registry)
    if is_sure or confirmed(noun, _identifier(ref)):
        target.stat(ref)
        target.delete(ref)
        click.echo(f"The {noun} was deleted: {_identifier(ref)}")
