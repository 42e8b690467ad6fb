"""`modelfs publish`: asks the daemon, shows how it goes, tells how it ends.

The daemon does the work: this command may end at any time, and another may look in later.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelfs.cli import bars, wording
from modelfs.cli.finding import Status, draft_at, read_status
from modelfs.cli.listing import percent, progress_text
from modelfs.errors import Error, WrongState
from modelfs.fs import asking

# How often to look: soon at first, for what is refused or small, then as people look at a bar.
_FIRST_LOOK = 0.02
_LAST_LOOK = 0.25
# A draft that became a version is neither for a moment, and the kernel remembers names for a
# second; on a busy machine both take longer.
_BETWEEN = 10.0


def waiting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--wait/--no-wait` and `--quiet`."""
    function = click.option(
        "-q", "--quiet", "is_quiet", is_flag=True, help="Say nothing but the result."
    )(function)
    return click.option(
        "--wait/--no-wait",
        "is_waiting",
        default=True,
        help="Stay until it is published or has failed (the default).",
    )(function)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-n", "--notes", metavar="TEXT", help="Version notes; without, those in NOTES.")
@waiting_options
def publish(path: Path, notes: str | None, is_waiting: bool, is_quiet: bool) -> None:
    """Publish the draft PATH, a directory in a mount or anything in it.

    Does what writing NOTES does, and says how it ends: prints the path of the new version. It goes
    on in the background when this command is interrupted, and after the next mount when the mount
    ends.

    \b
    Exit status: 0 published (or begun, with --no-wait), 1 it failed, 2 nothing to publish there.
    """
    draft = draft_at(path)
    if notes is not None:
        _write_notes(draft, notes)
    publish_draft(draft, is_waiting=is_waiting, is_quiet=is_quiet)


def publish_draft(draft: Path, *, is_waiting: bool, is_quiet: bool) -> None:
    """Publish the draft at `draft`, or join in if it is on its way; prints the version's path."""
    os.setxattr(draft, asking.PUBLISH, b"1")
    if not is_waiting:
        if not is_quiet:
            click.echo(f"publishing; see how it goes: modelfs status {_shown(draft)}", err=True)
        return
    ignored: list[str] = []
    try:
        with bars.bar(is_quiet=is_quiet) as show:
            version = _follow(draft, show, ignored)
    except KeyboardInterrupt:
        if not is_quiet:
            click.echo(f"it goes on; see how: modelfs status {_shown(draft)}", err=True)
        raise
    if ignored and not is_quiet:
        click.echo(f"left out: {wording.plain(', '.join(ignored))}", err=True)
    click.echo(os.fsencode(version))


def _write_notes(draft: Path, notes: str) -> None:
    text = os.fsencode(notes)
    try:
        os.setxattr(draft, asking.NOTE, text)
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            raise WrongState(f"it is being published, its notes are fixed: {draft}") from exc
        if exc.errno in (errno.E2BIG, errno.ENOSPC, errno.ERANGE):
            raise Error(f"too long for notes: {wording.size(len(text))}") from exc
        raise


def _follow(draft: Path, show: bars.Show | None, ignored: list[str]) -> Path:
    """Wait until the draft is a version; its path. Raises Error if it is not going to be one."""
    pause, seen = _FIRST_LOOK, time.monotonic()
    while True:
        status = read_status(draft) or {}
        name = str(status.get("ref", "")).rpartition("/")[2]
        if name not in ("", draft.name):  # it leads to the version that it is now
            return draft.parent / name
        state = status.get("state")
        ignored[:] = status.get("ignored") or ignored
        if state == "failed":
            raise Error(wording.plain(status.get("reason") or "it was not published"))
        if state == "open":
            raise Error(f"publishing was cancelled: {draft}")
        # Of a draft, published is said with the version that it is becoming.
        if state == "published" and "version" not in status:
            # A number that was taken meanwhile is that of somebody else's version.
            version = str(status.get("draft_became") or status["ref"])
            return draft.parent / version.rpartition("/")[2]
        if state in ("armed", "sealed", "uploading"):
            seen = time.monotonic()
        elif time.monotonic() > seen + _BETWEEN:
            raise Error(f"the draft is gone: {draft}")
        _told(status, show)
        time.sleep(pause)
        pause = min(_LAST_LOOK, pause * 1.5)


def _told(status: Status, show: bars.Show | None) -> None:
    if show is not None and (phase := status.get("phase")):
        show(phase, percent(status), progress_text(status))


def _shown(path: Path) -> str:
    return click.format_filename(path)
