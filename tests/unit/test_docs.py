"""The documents say nothing that is not there: promises name tests that exist, links lead on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])


def _tests() -> set[str]:
    sources = (path.read_text() for path in ROOT.glob("tests/**/*.py"))
    return {name for text in sources for name in re.findall(r"def (test_\w+)\(", text)}


def test_every_named_test_is_there() -> None:
    named = {name for path in DOCUMENTS for name in re.findall(r"`(test_\w+)`", path.read_text())}
    assert named
    assert set() == named - _tests()


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
