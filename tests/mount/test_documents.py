"""Texts beside the files: notes, metadata, and what `.modelfs` tells of a version."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from mount.conftest import Mount, Simulate
from mounting import Mounted
from sims.content import ODD_NAMES, Instance, Model, Version, plant

BASE = "alice/bert/pytorch/base"


def one(files: dict[str, bytes], notes: str = "") -> Model:
    return Model("alice", "one", (Instance("pytorch", "it", (Version(files, notes),)),))


ONE = "alice/one/pytorch/it/1"


@pytest.mark.parametrize(
    ("version", "expected"), [(1, "the first\n"), (2, "four layers\n"), (3, "größer\n")]
)
def test_notes_are_the_notes_of_the_version(shown: Mounted, version: int, expected: str) -> None:
    assert expected == (shown.path / BASE / str(version) / "NOTES").read_text()


def test_a_real_file_named_notes_wins(simulate: Simulate, mounted: Mount) -> None:
    mount = mounted(simulate(one({"NOTES": b"a real file", "f": b""}, "notes of the version")))
    assert b"a real file" == (mount.path / ONE / "NOTES").read_bytes()
    assert ["NOTES", "f"] == sorted(os.listdir(mount.path / ONE))


def test_a_version_without_notes_has_no_notes(mounted: Mount, tmp_path: Path) -> None:
    plant(tmp_path / "registry", [one({"f": b""})])
    mount = mounted(tmp_path / "registry")
    assert ["f"] == os.listdir(mount.path / ONE)


def test_metadata_of_a_model_and_an_instance_are_the_official_documents(shown: Mounted) -> None:
    model = json.loads((shown.path / "alice/bert/model-metadata.json").read_text())
    assert ("alice", "bert", "BERT, größer") == (
        model["ownerSlug"],
        model["slug"],
        model["title"],
    )
    instance = json.loads((shown.path / BASE / "model-instance-metadata.json").read_text())
    assert ("pyTorch", "base", "MIT") == (
        instance["framework"],
        instance["instanceSlug"],
        instance["licenseName"],
    )


def test_the_hidden_directory_is_reachable_and_not_listed(shown: Mounted, tmp_path: Path) -> None:
    version = shown.path / BASE / "1"
    assert ".modelfs" not in os.listdir(version)
    assert {"manifest.json", "status.json"} <= set(os.listdir(version / ".modelfs"))
    subprocess.run(["cp", "-r", version, tmp_path / "copy"], check=True, timeout=30)
    assert ["NOTES", "config.json", "weights.bin"] == sorted(os.listdir(tmp_path / "copy"))


def test_the_sums_are_those_that_sha256sum_checks(sample: Path, mounted: Mount) -> None:
    mount = mounted(sample)
    paths = (f"{BASE}/1", f"{BASE}/2", "alice/names/pytorch/odd/1")
    programs = (("sha256sum", "SHA256SUMS"), ("md5sum", "MD5SUMS"))
    for path, (program, sums) in itertools.product(paths, programs):
        done = subprocess.run(
            [program, "--check", "--strict", f".modelfs/{sums}"],
            cwd=mount.path / path,
            capture_output=True,
            timeout=30,
        )
        assert (0, b"") == (done.returncode, done.stderr), done.stdout


def test_without_digests_there_are_no_sums(simulate: Simulate, mounted: Mount) -> None:
    mount = mounted(simulate(one({"f": b"content"})))
    hidden = mount.path / ONE / ".modelfs"
    assert ["manifest.json", "status.json"] == sorted(os.listdir(hidden))
    with pytest.raises(FileNotFoundError):
        os.stat(hidden / "SHA256SUMS")


def test_the_manifest_tells_every_file(shown: Mounted) -> None:
    path = shown.path / "alice/names/pytorch/odd/1"
    manifest = json.loads((path / ".modelfs/manifest.json").read_text())
    assert "alice/names/pytorch/odd/1" == manifest["ref"]
    assert sorted(ODD_NAMES) == [file["path"] for file in manifest["files"]]
    assert [] == manifest["rejected"]
    for file in manifest["files"]:
        assert len(file["path"].encode()) == file["size"]


def test_the_status_follows_what_is_cached(mounted: Mount, tmp_path: Path) -> None:
    plant(tmp_path / "registry", [one({"a": b"x" * 1000, "b": b"y" * 500})])
    mount = mounted(tmp_path / "registry")
    status = mount.path / ONE / ".modelfs/status.json"
    expected = {
        "ref": ONE,
        "state": "published",
        "files": 2,
        "bytes": 1500,
        "cached_bytes": 0,
    }
    assert expected == json.loads(status.read_text())
    (mount.path / ONE / "a").read_bytes()
    assert expected | {"cached_bytes": 1000} == json.loads(status.read_text())
