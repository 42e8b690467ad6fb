"""A registry to talk to and the people who talk to it, per module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.official import Official
from serving import Served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("clients")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served") / "registry") as served:
        yield served


def _official(generation: str, served: Served, home: Path, credentials: str = "key") -> Official:
    return Official(generation, served.url, home, served.user, served.token, credentials)


@pytest.fixture(scope="module")
def alice(registry: Served, tmp_path_factory: pytest.TempPathFactory) -> Official:
    """Today's clients, with user name and key."""
    return _official("current", registry, tmp_path_factory.mktemp("alice") / "home")


@pytest.fixture(scope="module")
def alice_by_token(registry: Served, tmp_path_factory: pytest.TempPathFactory) -> Official:
    """Today's clients, with an access token."""
    home = tmp_path_factory.mktemp("token") / "home"
    return _official("current", registry, home, "token")


@pytest.fixture(scope="module")
def legacy(registry: Served, tmp_path_factory: pytest.TempPathFactory) -> Official:
    """The last clients of the old protocol, with user name and key."""
    return _official("legacy", registry, tmp_path_factory.mktemp("legacy") / "home")
