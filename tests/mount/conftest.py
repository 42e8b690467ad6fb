"""Registries and mounts for a test; each is a process of its own and ends with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mounting import Mounted
from serving import Served

Serve = Callable[..., Served]
Mount = Callable[..., Mounted]


@pytest.fixture
def ending() -> Iterator[ExitStack]:
    """What is entered here ends with the test, mounts before the registries they show."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(ending: ExitStack, tmp_path: Path) -> Serve:
    """`serve(*options, name="registry")`: a running embedded registry in a folder of that name."""

    def start(*options: str, name: str = "registry") -> Served:
        return ending.enter_context(Served(tmp_path / name, *options))

    return start


@pytest.fixture
def mounted(ending: ExitStack, tmp_path: Path) -> Mount:
    """`mounted(served, *options, name="mount", cache=None)`: a running mount of that registry."""

    def start(
        served: Served, *options: str, name: str = "mount", cache: Path | None = None
    ) -> Mounted:
        mount = Mounted(
            tmp_path / name, f"kaggle+{served.url}", *options, token=served.token, cache=cache
        )
        return ending.enter_context(mount)

    return start
