"""`modelfs drafts`: what is not published yet, mounted or not; try again, or throw away."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelfs.cli import wording
from modelfs.cli.finding import Known, draft_at, known_drafts, named_draft, read_status
from modelfs.cli.listing import RIGHT, described, measure, row
from modelfs.cli.options import settings
from modelfs.cli.publish import publish_draft, waiting_options
from modelfs.errors import Usage, WrongState
from modelfs.fs import asking
from modelfs.mount import mountpoint


@click.group()
def drafts() -> None:
    """Drafts: versions that are not published yet."""


@drafts.command("list")
@click.option("--json", "is_json", is_flag=True, help="For programs.")
def list_drafts(is_json: bool) -> None:
    """List all drafts, mounted or not."""
    found = list(known_drafts(settings().state_dir))
    if is_json:
        click.echo(json.dumps([described(known) for known in found], indent=2))
    elif found:
        heads = ("DRAFT", "STATE", "FILES", "SIZE", "REGISTRY", "")
        rows = [(*row(known)[:-1], known.area.identity, row(known)[-1]) for known in found]
        click.echo(wording.table([heads, *rows], right=RIGHT))
    else:
        click.echo("there are no drafts", err=True)


def _draft_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--registry", metavar="SPEC", help="Of which registry, if several have such a draft."
    )(function)
    return click.argument("draft", metavar="REF|PATH")(function)


@drafts.command()
@_draft_argument
@waiting_options
def retry(draft: str, registry: str | None, is_waiting: bool, is_quiet: bool) -> None:
    """Publish a draft that failed once more.

    What was uploaded already is not sent again. The draft is named by its place in the registry,
    alice/bert/pytorch/base/3, or by its path in a mount.
    """
    found = _located(draft, registry)
    directory = found.directory if isinstance(found, Known) else found
    if directory is None:
        raise Usage(
            f"publishing needs a mount of its registry, and there is none: {draft}",
            hint="see modelfs mount",
        )
    state = (read_status(directory) or {}).get("state")
    if state in ("open", "armed"):
        raise Usage(f"it has not failed: {draft}", hint=f"modelfs publish {directory}")
    publish_draft(directory, is_waiting=is_waiting, is_quiet=is_quiet)


@drafts.command()
@_draft_argument
@click.option("-y", "--yes", "is_sure", is_flag=True, help="Do not ask.")
def discard(draft: str, registry: str | None, is_sure: bool) -> int:
    """Throw a draft away with all its files.

    An upload that is under way ends. The draft is named by its place in the registry,
    alice/bert/pytorch/base/3, or by its path in a mount.
    """
    found = _located(draft, registry)
    if not is_sure and not _is_agreed(draft, found.files if isinstance(found, Known) else found):
        click.echo("nothing was discarded", err=True)
        return 1
    if isinstance(found, Path):
        _discard_in_mount(found)
    elif found.directory is not None:
        _discard_in_mount(found.directory)
    else:
        found.area.discard(found.ref)
    return 0


def _located(draft: str, registry: str | None) -> Known | Path:
    """The draft of that name, or the directory of one in a mount."""
    path = Path(draft)
    is_path = path.is_absolute() or draft.startswith(".")
    if is_path or mountpoint.covering(Path(os.path.realpath(path))):
        return draft_at(path)
    return named_draft(draft, settings().state_dir, registry)


def _is_agreed(draft: str, files: Path) -> bool:
    if not sys.stdin.isatty():
        raise Usage(f"nobody can be asked whether to discard {draft}", hint="to be sure, say --yes")
    size = measure(files)
    what = f"{wording.amount(size.files, 'file')}, {wording.size(size.bytes)}"
    return click.confirm(f"Discard {wording.plain(draft)} ({what})?", err=True)


def _discard_in_mount(directory: Path) -> None:
    """Have the mount stop publishing it, then remove it there as anybody would."""
    try:
        os.setxattr(directory, asking.CANCEL, b"1")
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            raise WrongState(f"it is becoming a version just now: {directory}") from exc
        raise
    shutil.rmtree(directory)
