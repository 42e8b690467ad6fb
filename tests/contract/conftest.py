"""The sample in each kind of registry, once per run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelfs.registry.base import Registry
from modelfs.registry.caching import CachingRegistry
from modelfs.registry.shelf import shelf_for
from modelfs.waiting import wait
from serving import Served
from sims.content import SAMPLE, plant
from sims.kaggle import Kaggle


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the embedded registry that holds the sample."""
    directory = tmp_path_factory.mktemp("registry") / "planted"
    plant(directory)
    return directory


@pytest.fixture(scope="session")
def served(planted: Path) -> Iterator[Served]:
    """The sample behind `modelfs serve`."""
    with Served(planted) as server:
        yield server


@pytest.fixture(scope="session")
def simulated() -> Iterator[Kaggle]:
    """The sample behind a simulator of the live service."""
    with Kaggle(SAMPLE, token="KGAT_test", user="alice") as server:
        yield server


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Callable[[Registry], CachingRegistry]]:
    """`cached(registry)`: the same registry, remembered."""
    threads = ThreadPoolExecutor(6)

    def wrap(inner: Registry) -> CachingRegistry:
        shelf = shelf_for(tmp_path / "cache", inner.traits.identity)
        return CachingRegistry(inner, shelf=shelf, executor=threads, wait=wait)

    yield wrap
    threads.shutdown()
