"""How drafts are shown: as rows of a table, as JSON, and how far one is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfs.cli import wording
from modelfs.cli.finding import Known, Status
from modelfs.fs.junk import is_junk
from modelfs.model import NOTES

# Of the cells of a row, those that are aligned on the right.
RIGHT = (2, 3)


@dataclass(frozen=True, slots=True)
class Size:
    """What is in a draft to be published: files, their bytes, and when one was last written to."""

    files: int
    bytes: int
    changed: float


def measure(directory: Path) -> Size:
    """The size of a draft as it is now, without notes, junk, and what vanishes meanwhile."""
    files = count = 0
    changed = 0.0
    pending = [str(directory)]
    while pending:
        try:
            below = pending.pop()
            changed = max(changed, os.stat(below).st_mtime)
            with os.scandir(below) as entries:
                for entry in entries:
                    if is_junk(entry.name) or (entry.name == NOTES and below == str(directory)):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    changed = max(changed, status.st_mtime)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        files += 1
                        count += status.st_size
        except FileNotFoundError:
            continue
    return Size(files, count, changed)


def described(known: Known) -> dict[str, Any]:
    """A draft for programs: what status.json says, and what is on the disk."""
    found = measure(known.files)
    path = None if known.directory is None else str(known.directory)
    return known.status | {
        "registry": known.area.identity,
        "path": path,
        "files": found.files,
        "bytes": found.bytes,
        "changed": round(found.changed, 3),
    }


def row(known: Known) -> Sequence[str]:
    """A draft for people: name, state, files, bytes, and what else there is to say."""
    found = measure(known.files)
    files, size = wording.amount(found.files, "file"), wording.size(found.bytes)
    return str(known.ref), str(known.status["state"]), files, size, _more(known)


def _more(known: Known) -> str:
    status = known.status
    if reason := status.get("reason"):
        return str(reason)
    if known.directory is None and status["state"] != "open":
        return "goes on with the next mount"
    if status["state"] in ("sealed", "uploading") and "phase" in status:
        return f"{status['phase']}: {progress_text(status)}".rstrip(": ")
    return str(status.get("note", ""))


def percent(status: Status) -> float:
    """How much of the present phase is done."""
    return float(status.get("percent", 0))


def progress_text(status: Status) -> str:
    """How far a draft is: `45 %, 1.2 GB of 2.7 GB, 3 of 7 files, 30 MB/s, 50 s left`."""
    parts = []
    if files := status.get("files"):
        parts.append(f"{percent(status):.0f} %")
        if status.get("phase") == "uploading":
            sent, total = status.get("bytes_sent", 0), status.get("bytes", 0)
            parts.append(f"{wording.size(sent)} of {wording.size(total)}")
        parts.append(f"{status.get('files_done', 0)} of {wording.amount(files, 'file')}")
    if rate := status.get("rate"):
        parts.append(f"{wording.size(rate)}/s")
    if left := status.get("seconds_left"):
        parts.append(f"{wording.duration(left)} left")
    if note := status.get("note"):
        parts.append(wording.plain(note))
    return ", ".join(parts)
