"""A publisher that is killed at any moment makes one version, and loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]


# How far from one death to the next, where files go in an archive: most steps are the same ones.
STRIDE = int(os.environ.get("CRASH_STRIDE", "5"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("how", "stride"), [("plain", 1), ("packed", STRIDE)])
def test_a_death_at_any_step_leaves_one_version_with_the_right_bytes(
    tmp_path: Path, how: str, stride: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unit.fs.crashing", str(tmp_path), str(stride), how],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert int(done.stdout) > 100 // stride
