"""The documents say nothing that is not there: promises name tests that exist, links lead on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])


BREAKING = 36


def _tests() -> set[str]:
    sources = (path.read_text() for path in ROOT.glob("tests/**/*.py"))
    return {name for text in sources for name in re.findall(r"def (test_\w+)\(", text)}


def test_every_named_test_is_there() -> None:
    named = {name for path in DOCUMENTS for name in re.findall(r"`(test_\w+)`", path.read_text())}
    assert named
    assert set() == named - _tests()


def test_every_test_that_is_named_with_its_file_is_in_it() -> None:
    named = {
        found
        for path in DOCUMENTS
        for found in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", path.read_text())
    }
    assert len(named) > BREAKING
    assert [] == [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / path).exists() or f"def {name}(" not in (ROOT / path).read_text()
    ]


def test_what_breaks_others_is_told_with_a_test_each() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    part = text[text.index("## What breaks others") : text.index("## The suites")]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    assert BREAKING == len(rows[1:])
    for _, here, shown in rows[1:]:
        assert here.startswith(("cannot happen", "happens", "both are there")), here
        assert "::test_" in shown


def test_every_figure_names_how_it_is_made() -> None:
    """Tests by their files, and scripts, that are there."""
    text = (ROOT / "docs/reliability.md").read_text()
    named = set(re.findall(r"\b((?:tests|scripts)/[\w/]+(?:\.\w+)?)", text))
    assert named
    assert [] == [path for path in sorted(named) if not (ROOT / path).exists()]


def test_every_promise_names_a_test() -> None:
    text = (ROOT / "docs/semantics.md").read_text()
    promised = text[text.index("## The tree") : text.index("## Limits")]
    points = re.split(r"^\* ", promised, flags=re.MULTILINE)[1:]
    assert [] == [point for point in points if "`test_" not in point]


def test_every_threat_names_a_test() -> None:
    text = (ROOT / "docs/security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    threats = [row for row in rows if not row.startswith("| threat ")]
    assert len(threats) > 20
    assert [] == [row for row in threats if "`test_" not in row.split(" | ")[-1]]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [] == [target for target in targets if not (path.parent / target).exists()]
