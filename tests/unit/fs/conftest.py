"""A started publisher on a registry of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drafting import Studio
from sims.desk import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def make_studio(tmp_path: Path, desk: Desk) -> Iterator[Callable[..., Studio]]:
    """Starts publishers, all on one staging area: one after the other, as mounts are."""
    made: list[Studio] = []

    def make(**options: object) -> Studio:
        for earlier in made:
            earlier.stop()
        studio = Studio(tmp_path, desk, **options)  # type: ignore[arg-type]
        made.append(studio)
        return studio.start()

    yield make
    for studio in made:
        studio.stop()


@pytest.fixture
def studio(make_studio: Callable[..., Studio]) -> Studio:
    return make_studio()
