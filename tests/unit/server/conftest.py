"""A server on a free port in a thread, per test, with a token for alice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfs.server.app import Settings, running
from unit.server.client import Client


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def client(directory: Path) -> Iterator[Client]:
    with running(Settings(directory, "alice")) as url:
        yield Client(url, (directory / "token").read_text().strip())


@pytest.fixture
def open_client(directory: Path) -> Iterator[Client]:
    """At a server that was started with --open."""
    with running(Settings(directory, "alice", is_open=True)) as url:
        yield Client(url)
