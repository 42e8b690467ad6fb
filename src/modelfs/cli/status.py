"""`modelfs status`: the mounts there are, and how their drafts are doing."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from modelfs.cli import wording
from modelfs.cli.finding import Known, draft_at, known_drafts, mount_of
from modelfs.cli.listing import RIGHT, described, row
from modelfs.cli.options import settings
from modelfs.errors import Usage
from modelfs.mount.records import GAUGES, Serving, recorded

# For a mount to say how it is doing; one that is hung never does.
_GAUGES_DEADLINE = 2.0


@click.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--json", "is_json", is_flag=True, help="For programs.")
def status(path: Path | None, is_json: bool) -> None:
    """Show the mounts of this user, and their drafts.

    With PATH, a mountpoint or a place in a mount, only that mount; or only the draft that PATH is
    in. Drafts whose registry is not mounted are shown last. No registry is asked.
    """
    state_dir = settings().state_dir
    mounts, found = recorded(state_dir), list(known_drafts(state_dir))
    if path is not None:
        mounts, found = _chosen(path, mounts, found)
    left = [known for known in found if known.serving is None] if path is None else []
    if is_json:
        shown = {
            "mounts": [_described(serving, _kept(serving, found)) for serving in mounts],
            "drafts": [described(known) for known in left],
        }
        click.echo(json.dumps(shown, indent=2))
        return
    blocks = [_block(_head(serving), _kept(serving, found)) for serving in mounts]
    if left:
        blocks.append(_block("not mounted", left))
    if blocks:
        click.echo("\n\n".join(blocks))
    else:
        click.echo("nothing is mounted, and there are no drafts", err=True)


def _chosen(
    path: Path, mounts: Sequence[Serving], found: Sequence[Known]
) -> tuple[list[Serving], list[Known]]:
    """What concerns `path`."""
    top = mount_of(path)
    chosen = [serving for serving in mounts if serving.mountpoint == top]
    if not chosen:
        raise Usage(f"another user's, or of another state directory: {top}")
    try:
        draft = draft_at(path)
    except Usage:
        return chosen, list(found)
    return chosen, [known for known in found if known.directory == draft]


def _kept(serving: Serving, found: Sequence[Known]) -> list[Known]:
    return [known for known in found if known.serving == serving]


def _described(serving: Serving, found: Sequence[Known]) -> dict[str, Any]:
    """A mount for programs."""
    return {
        "mountpoint": str(serving.mountpoint),
        "pid": serving.pid,
        "is_alive": serving.is_alive,
        "since": round(serving.since, 3),
        "log": str(serving.log) if serving.log else None,
        "registries": [
            {"name": shown.name, "spec": shown.spec, "identity": shown.identity}
            for shown in serving.registries
        ],
        "drafts": [described(known) for known in found],
        "gauges": _gauges(serving),
    }


def _gauges(serving: Serving) -> Mapping[str, int]:
    """What a mount says of itself; nothing if it does not in time."""
    found: dict[str, int] = {}

    def ask() -> None:
        try:
            found.update(json.loads(os.getxattr(serving.mountpoint, GAUGES)))
        except (OSError, ValueError):
            pass

    if serving.is_alive:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(_GAUGES_DEADLINE)
    return dict(found)


def _head(serving: Serving) -> str:
    """A mount in one line."""
    where = wording.plain(serving.mountpoint)
    names = [f"{each.name}={each.spec}" if each.name else each.spec for each in serving.registries]
    if not serving.is_alive:
        return f"{where}  {', '.join(names)}  dead; clear it away: modelfs umount {where}"
    up = wording.duration(time.time() - serving.since)
    head = f"{where}  {', '.join(names)}  up {up}, pid {serving.pid}"
    if gauges := _gauges(serving):
        held, total = wording.size(gauges["buffers"]), wording.size(gauges["buffers_total"])
        head += f", buffers {held} of {total}"
    return f"{head}, log {wording.plain(serving.log)}" if serving.log else head


def _block(head: str, found: Sequence[Known]) -> str:
    if not found:
        return head
    return f"{head}\n{wording.table(map(row, found), right=RIGHT, indent='  ')}"
