"""The contract, for every registry there is: bare, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.suite import RegistryContract
from modelfs.config import Config
from modelfs.registry import open_registry
from modelfs.registry.base import Registry
from modelfs.registry.caching import CachingRegistry
from serving import Served
from sims.kaggle import Kaggle


class TestLocal(RegistryContract):
    @pytest.fixture
    def registry(self, planted: Path, tmp_path: Path) -> Iterator[Registry]:
        registry = open_registry(f"local:{planted}", Config(home=tmp_path))
        yield registry
        registry.close()


class TestServed(RegistryContract):
    """Kaggle's protocol, as the embedded registry speaks it."""

    @pytest.fixture
    def registry(self, served: Served, tmp_path: Path) -> Iterator[Registry]:
        config = Config(home=tmp_path, owners=("bob-b",), environ={"MODELFS_TOKEN": served.token})
        registry = open_registry(f"kaggle+{served.url}", config)
        yield registry
        registry.close()


class TestSimulated(RegistryContract):
    """Kaggle's protocol, as the live service speaks it."""

    has_old_notes = False

    @pytest.fixture
    def registry(self, simulated: Kaggle, tmp_path: Path) -> Iterator[Registry]:
        config = Config(
            home=tmp_path, owners=("bob-b",), environ={"MODELFS_TOKEN": simulated.token}
        )
        registry = open_registry(f"kaggle+{simulated.url}", config)
        yield registry
        registry.close()


class TestLocalRemembered(TestLocal):
    @pytest.fixture
    def registry(
        self,
        planted: Path,
        tmp_path: Path,
        cached: Callable[[Registry], CachingRegistry],
    ) -> Iterator[Registry]:
        registry = cached(open_registry(f"local:{planted}", Config(home=tmp_path)))
        yield registry
        registry.close()


class TestServedRemembered(TestServed):
    @pytest.fixture
    def registry(
        self, served: Served, tmp_path: Path, cached: Callable[[Registry], CachingRegistry]
    ) -> Iterator[Registry]:
        config = Config(home=tmp_path, owners=("bob-b",), environ={"MODELFS_TOKEN": served.token})
        registry = cached(open_registry(f"kaggle+{served.url}", config))
        yield registry
        registry.close()


class TestSimulatedRemembered(TestSimulated):
    @pytest.fixture
    def registry(
        self, simulated: Kaggle, tmp_path: Path, cached: Callable[[Registry], CachingRegistry]
    ) -> Iterator[Registry]:
        config = Config(
            home=tmp_path, owners=("bob-b",), environ={"MODELFS_TOKEN": simulated.token}
        )
        registry = cached(open_registry(f"kaggle+{simulated.url}", config))
        yield registry
        registry.close()
