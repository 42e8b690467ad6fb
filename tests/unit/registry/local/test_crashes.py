"""A registry whose process dies at any moment is whole afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_moment_to_die_leaves_half_a_version_or_forgets_what_was_answered(
    tmp_path: Path,
) -> None:
    # A process of its own: it forks, which is safe only without other threads.
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crashing.py"), tmp_path],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert 200 < int(done.stdout), "the steps of a life are not being counted"
