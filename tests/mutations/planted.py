"""Bugs to plant: read from the lists beside this file, looked up in the sources, put into a copy.

A bug is a small edit of one file of `src/modelfs`: the text to find, which has to be there exactly
once, the text to put in its place, and the tests that have to notice. Knows nothing of running
them.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
# The two classes that docs/reliability.md counts.
LISTS = ("filesystem", "network")


class OutOfDate(Exception):
    """The list does not go with the sources any more."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug: `breaks` says in a sentence what does not hold any more."""

    id: str
    # The list it is from, and what it is one of there.
    list: str
    kind: str
    breaks: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """The text of its file with the bug in it; raises OutOfDate if it has no place there."""
        if (count := text.count(self.find)) != 1:
            raise OutOfDate(f"{self.id}: its text is in {self.file} {count} times, not once")
        bad = text.replace(self.find, self.replace)
        try:
            ast.parse(bad)
        except SyntaxError as exc:
            raise OutOfDate(f"{self.id}: {self.file} does not parse with it: {exc}") from exc
        return bad

    def path(self, root: Path) -> Path:
        return root / "src" / "modelfs" / self.file


def every() -> tuple[Bug, ...]:
    """All bugs, in the order of the lists."""
    found = []
    for name in LISTS:
        kinds = tomllib.loads((HERE / f"{name}.toml").read_text())
        for kind, bugs in kinds.items():
            for id, fields in bugs.items():
                tests = tuple(f"tests/{test}" for test in fields.pop("tests"))
                found.append(Bug(id, name, kind, tests=tests, **fields))
    return tuple(found)


def check(bug: Bug, root: Path) -> None:
    """Raises OutOfDate unless the bug can be planted in the checkout `root`, and has its tests."""
    path = bug.path(root)
    if not path.exists():
        raise OutOfDate(f"{bug.id}: there is no {bug.file}")
    bug.planted(path.read_text())
    if missing := [test for test in bug.tests if not _exists(test, root)]:
        raise OutOfDate(f"{bug.id}: no such test: {', '.join(missing)}")


def tests_of(bugs: Sequence[Bug]) -> tuple[str, ...]:
    """The tests of `bugs`, each once."""
    return tuple(dict.fromkeys(test for bug in bugs for test in bug.tests))


def _exists(test: str, root: Path) -> bool:
    file, *_, name = test.split("::")
    path = root / file
    name = name.partition("[")[0]
    return path.exists() and bool(re.search(rf"def {name}\(", path.read_text()))
