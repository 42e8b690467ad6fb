"""Two linters look for what is known to be dangerous; what they are told to overlook says why."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_bandit_finds_nothing_medium_or_high() -> None:
    words = ["-m", "bandit", "--quiet", "--format", "json", "--recursive", "src/modelfs"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, check=False, capture_output=True, text=True, timeout=100
    )
    told = json.loads(done.stdout)
    assert told["metrics"]["_totals"]["loc"] > 1000
    assert [] == told["errors"]
    assert [] == [
        f"{item['filename']}:{item['line_number']}: {item['issue_text']}"
        for item in told["results"]
        if item["issue_severity"] in ("MEDIUM", "HIGH")
    ]


def test_what_is_overlooked_is_one_rule_on_one_line() -> None:
    """`# noqa: S104`, never all rules, never a whole file. Ruff's own rules find the rest."""
    for path in (ROOT / "src").rglob("*.py"):
        for line in path.read_text().splitlines():
            if "# nosec" in line or re.search(r"noqa.*\bS\d", line):
                assert re.search(r"# (nosec B|noqa: .*S)\d+", line), f"{path}: {line}"
                assert "ruff: noqa" not in line
