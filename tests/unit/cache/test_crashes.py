"""A process that is killed while its cache drops files to make room leaves nothing wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
# `scripts/crashes evict` has it die at each step.
EVERY = int(os.environ.get("CRASH_EVERY", "4"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_death_at_any_step_of_an_eviction_leaves_no_wrong_byte(tmp_path: Path) -> None:
    # A process of its own: it forks, which is safe only without other threads.
    done = subprocess.run(
        [sys.executable, "-m", "unit.cache.crashing", str(tmp_path), str(EVERY)],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    deaths, dropping = map(int, done.stdout.split())
    print(f"{deaths} deaths, {dropping} of them while a content was being dropped")
    assert deaths > 60 // EVERY, "the steps are not being counted"
