"""What a cold read costs the processors, by who takes part: `scripts/profile --cold`.

The same bytes are read by a reader in a new mount and by curl, from the same server. Times of a
shared machine are longer than they should be, processor time much less so.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks import reading, rivals
from benchmarks.planting import FILE
from benchmarks.stage import Stage

_TICKS = os.sysconf("SC_CLK_TCK")
_ROUNDS = 3
# Seconds: until it is over; of the server; of those who fetch, in their code and in the kernel; of
# the reader.
_Row = tuple[float, float, float, float, float]


def spent(process: int) -> tuple[float, float]:
    """Seconds that a process has computed, and the kernel for it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / _TICKS, int(fields[12]) / _TICKS


def cold(stage: Stage) -> list[tuple[str, ...]]:
    """A table: for each way to read a file cold, the medians of what each side spent."""
    size = stage.planted("large").files[FILE].size
    url = rivals.address(stage, "large", FILE)

    def curls(ranges: int) -> _Row:
        folder = stage.fresh("curl")
        before, server = _own(resource.RUSAGE_CHILDREN), sum(spent(stage.server))
        seconds = rivals.curl(url, size, ranges, folder)
        user, system = _since(before, _own(resource.RUSAGE_CHILDREN))
        server = sum(spent(stage.server)) - server
        shutil.rmtree(folder)
        return seconds, server, user, system, 0.0

    def ours() -> _Row:
        with stage.mount() as mount:
            path = mount.version("large") / FILE
            path.stat()
            before, server = spent(mount.process), sum(spent(stage.server))
            reader = _own(resource.RUSAGE_SELF)
            seconds = reading.in_order(path)
            user, system = _since(before, spent(mount.process))
            server = sum(spent(stage.server)) - server
            return seconds, server, user, system, sum(_since(reader, _own(resource.RUSAGE_SELF)))

    ways: list[tuple[str, Callable[[], _Row]]] = [
        ("8 curls", lambda: curls(8)),
        ("one curl", lambda: curls(1)),
        ("modelfs", ours),
    ]
    rounds = [[way() for _, way in ways] for _ in range(_ROUNDS)]
    head = (
        f"{size >> 20} MiB, seconds of",
        *("the server", "curl or the mount", "its kernel", "the reader", "all", "took"),
    )
    table = [head]
    for (name, _), *runs in zip(ways, *rounds, strict=True):
        took, *parts = (statistics.median(values) for values in zip(*runs, strict=True))
        table.append((name, *(f"{value:.2f}" for value in (*parts, sum(parts), took))))
    return table


def _own(who: int) -> tuple[float, float]:
    usage = resource.getrusage(who)
    return usage.ru_utime, usage.ru_stime


def _since(before: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    return after[0] - before[0], after[1] - before[1]
