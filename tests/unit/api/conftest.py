"""Clients of registries that hold the sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelfs.api import Client
from modelfs.config import Config, Mount
from sims.content import SAMPLE, plant
from sims.kaggle import Kaggle


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the embedded registry that holds the sample."""
    directory = tmp_path_factory.mktemp("registry") / "planted"
    plant(directory)
    return directory


@pytest.fixture
def simulated() -> Iterator[Kaggle]:
    """The sample behind a simulator of the live service, which lists no digests."""
    with Kaggle(SAMPLE, token="KGAT_test", user="alice") as server:
        yield server


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """`make_client(spec, **settings)`: a client with directories of its own."""
    with ExitStack() as stack:

        def make(spec: str, **settings: object) -> Client:
            config = Config(
                registries=(Mount("", spec),),
                cache_dir=tmp_path / "cache",
                state_dir=tmp_path / "state",
                home=tmp_path,
                license="MIT",
                **{"environ": {"MODELFS_TOKEN": "KGAT_test"}, **settings},  # type: ignore[arg-type]
            )
            return stack.enter_context(Client(config=config))

        yield make


@pytest.fixture(params=["local", "kaggle"])
def client(
    request: pytest.FixtureRequest, planted: Path, make_client: Callable[..., Client]
) -> Client:
    """A client of a registry that lists digests, and of one that does not."""
    if request.param == "local":
        return make_client(f"local:{planted}")
    return make_client(f"kaggle+{request.getfixturevalue('simulated').url}")
