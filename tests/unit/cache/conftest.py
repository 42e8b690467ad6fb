"""A started cache in a temporary directory, and short ways to read from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelfs.cache import BlockCache

MakeCache = Callable[..., BlockCache]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make_cache(directory: Path) -> Iterator[MakeCache]:
    """Starts caches, all in one directory unless told otherwise; stops them at the end."""
    made: list[BlockCache] = []

    def make(**options: object) -> BlockCache:
        settings: dict[str, object] = {"budget": 1 << 40, "floor": 0, "workers": 8} | options
        cache = BlockCache(settings.pop("directory", directory), **settings)  # type: ignore[arg-type]
        cache.start()
        made.append(cache)
        return cache

    yield make
    for cache in made:
        cache.stop()


@pytest.fixture
def cache(make_cache: MakeCache) -> BlockCache:
    return make_cache()
