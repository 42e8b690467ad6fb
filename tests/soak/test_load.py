"""Some seconds of everything at once; `scripts/soak --minutes 120` is the same for two hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak.load import Load


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_everything_at_once_gives_right_bytes_and_leaves_nothing(tmp_path: Path) -> None:
    outcome = Load(tmp_path, 12).run()
    assert [] == outcome.faults, str(outcome)
    assert {"files read", "ranges read", "trees listed"} <= set(outcome.counts)
