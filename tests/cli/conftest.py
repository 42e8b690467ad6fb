"""A shell of its own for each test, and one small registry for all; mounts as in their tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import Shell
from mount.conftest import ending as ending
from mount.conftest import mounted as mounted
from mount.conftest import serve as serve
from sims.content import Instance, Model, Version, plant

CONTENT = b"weights" * 1000
MODEL = Model("alice", "bert", (Instance("pytorch", "base", (Version({"w": CONTENT}, "notes"),)),))
VERSION = "alice/bert/pytorch/base/1"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with Shell(tmp_path) as shell:
        yield shell


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the embedded registry that holds MODEL."""
    directory = tmp_path_factory.mktemp("cli") / "registry"
    plant(directory, [MODEL])
    return directory
