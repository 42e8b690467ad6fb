"""A publisher that is killed at any moment makes one version, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_death_at_any_step_leaves_one_version_with_the_right_bytes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unit.fs.crashing", str(tmp_path)],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert int(done.stdout) > 100
