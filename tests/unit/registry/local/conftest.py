"""A registry in a temporary directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfs.registry.local import Store
from unit.registry.local.filling import Clock, Filling


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def store(directory: Path, clock: Clock) -> Iterator[Store]:
    store = Store(directory, clock)
    store.start()
    yield store
    store.stop()


@pytest.fixture
def fill(store: Store) -> Filling:
    return Filling(store)
