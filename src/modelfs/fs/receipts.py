"""What stays of a draft that was published: a receipt, and of one that was not: a reason."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from modelfs.errors import WrongState
from modelfs.fs.journal import Item
from modelfs.fs.junk import FAILURE
from modelfs.fs.staging import write_durably
from modelfs.refs import Ref


def write(directory: Path, draft: Ref, version: Ref, items: Iterable[Item]) -> None:
    """Write down in `directory` what was sent, and which version it became."""
    receipt = {
        "version": str(version),
        "draft": str(draft),
        "published": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": [],
    }
    # A line per file, by hand: indenting them all takes the standard library ten times as long.
    files = ",\n  ".join(json.dumps(_told(item)) for item in items)
    text = json.dumps(receipt).replace('"files": []', f'"files": [\n  {files}\n]')
    name = hashlib.sha256(str(version).encode()).hexdigest()[:32]
    target = directory / f"{name}.json"
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(target, text.encode())
    except OSError as exc:
        raise WrongState(f"the receipt cannot be written: {exc.strerror}") from exc


def _told(item: Item) -> dict[str, object]:
    digests = item.digests
    size = item.stamp.size
    return {"path": item.path, "size": size, "md5": digests.md5, "sha256": digests.sha256}


def tell_failure(directory: Path, reason: str) -> None:
    """Leave a note in the draft that says why it was not published, and what to do."""
    text = (
        f"This draft was not published: {reason}.\n\n"
        "Nothing in it is lost, and it can be changed again. To try once more, save NOTES again\n"
        "(or run `modelfs publish` on this directory). This file goes away by itself.\n"
    )
    withdraw_failure(directory)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(directory / FAILURE, flags, 0o644)
        with os.fdopen(fd, "w", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        pass  # the state of the draft and the log say it as well


def withdraw_failure(directory: Path) -> None:
    """Remove the note of an earlier attempt."""
    try:
        (directory / FAILURE).unlink()
    except OSError:
        pass
