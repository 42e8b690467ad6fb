"""The contract for WriftAI, live as far as that is known and embedded: bare, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from contract.documents import SAMPLE, DocumentsContract
from modelfs.config import Config
from modelfs.registry import open_registry
from modelfs.registry.base import WritableRegistry
from modelfs.registry.caching import CachingRegistry
from modelfs.server.app import Settings, running
from sims.content import MOMENT
from sims.wriftai import SCHEMAS, WriftAI, digest


def opened(url: str, token: str, home: Path) -> WritableRegistry:
    config = Config(home=home, owners=("bob-b",), environ={"MODELFS_TOKEN": token})
    return open_registry(f"wriftai+{url}", config)  # type: ignore[return-value]


class TestSimulated(DocumentsContract):
    @pytest.fixture
    def place(self) -> Iterator[tuple[str, str]]:
        with WriftAI(token="secret", user="alice") as service:
            for owner, name, fields, notes in SAMPLE:
                service.add_model(owner, name, **fields)
                for text, letter in zip(notes, "abcdef" * 2, strict=False):
                    service.add_version(owner, name, text, letter)
            yield service.url, service.token

    @pytest.fixture
    def registry(self, place: tuple[str, str], tmp_path: Path) -> Iterator[WritableRegistry]:
        with closing(opened(*place, tmp_path)) as registry:
            yield registry


class TestServed(TestSimulated):
    """As the embedded registry speaks it."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[tuple[str, str]]:
        plant(tmp_path / "registry")
        with running(Settings(tmp_path / "registry", "alice")) as url:
            yield url, (tmp_path / "registry" / "token").read_text().strip()


class TestSimulatedRemembered(TestSimulated):
    @pytest.fixture
    def registry(
        self,
        place: tuple[str, str],
        tmp_path: Path,
        cached: Callable[[WritableRegistry], CachingRegistry],
    ) -> Iterator[WritableRegistry]:
        with closing(cached(opened(*place, tmp_path))) as registry:
            yield registry


class TestServedRemembered(TestServed, TestSimulatedRemembered):
    @pytest.fixture
    def registry(
        self,
        place: tuple[str, str],
        tmp_path: Path,
        cached: Callable[[WritableRegistry], CachingRegistry],
    ) -> Iterator[WritableRegistry]:
        with closing(cached(opened(*place, tmp_path))) as registry:
            yield registry


def plant(directory: Path) -> None:
    """Put the sample into a directory of the embedded registry, past every wire."""
    from modelfs.registry.local import Store
    from modelfs.registry.local.container_records import NewVersion

    store = Store(directory, clock=lambda: MOMENT)
    store.start()
    try:
        for owner, name, fields, notes in SAMPLE:
            own = {key: value for key, value in fields.items() if key != "category_slugs"}
            store.containers.create_model(owner, name, own, fields.get("category_slugs", ()))
            for text, letter in zip(notes, "abcdef" * 2, strict=False):
                new = NewVersion(text, digest(letter), SCHEMAS)
                store.containers.create_version(owner, name, new)
    finally:
        store.stop()
