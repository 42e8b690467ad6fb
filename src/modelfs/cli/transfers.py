"""Uploads and downloads as commands have them: options, what is left out, how far it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelfs.cli import bars, wording
from modelfs.fs.junk import is_junk
from modelfs.refs import Ref

if TYPE_CHECKING:
    from modelfs.api import Client, Progress, Tell

# The rate is that of the last seconds: long enough to be steady, short enough to be now.
_WINDOW = 5.0

quiet_option = click.option(
    "-q", "--quiet", "is_quiet", is_flag=True, help="Say nothing but the result."
)


def upload_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What of a folder is uploaded, and how much is said about it."""
    function = click.option(
        "--ignore-patterns",
        "ignored",
        metavar="PATTERN",
        multiple=True,
        help="Leave out names or paths like this; one with / at its end means folders. Repeatable.",
    )(function)
    function = click.option(
        "-r",
        "--dir-mode",
        type=click.Choice(["skip", "zip", "tar", "tree"]),
        default="skip",
        show_default=True,
        help="What to do with folders: leave them out, or upload them with all that is in them.",
    )(function)
    return quiet_option(function)


@contextmanager
def telling(*, is_quiet: bool) -> Iterator[Tell | None]:
    """Shows how far a transfer is; None if nobody looks."""
    with bars.bar(is_quiet=is_quiet) as show:
        if show is None:
            yield None
            return
        rate = _Rate()

        def tell(progress: Progress) -> None:
            percent = 100 * progress.bytes_done / max(1, progress.bytes)
            show(progress.phase, percent, _text(progress, percent, rate))

        yield tell


class _Rate:
    """Bytes per second, over the last seconds."""

    def __init__(self) -> None:
        self._phase = ""
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, progress: Progress) -> float:
        now = time.monotonic()
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._seen.clear()
        self._seen.append((now, progress.bytes_done))
        while self._seen[0][0] < now - _WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        began, first = self._seen[0]
        return (progress.bytes_done - first) / (now - began) if now > began else 0.0


def _text(progress: Progress, percent: float, rates: _Rate) -> str:
    """`45 %, 1.2 GB of 2.7 GB, 3 of 7 files, 30 MB/s, 50 s left: weights-4.bin 35 MB`."""
    rate = rates.of(progress)
    parts = [
        f"{percent:.0f} %",
        f"{wording.size(progress.bytes_done)} of {wording.size(progress.bytes)}",
        f"{progress.files_done} of {wording.amount(progress.files, 'file')}",
    ]
    if rate > 0:
        left = (progress.bytes - progress.bytes_done) / rate
        parts += [f"{wording.size(rate)}/s", f"{wording.duration(left)} left"]
    if progress.note:
        parts.append(wording.plain(progress.note))
    each = [
        f"{wording.plain(path.rpartition('/')[2])} {wording.size(count)}"
        for path, count in progress.current.items()
    ]
    return ": ".join(filter(None, (", ".join(parts), ", ".join(each))))


def published(
    client: Client,
    folder: Path,
    ref: Ref,
    *,
    dir_mode: str,
    ignored: tuple[str, ...],
    is_quiet: bool,
    notes: str = "",
) -> Ref:
    """Publish the files of `folder` as a new version of the instance `ref`; the version.

    Folders in it travel as the registry keeps them, whatever the mode: the official client packs
    them for the way only.
    """
    left_out: tuple[str, ...] = ()
    with telling(is_quiet=is_quiet) as tell:

        def watch(progress: Progress) -> None:
            nonlocal left_out
            left_out = progress.ignored
            if tell is not None:
                tell(progress)

        version = client.publish(
            folder,
            ref,
            notes=notes,
            directories="skip" if dir_mode == "skip" else "tree",
            ignore=ignored,
            progress=watch,
        )
    documents = {name for names in client.traits.documents for name in names}
    for name in () if is_quiet else left_out:
        if name in documents:
            continue
        if dir_mode == "skip" and (folder / name).is_dir() and not is_junk(name):
            name = f"folder: {name}; use '--dir-mode' to upload folders"
        click.echo(f"Skipping {wording.plain(name)}", err=True)
    return version
