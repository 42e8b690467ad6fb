"""Finding drafts for the commands: by a path in a mount, by name, or all there are.

A mount is asked through itself, with a deadline; what has no mount is read from the state
directory. No registry is asked.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from modelfs.errors import Error, Usage
from modelfs.fs.areas import Area, areas
from modelfs.fs.asking import STATUS_PATH
from modelfs.mount import mountpoint
from modelfs.mount.records import Serving, recorded
from modelfs.refs import Ref

T = TypeVar("T")

# For a mount to tell what it knows by heart; one that takes longer is stuck.
_ANSWER = 5.0

Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """A draft that is in the state directory."""

    ref: Ref
    area: Area
    # The mount that keeps it, and where it is there.
    serving: Serving | None
    directory: Path | None
    status: Status

    @property
    def files(self) -> Path:
        """Where its files are on the disk."""
        return self.area.staging.path(self.ref)


def read_status(directory: Path) -> Status | None:
    """What is told of the draft or version `directory`; None if it is neither."""
    try:
        value = json.loads((directory / STATUS_PATH).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        if exc.errno == errno.ENOTCONN:
            raise Error(
                f"the mount has ended: {directory}",
                hint="mount it again: what was being published goes on then",
            ) from exc
        raise
    if not isinstance(value, dict):
        raise Error(f"not a status: {directory / STATUS_PATH}")
    return value


def draft_at(path: Path) -> Path:
    """The directory of the draft that `path` is, or is in. Usage, saying why, if there is none."""
    top = mount_of(path)
    place = path.resolve()
    for directory in (place, *place.parents):
        if directory == top.parent:
            break
        status = read_status(directory)
        if status is not None and status.get("state") == "published":
            raise Usage(f"published already: {status.get('ref')}")
        if status is not None:
            return directory
    raise Usage(f"not a draft: {path}", hint="a draft is made with mkdir, beside the versions")


def mount_of(path: Path) -> Path:
    """The mountpoint that `path` is in. Usage if there is none or nothing there."""
    top = mountpoint.covering(Path(os.path.abspath(path)))
    try:
        top = mountpoint.covering(path.resolve(strict=True))
    except FileNotFoundError:
        raise Usage(f"no such file or directory: {path}") from None
    except OSError as exc:
        if exc.errno != errno.ENOTCONN:
            raise
    if top is None:
        raise Usage(f"not in a mount of modelfs: {path}")
    if mountpoint.is_stale(top):
        raise Error(f"the mount has ended: {top}", hint=f"clear it away: modelfs umount {top}")
    return top


def known_drafts(state_dir: Path) -> Iterator[Known]:
    """All drafts there are, sorted by registry and name."""
    alive = [serving for serving in recorded(state_dir) if serving.is_alive]
    for area in areas(state_dir):
        keeper = _keeper(area, alive)
        for ref in area.drafts():
            if keeper is None:
                yield Known(ref, area, None, None, area.status(ref))
                continue
            serving, top = keeper
            directory = top.joinpath(*ref.parts)
            yield Known(ref, area, serving, directory, _asked(area, ref, directory))


def named_draft(name: str, state_dir: Path, registry: str | None) -> Known:
    """The draft of that name; Usage if there is none, or one for each of several registries."""
    ref = Ref.parse(name)
    found = [
        known
        for known in known_drafts(state_dir)
        if known.ref == ref and registry in (None, known.area.identity)
    ]
    if not found:
        raise Usage(f"no such draft: {name}", hint="modelfs drafts list")
    if len(found) > 1:
        registries = ", ".join(known.area.identity for known in found)
        raise Usage(f"several registries have a draft of that name: {registries}")
    return found[0]


def _keeper(area: Area, alive: list[Serving]) -> tuple[Serving, Path] | None:
    """The mount that keeps the drafts of `area`, and the directory of their registry there."""
    for serving in alive:
        for shown in serving.registries:
            if shown.has_drafts and shown.identity == area.identity:
                return serving, serving.mountpoint / shown.name
    return None


def _asked(area: Area, ref: Ref, directory: Path) -> Status:
    try:
        status = within(_ANSWER, lambda: read_status(directory))
    except (Error, OSError) as exc:
        return area.status(ref) | {"note": str(exc)}
    return status or area.status(ref)


def within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` gives; an Error if it takes longer. Nothing else can end a system call."""
    answers: list[T] = []
    failures: list[Exception] = []

    def work() -> None:
        try:
            answers.append(ask())
        except Exception as exc:
            failures.append(exc)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not answers:
        raise Error("the mount does not answer")
    return answers[0]
