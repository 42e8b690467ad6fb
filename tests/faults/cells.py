"""The matrix of faults and operations: a cell is one operation while one fault is there.

A cell ends in the right value, in an error of ours that says what is wrong and no secret, or it
has failed. Owns how cells are run, many at a time since most of them wait, and how they are judged.
"""

from __future__ import annotations

import gc
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from drafting import HASTY
from modelfs.api import Client
from modelfs.config import Config, Mount
from modelfs.errors import Error
from modelfs.registry import credentials, kaggle_calls, paging, wriftai
from modelfs.registry.base import Registry
from modelfs.registry.kaggle_writing import WritableKaggleRegistry
from modelfs.registry.retries import Limits
from modelfs.registry.wriftai_writing import WritableWriftAIRegistry
from polling import wait_for

TOKEN = "KGAT_canary_of_the_matrix"
# As patient as the real ones are, in less time: what stalls is what a matrix waits for.
FAST = Limits(
    connect=2,
    read=0.6,
    total=2,
    attempts=6,
    first_wait=0.01,
    longest_wait=0.05,
    submit=2,
    stall=1,
    connections=8,
)
# For what has to come out right: nothing is in its way but the other cells and a slow machine.
PATIENT = replace(
    FAST, connect=30, read=60, total=120, quick_tries=0, submit=120, stall=60, attempts=10
)
# The same, where the first answer never comes.
STALLED = replace(PATIENT, read=20, quick_tries=1)
# What many small files are sent as.
ARCHIVE = "archive.zip"
PACES = {"": FAST, "patient": PATIENT, "stalled": STALLED}
# For the slowest operation of all, with many at a time on two cores that do something else, too.
LONGEST = 120.0
# Most of them wait for what never comes; the others share the machine.
_AT_ONCE = 16
_SECRET = re.compile(rf"{TOKEN}|Signature|Bearer|Traceback", re.IGNORECASE)

RIGHT, ERROR, UNPROVEN, WRONG, BAD = "right", "error", "unproven", "wrong", "bad"


@dataclass(frozen=True)
class Verdict:
    """How a cell ended."""

    kind: str
    text: str = ""


@dataclass
class Table:
    """The verdicts of a matrix: by fault, mode and operation."""

    cells: dict[tuple[str, ...], Verdict] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def counts(self) -> Counter[str]:
        return Counter(verdict.kind for verdict in self.cells.values())

    def of(self, *kinds: str) -> dict[tuple[str, ...], str]:
        return {cell: each.text for cell, each in self.cells.items() if each.kind in kinds}

    def merge(self, rows: Iterable[Mapping[tuple[str, ...], Verdict]]) -> Table:
        for row in rows:
            self.cells.update(row)
        return self


def judged(
    operation: Callable[[], object],
    expected: object,
    *,
    is_lie: bool = False,
    longest: float = LONGEST,
) -> Verdict:
    """What an operation came to. `is_lie`: nobody could know that its bytes are others."""
    begun = time.monotonic()
    try:
        value = operation()
    except Error as exc:
        return _judged_error(exc, time.monotonic() - begun, longest)
    except OSError as exc:
        # Nothing of ours: the file object of a caller who was told before.
        return Verdict(BAD, f"{type(exc).__name__}: {exc}")
    except Exception as exc:
        return Verdict(BAD, f"{type(exc).__name__}: {exc}")
    if (lasted := time.monotonic() - begun) > longest:
        return Verdict(BAD, f"took {lasted:.1f} s")
    if callable(expected):
        return Verdict(RIGHT) if expected(value) else Verdict(WRONG, repr(value)[:200])
    if value == expected:
        return Verdict(RIGHT)
    return Verdict(UNPROVEN if is_lie else WRONG, repr(value)[:80])


def _judged_error(error: Error, lasted: float, longest: float) -> Verdict:
    text = f"{type(error).__name__}: {error}"
    if _SECRET.search(text) or len(text) > 1000 or not text.isprintable():
        return Verdict(BAD, f"says too much: {text[:500]!r}")
    if not error.errno or lasted > longest:
        return Verdict(BAD, f"after {lasted:.1f} s: {text}")
    return Verdict(ERROR, text)


def run(
    rows: Iterable[Callable[[], Mapping[tuple[str, ...], Verdict]]], *, is_server_here: bool = False
) -> Table:
    """All rows, many at a time; nothing is left of them but the table.

    `is_server_here`: with files and connections of its own, so that ours cannot be told apart.
    """
    before = descriptors()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="matrix") as pool:
        table = Table().merge(pool.map(lambda row: row(), rows))
    # Errors and the frames they came through hold each other, and what those frames had open.
    gc.collect()
    wait_for(
        lambda: is_server_here or descriptors() <= before,
        60,
        f"descriptors: {before}, now {descriptors()}",
    )
    return table


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def hasty(paces: Mapping[str, Limits] = PACES, pages: int = 50) -> Iterator[None]:
    """Clients made meanwhile are of their pace, and take fewer pages for a list without an end."""

    def opened(spec: str, config: Config) -> Registry:
        *pace, protocol, base = spec.split("+")
        limits = paces["".join(pace)]
        found = credentials.for_other(config.environ, config.token_file)
        if protocol == "wriftai":
            calls = wriftai.connect(f"{base}/v1", found, config.environ, limits)
            return WritableWriftAIRegistry(calls, identity=f"wriftai+{base}", has_login=True)
        client = kaggle_calls.connect(base, found, config.environ, limits)
        return WritableKaggleRegistry(
            client,
            license_name="MIT",
            has_first_notes=True,
            archive=ARCHIVE,
            identity=f"kaggle+{base}",
            has_login=True,
        )

    with (
        mock.patch("modelfs.assemble.open_registry", opened),
        mock.patch.object(paging, "_MOST_PAGES", pages),
        mock.patch("modelfs.api.publishing.Patience", return_value=HASTY),
    ):
        yield


def pace_of(kind: str, mode: str, passing: Collection[str]) -> str:
    """How patient to be with a fault: as hasty as can be where an error will do."""
    if mode != "once" or kind not in passing:
        return ""
    return "stalled" if "stall" in kind else "patient"


def client_of(
    url: str, folder: Path, token: str = TOKEN, *, pace: str = "", protocol: str = "kaggle"
) -> Client:
    """A client of the registry at `url`, with its cache and its state below `folder`.

    `pace` is one of those that `hasty` knows.
    """
    spec = "+".join(filter(None, (pace, protocol, url)))
    return Client(
        config=Config(
            registries=(Mount("", spec),),
            cache_dir=folder / "cache",
            state_dir=folder / "state",
            cache_floor=0,
            home=folder,
            license="MIT",
            environ={"MODELFS_TOKEN": token},
        )
    )
