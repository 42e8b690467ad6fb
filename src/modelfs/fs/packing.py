"""Many small files as one archive, for a registry that unpacks it: which of them, and the archive.

An archive follows from its files alone: one that is made again after a restart is the same, and
its upload goes on where it was. Its file has no name, so no crash leaves anything behind. No lock
and no state.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from modelfs.errors import Interrupted, WrongState
from modelfs.fs import sealing
from modelfs.fs.journal import Item, Stamp

# Of these, two requests cost more than the bytes.
_SMALL = 100_000
# The official client sends so many one by one, and packs more.
_FEWEST = 50
# A registry need not unpack more of one archive, nor we write as much twice.
_MOST, _MOST_BYTES = 200_000, 4 << 30

# Members have no time of their own: whoever packs the same files again gets the same archive.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16


def chosen(items: Iterable[Item]) -> list[Item]:
    """Those that are better sent in one archive; none, if each of them is better sent as it is."""
    small = [item for item in items if item.stamp.size <= _SMALL and not item.token]
    total = sum(item.stamp.size for item in small)
    return small if _FEWEST < len(small) <= _MOST and total <= _MOST_BYTES else []


def fill(
    archive: Item,
    items: Sequence[Item],
    locate: Callable[[str], Path],
    scratch: Path,
    buffer: memoryview,
    is_over: Callable[[], bool],
) -> int:
    """Pack `items`, and have them and `archive` know their sizes and digests; the open archive.

    It lies in the directory `scratch`. Ends early if `is_over`. WrongState for files that are not
    what they were, or if there is no room.
    """
    try:
        with tempfile.TemporaryFile(dir=scratch) as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
                for item in items:
                    if is_over():
                        break
                    content = sealing.content(locate(item.path), item)
                    member = zipfile.ZipInfo(item.path, _NO_TIME)
                    member.external_attr = _MODE
                    packed.writestr(member, content)
            file.flush()
            digests = sealing.digests_of(file.fileno(), buffer, is_over)
            if is_over():
                raise Interrupted("publishing was ended")
            moment = max(item.stamp.mtime_ns for item in items)
            archive.stamp = Stamp(0, os.fstat(file.fileno()).st_size, moment, 0)
            archive.digests = digests
            return os.dup(file.fileno())
    except OSError as exc:
        raise WrongState(f"the files cannot be packed: {exc.strerror}") from exc
