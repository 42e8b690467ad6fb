"""Who is not known to the server: what the official clients make of its answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clients.official import Failed, Official, files_of, make_files, write_model


@pytest.fixture(scope="module", autouse=True)
def private(alice: Official, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = make_files(tmp_path_factory.mktemp("up"), {"w": b"secret"})
    alice.upload("alice/private/pyTorch/base", folder)


@pytest.fixture(params=["key", "token"])
def mallory(request: pytest.FixtureRequest, alice: Official, tmp_path: Path) -> Official:
    """Someone who says he is alice, and does not know her token."""
    return replace(alice, token="guessed", credentials=request.param, home=tmp_path / "mallory")


def test_a_stranger_reads_nothing(mallory: Official, tmp_path: Path) -> None:
    for words in (("get", "alice/private"), ("instances", "get", "alice/private/pytorch/base")):
        ran = mallory.kaggle(*words)
        assert 1 == ran.status
        assert "Traceback" not in ran.stderr
    with pytest.raises(Failed):
        mallory.download("alice/private/pyTorch/base/1")
    assert {} == files_of(mallory.home / "hub")


def test_a_stranger_changes_nothing(mallory: Official, alice: Official, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", slug="planted")
    assert "was created" not in mallory.kaggle("create", "-p", folder).stdout
    assert "was deleted" not in mallory.kaggle("delete", "alice/private", "-y").stdout
    with pytest.raises(Failed):
        mallory.upload("alice/private/pyTorch/base", make_files(tmp_path / "up", {"w": b"bad"}))
    assert 1 == alice.kaggle("get", "alice/planted").status
    assert {"w": b"secret"} == files_of(alice.download("alice/private/pyTorch/base"))
