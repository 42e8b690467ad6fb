"""What a suite is, and what comes out of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Outcome:
    """A line for people, and what was not as expected."""

    summary: str
    surprises: tuple[str, ...]


class Suite(Protocol):
    """Somebody's tests; PROGRAM is where they are below .suites."""

    NAME: str
    PROGRAM: str

    def in_draft(self, program: Path, draft: Path, *, is_short: bool) -> Outcome:
        """Run in a directory where everything may be done."""

    def in_version(self, program: Path, version: Path) -> Outcome:
        """Run where nothing may change: every change has to end with EROFS."""
