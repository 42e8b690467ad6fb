"""docs/kaggle-parity.md has every command, each with its test, and nothing left open."""

from __future__ import annotations

import re
from pathlib import Path

import click

from modelfs.cli.models import models

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/kaggle-parity.md").read_text()


def _rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _commands(group: click.Group, above: str) -> set[str]:
    found: set[str] = set()
    for name, command in group.commands.items():
        below = f"{above} {name}"
        found |= _commands(command, below) if isinstance(command, click.Group) else {below}
    return found


def test_the_table_has_every_command_once_and_no_empty_cell() -> None:
    rows = _rows()
    assert [] == [row for row in rows if len(row) != 4 or not all(row)]
    said = [re.match(r"`modelfs ((?:[a-z]+ ?)+?)(?= -| alice| I|`)", row[1]) for row in rows]
    named = [match[1] for match in said if match]
    assert sorted(_commands(models, "models")) == sorted(named)
    for row in rows:
        assert row[1] == row[0].replace("`kaggle ", "`modelfs ")


def test_every_row_names_a_test_of_its_own() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_parity_*s.py"))
    named = [row[3].strip("`") for row in _rows()]
    assert len(set(named)) == len(named)
    assert set(named) == set(re.findall(r"def (test_\w+_three_ways)\(", sources))


def test_every_difference_names_a_test() -> None:
    _, _, text = PAGE.partition("## Intended differences")
    sections = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(sections) > 10
    assert [] == [section for section in sections if "`test_" not in section]
