"""What the commands on models, instances and versions have in common once there is a client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelfs.cli import folders
from modelfs.errors import Unauthenticated
from modelfs.model import Item
from modelfs.refs import Ref

if TYPE_CHECKING:
    from modelfs.api import Client


def owned(client: Client, model: Ref) -> Ref:
    """`model` with its owner, ourselves if it was named alone."""
    if model.depth > 1:
        return model
    name = client.account().name
    if not name:
        raise Unauthenticated(f"nobody is signed in whose model it could be: {model}")
    return Ref((name, *model.parts))


def show(client: Client, ref: Ref, folder: Path | None, name: str) -> None:
    """Print all that the registry says of `ref`, or write its metadata file into `folder`."""
    facts = client.stat(ref).facts
    if folder is None:
        click.echo(json.dumps(facts, indent=2))
        return
    numbers = {key: facts[key] for key in ("id", "versionId", "versionNumber") if facts.get(key)}
    path = folders.write(folders.existing(folder), name, numbers | client.metadata(ref))
    click.echo(f"Metadata file written to {path}")


def say_done(item: Item, what: str) -> None:
    """Say what was done, as "model was created", in the official client's words."""
    click.echo(f"Your {what}. Id={item.facts.get('id')}. Url={item.facts.get('url')}")


def change(client: Client, folder: Path | None, name: str, noun: str) -> None:
    """Change what the metadata file `name` in `folder` is about, as it says."""
    ref, fields = folders.read(folders.existing(folder), name)
    client.update(ref, fields)
    say_done(client.stat(ref), f"{noun} was updated")


def remove(client: Client, ref: Ref) -> None:
    """Delete `ref`; NotFound if it is not there, which a registry need not say by itself."""
    client.stat(ref)
    client.delete(ref)
