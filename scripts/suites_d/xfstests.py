"""fsx and fsstress of xfstests: one checks every byte of one file, one does everything at once.

fsx tries which calls a file system has, and leaves out the others (hole punching and its kin, which
FUSE without fallocate has not).
"""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from suites_d.outcome import Outcome

# A million operations take some minutes.
_DEADLINE = 7200.0


@dataclass(frozen=True)
class _Fsx:
    NAME: str = "fsx"
    PROGRAM: str = "fsx"

    def in_draft(self, program: Path, draft: Path, *, is_short: bool) -> Outcome:
        counts = [20_000] if is_short else [*[100_000] * 10, 1_000_000]
        surprises = []
        for seed, count in enumerate(counts, start=1):
            done = _run([program, "-q", "-S", str(seed), "-N", str(count), "file"], draft)
            if done.returncode:
                surprises += [f"seed {seed}:", *done.stdout.splitlines()[-40:]]
        told = " and ".join(f"{n} x {count:,}" for count, n in Counter(counts).items())
        return Outcome(f"{told} operations", tuple(surprises))

    def in_version(self, program: Path, version: Path) -> Outcome:
        return _refused([program, "-N", "10", "config.json"], version, "Read-only file system")


@dataclass(frozen=True)
class _Fsstress:
    NAME: str = "fsstress"
    PROGRAM: str = "fsstress"

    def in_draft(self, program: Path, draft: Path, *, is_short: bool) -> Outcome:
        processes, count = (4, 500) if is_short else (8, 10_000)
        words = [program, "-d", draft, "-p", str(processes), "-n", str(count), "-s", "1"]
        done = _run(words, draft.parent)
        lines = done.stdout.splitlines()[-40:] if done.returncode else []
        return Outcome(f"{processes} x {count:,} operations", tuple(lines))

    def in_version(self, program: Path, version: Path) -> Outcome:
        # It looks for the directory that it could not make.
        words = [program, "-d", version, "-p", "1", "-n", "10", "-s", "1"]
        return _refused(words, version, "No such file or directory")


FSX, FSSTRESS = _Fsx(), _Fsstress()


def _run(words: list[str | Path], place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_DEADLINE,
    )


def _refused(words: list[str | Path], version: Path, complaint: str) -> Outcome:
    before = sorted(path.name for path in version.iterdir())
    done = _run(words, version)
    # Not its status: fsstress ends with 0 when its processes have given up.
    is_right = complaint in done.stdout
    is_right = is_right and before == sorted(path.name for path in version.iterdir())
    summary = f"refused: {complaint.lower()}" if is_right else "not refused as it should be"
    return Outcome(summary, () if is_right else tuple(done.stdout.splitlines()[-10:]))
