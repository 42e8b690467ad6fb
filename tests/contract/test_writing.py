"""The writing half of the contract, for every registry that has one: bare, and remembered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from contract.suite import names, ref
from contract.writing import INSTANCE, Sender, WritingContract
from modelfs.config import Config
from modelfs.errors import Forbidden, Unauthenticated, Unavailable, Unsupported
from modelfs.registry import open_registry
from modelfs.registry.base import WritableRegistry
from modelfs.registry.caching import CachingRegistry
from modelfs.registry.shelf import Shelf
from modelfs.server.app import Settings, running

Opened = Callable[[], WritableRegistry]


class Place:
    """A registry directory, and how it is reached."""

    def __init__(self, directory: Path, spec: str, config: Config) -> None:
        self.directory = directory
        self.spec = spec
        self.config = config

    def open(self) -> WritableRegistry:
        return open_registry(self.spec, self.config)  # type: ignore[return-value]

    def forget_uploads(self) -> None:
        for session in (self.directory / "uploads").iterdir():
            shutil.rmtree(session)


def _made(directory: Path) -> None:
    from modelfs.registry.local import Store

    store = Store(directory)
    store.start()
    store.stop()


@pytest.fixture
def local(tmp_path: Path) -> Place:
    directory = tmp_path / "registry"
    _made(directory)
    return Place(directory, f"local:{directory}", Config(home=tmp_path, license="MIT"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Place]:
    directory = tmp_path / "registry"
    with running(Settings(directory, "alice")) as address:
        token = (directory / "token").read_text().strip()
        config = Config(home=tmp_path, license="MIT", environ={"MODELFS_TOKEN": token})
        yield Place(directory, f"kaggle+{address}", config)


class Bare(WritingContract):
    @pytest.fixture
    def registry(self, place: Place) -> Iterator[WritableRegistry]:
        with closing(place.open()) as registry:
            yield registry

    @pytest.fixture(autouse=True)
    def _place(self, place: Place) -> None:
        self.place = place

    def forget_uploads(self, registry: WritableRegistry) -> None:
        self.place.forget_uploads()


class Remembered(Bare):
    @pytest.fixture
    def registry(
        self, place: Place, cached: Callable[[WritableRegistry], CachingRegistry]
    ) -> Iterator[WritableRegistry]:
        with closing(cached(place.open())) as registry:
            yield registry


class TestLocal(Bare):
    @pytest.fixture
    def place(self, local: Place) -> Place:
        return local


class TestServed(Bare):
    @pytest.fixture
    def place(self, served: Place) -> Place:
        return served


class TestLocalRemembered(Remembered):
    @pytest.fixture
    def place(self, local: Place) -> Place:
        return local


class TestServedRemembered(Remembered):
    @pytest.fixture
    def place(self, served: Place) -> Place:
        return served


def test_what_belongs_to_others_is_not_ours_to_change(served: Place, tmp_path: Path) -> None:
    with closing(served.open()) as registry:
        sender = Sender(registry, tmp_path)
        bundle = sender.bundle(ref("bob/bert/jax/base/1"), sender.uploaded({"w": b"w"}))
        with pytest.raises(Forbidden, match="bob"):
            registry.create(bundle)


def test_nobody_publishes_without_a_token(served: Place, tmp_path: Path) -> None:
    from contract.writing import part

    with (
        closing(open_registry(served.spec, Config(home=tmp_path))) as registry,
        pytest.raises(Unauthenticated),
    ):
        registry.begin(part("w", b"w"))  # type: ignore[attr-defined]


def test_kaggle_is_only_read_without_a_login(tmp_path: Path) -> None:
    with closing(open_registry("kaggle", Config(home=tmp_path))) as registry:
        assert not registry.traits.is_writable
    config = Config(home=tmp_path, environ={"KAGGLE_API_TOKEN": "KGAT_x"})
    with closing(open_registry("kaggle", config)) as registry:
        assert registry.traits.is_writable


def test_offline_nothing_is_changed(local: Place, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from modelfs.waiting import wait

    with ThreadPoolExecutor(1) as threads, closing(local.open()) as inner:
        registry = CachingRegistry(
            inner, shelf=Shelf(tmp_path / "shelf"), executor=threads, wait=wait, is_offline=True
        )
        sender = Sender(registry, tmp_path)
        with pytest.raises(Unavailable):
            sender.uploaded({"w": b"w"})
        with pytest.raises(Unavailable):
            registry.delete(INSTANCE)
        with pytest.raises(Unavailable):
            registry.page(INSTANCE)
        with pytest.raises(Unavailable):
            registry.add(INSTANCE.parent.parent, ())


def test_a_registry_that_is_only_read_says_so(
    local: Place, tmp_path: Path, cached: Callable[[WritableRegistry], CachingRegistry]
) -> None:
    from modelfs.registry.local import LocalRegistry

    with closing(cached(LocalRegistry(local.directory))) as registry:  # type: ignore[arg-type]
        assert not registry.traits.is_writable
        with pytest.raises(Unsupported):
            registry.delete(INSTANCE)


def test_a_server_and_a_writer_without_one_share_a_directory(served: Place, tmp_path: Path) -> None:
    direct = Place(served.directory, f"local:{served.directory}", served.config)
    with closing(served.open()) as one, closing(direct.open()) as other:
        for number in range(3):
            Sender(one if number % 2 else other, tmp_path).publish({"w": b"%d" % number})
        assert ["1", "2", "3"] == names(one, str(INSTANCE)) == names(other, str(INSTANCE))
