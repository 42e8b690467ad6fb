"""Registries and mounts for a test; each is a process of its own and ends with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mounting import Mounted
from serving import Served
from sims.content import SAMPLE, Model, plant
from sims.kaggle import Kaggle

Serve = Callable[..., Served]
Mount = Callable[..., Mounted]
Simulate = Callable[..., Kaggle]


@pytest.fixture
def ending(tmp_path: Path) -> Iterator[ExitStack]:
    """What is entered here ends with the test, mounts before the registries they show.

    And before pytest clears `tmp_path`, which would otherwise walk through the mounts in it.
    """
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
    """`mounted(what, *options, name="mount", cache=None)`: a running mount of that registry.

    `what` is a running server, a simulator, or a directory of the embedded registry.
    """

    def start(
        what: Served | Kaggle | Path, *options: str, name: str = "mount", cache: Path | None = None
    ) -> Mounted:
        spec, token = spec_of(what)
        mount = Mounted(tmp_path / name, spec, *options, token=token, cache=cache)
        return ending.enter_context(mount)

    return start


@pytest.fixture
def simulate(ending: ExitStack) -> Simulate:
    """`simulate(*models)`: Kaggle with those models, signed in as alice."""

    def start(*models: Model) -> Kaggle:
        return ending.enter_context(Kaggle(models, token="KGAT_test", user="alice"))

    return start


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the embedded registry that holds the sample."""
    directory = tmp_path_factory.mktemp("sample") / "registry"
    plant(directory, SAMPLE)
    return directory


@pytest.fixture(scope="session", params=["local", "served"])
def shown(
    request: pytest.FixtureRequest, sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mounted]:
    """A mount of the sample, as a directory and over HTTP; for tests that change nothing."""
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        what = sample if request.param == "local" else stack.enter_context(Served(sample))
        spec, token = spec_of(what)
        yield stack.enter_context(Mounted(folder, spec, token=token))


def spec_of(what: Served | Kaggle | Path) -> tuple[str, str]:
    """How a mount names the registry `what`, and the token it needs."""
    if isinstance(what, Path):
        return f"local:{what}", ""
    return f"kaggle+{what.url}", what.token
