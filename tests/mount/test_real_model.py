"""A real model, published by the official client and read through a mount, byte for byte."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from clients.official import Official, files_of
from mounting import Mounted
from serving import Served

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
HANDLE = "alice/all-minilm-l6-v2/pyTorch/base"
VERSION = Path("alice/all-minilm-l6-v2/pytorch/base/1")
WEIGHTS = "model.safetensors"
Mount = Callable[..., Mounted]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model that was published."""
    if not list((ROOT / ".demo/wheel").glob("*.whl")):
        pytest.skip("no model in .demo: run scripts/model")
    folder = tmp_path_factory.mktemp("original") / "model"
    subprocess.run([ROOT / "scripts/model", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def published(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A registry that the official client has published the model to."""
    folder = tmp_path_factory.mktemp("published")
    with Served(folder / "registry") as served:
        _publish(served, original, folder)
        yield served


def test_a_copy_of_the_version_is_the_model(
    published: Served, mounted: Mount, original: Path, tmp_path: Path
) -> None:
    mount = mounted(published)
    subprocess.run(["cp", "-r", mount.path / VERSION, tmp_path / "copy"], check=True)
    assert files_of(original) == _without_notes(files_of(tmp_path / "copy"))


def test_every_tensor_is_the_original_one(
    published: Served, mounted: Mount, original: Path
) -> None:
    mount = mounted(published)
    with (
        safe_open(original / WEIGHTS, "numpy") as expected,
        safe_open(mount.path / VERSION / WEIGHTS, "numpy") as actual,
    ):
        assert sorted(expected.keys()) == sorted(actual.keys())
        for name in expected.keys():  # noqa: SIM118 - it is not a dict
            assert (expected.get_tensor(name) == actual.get_tensor(name)).all(), name


def test_one_tensor_costs_what_it_needs(published: Served, mounted: Mount, original: Path) -> None:
    name = "encoder.layer.3.attention.output.dense.weight"
    with safe_open(original / WEIGHTS, "numpy") as file:
        expected = file.get_tensor(name)
    with (original / WEIGHTS).open("rb") as opened:
        header = 8 + int.from_bytes(opened.read(8), "little")
    mount = mounted(published)
    before = published.stats()["bytes_served"]
    with safe_open(mount.path / VERSION / WEIGHTS, "numpy") as file:
        assert (expected == file.get_tensor(name)).all()
    served = published.stats()["bytes_served"] - before
    # What whole blocks and the kernel's own read-ahead add.
    assert served <= header + expected.nbytes + (2 << 20)


def test_what_was_read_once_is_readable_without_the_registry(
    original: Path, mounted: Mount, tmp_path: Path
) -> None:
    with Served(tmp_path / "registry") as served:
        _publish(served, original, tmp_path)
        mount = mounted(served, name="online")
        read = files_of(mount.path / VERSION)
        mount.stop()
    again = mounted(served, name="offline", cache=mount.cache)
    assert read == files_of(again.path / VERSION)
    assert files_of(original) == _without_notes(read)


def _publish(served: Served, model: Path, folder: Path) -> None:
    alice = Official("current", served.url, folder / "home", served.user, served.token)
    alice.upload(HANDLE, model, license_name="Apache 2.0")


def _without_notes(files: dict[str, bytes]) -> dict[str, bytes]:
    """A version's notes are a file in the tree, which the original does not have."""
    return {path: content for path, content in files.items() if path != "NOTES"}
