"""`kaggle models instances …` of the current official client, against our server."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from clients.official import Official, files_of, make_files, write_instance, write_model

NESTED = {
    "weights.bin": os.urandom(100_000),
    "empty": b"",
    "sub/inner.txt": b"inside",
    "sub/deeper/leaf.json": b"[1, 2",
}


@pytest.fixture(scope="module", autouse=True)
def model(alice: Official, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("model")
    alice.ok("create", "-p", write_model(folder, slug="m", title="Home of the instances"))


def _create(alice: Official, folder: Path, slug: str, files: dict[str, bytes], *words: str) -> None:
    write_instance(make_files(folder, files), modelSlug="m", instanceSlug=slug)
    said = alice.ok("instances", "create", "-p", folder, *words)
    assert "Your model instance was created. Id=" in said


def test_init_writes_a_template_that_create_refuses_until_it_is_filled_in(
    alice: Official, tmp_path: Path
) -> None:
    alice.ok("instances", "init", "-p", tmp_path)
    ran = alice.kaggle("instances", "create", "-p", tmp_path)
    assert ran.status == 1
    assert "Default ownerSlug detected" in ran.stdout + ran.stderr


def test_a_created_instance_is_there_with_every_field(alice: Official, tmp_path: Path) -> None:
    folder = make_files(tmp_path / "i", {"w": b"12345"})
    write_instance(
        folder,
        modelSlug="m",
        instanceSlug="complete",
        framework="tensorFlow2",
        licenseName="MIT",
        fineTunable=True,
        trainingData=["one", "two"],
        modelInstanceType="ExternalVariant",
        externalBaseModelUrl="https://example.org/base",
    )
    alice.ok("instances", "create", "-p", folder, "-q")
    instance = json.loads(alice.ok("instances", "get", "alice/m/tensorflow2/complete"))
    assert instance["id"] > 0
    assert {
        "slug": "complete",
        "framework": "MODEL_FRAMEWORK_TENSOR_FLOW_2",
        "fineTunable": True,
        "overview": "An overview",
        "usage": "# Usage",
        "versionNumber": 1,
        "trainingData": ["one", "two"],
        "licenseName": "MIT",
        "modelInstanceType": "MODEL_INSTANCE_TYPE_EXTERNAL_VARIANT",
        "externalBaseModelUrl": "https://example.org/base",
        "totalUncompressedBytes": 5,
    }.items() <= instance.items()


@pytest.mark.parametrize("mode", ["zip", "tar"])
def test_folders_sent_as_archives_are_folders_again(
    alice: Official, tmp_path: Path, mode: str
) -> None:
    _create(alice, tmp_path / "i", mode, NESTED, "-r", mode, "-q")
    assert NESTED == files_of(alice.download(f"alice/m/pyTorch/{mode}"))


def test_folders_are_left_out_unless_asked_for(alice: Official, tmp_path: Path) -> None:
    _create(alice, tmp_path / "i", "skipped", NESTED, "-r", "skip")
    assert {"weights.bin", "empty"} == {
        row["name"] for row in alice.rows("instances", "files", "alice/m/pytorch/skipped")
    }


def test_an_archive_that_is_a_file_of_the_model_stays_one(alice: Official, tmp_path: Path) -> None:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("x", "in the zip")
    with tarfile.open(fileobj=tarred, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("y"))
    files = {"data.npz": zipped.getvalue(), "model.tar.gz": tarred.getvalue()}
    _create(alice, tmp_path / "i", "archives", files, "-q")
    assert files == files_of(alice.download("alice/m/pyTorch/archives"))


def test_patterns_leave_files_out(alice: Official, tmp_path: Path) -> None:
    files = {"kept.txt": b"1", "left.log": b"2", "sub/left.log": b"3", "sub/kept.txt": b"4"}
    _create(alice, tmp_path / "i", "ignoring", files, "-r", "zip", "--ignore-patterns", "*.log")
    assert ["kept.txt", "sub/kept.txt"] == sorted(
        files_of(alice.download("alice/m/pyTorch/ignoring"))
    )


def test_files_and_instances_are_listed_page_by_page(alice: Official, tmp_path: Path) -> None:
    files = {f"f{number}": b"x" * (1000 + number) for number in range(3)}
    _create(alice, tmp_path / "i", "paged", files, "-q")
    words = ("instances", "files", "alice/m/pytorch/paged")
    rows, token = alice.page(*words, "--page-size", "2")
    assert 2 == len(rows)
    assert token
    assert sorted(files) == [row["name"] for row in alice.pages(*words)]
    everything = alice.rows("instances", "list", "alice/m", "--page-size", "200")
    assert len(everything) == len(alice.pages("instances", "list", "alice/m"))
    assert everything


def test_an_update_changes_what_it_names(alice: Official, tmp_path: Path) -> None:
    _create(alice, tmp_path / "i", "updated", {"w": b"1"}, "-q")
    alice.ok("instances", "get", "alice/m/pytorch/updated", "-p", tmp_path)
    path = tmp_path / "model-instance-metadata.json"
    metadata = json.loads(path.read_text())
    assert ["m", "updated", "py_torch", "An overview"] == [
        metadata[name] for name in ("modelSlug", "instanceSlug", "framework", "overview")
    ]
    metadata |= {"overview": "now this", "licenseName": "MIT", "fineTunable": True}
    path.write_text(json.dumps(metadata))
    assert "Your model instance was updated. Id=" in alice.ok("instances", "update", "-p", tmp_path)
    instance = json.loads(alice.ok("instances", "get", "alice/m/pytorch/updated"))
    assert ["now this", "MIT", True, "# Usage", 1] == [
        instance[name]
        for name in ("overview", "licenseName", "fineTunable", "usage", "versionNumber")
    ]


def test_an_instance_is_deleted_only_when_confirmed(alice: Official, tmp_path: Path) -> None:
    _create(alice, tmp_path / "i", "deleted", {"w": b"1"}, "-q")
    name = "alice/m/pytorch/deleted"
    assert "Deletion cancelled" in alice.ok("instances", "delete", name, typed="no\n")
    assert json.loads(alice.ok("instances", "get", name))["slug"] == "deleted"
    said = alice.ok("instances", "delete", name, typed="yes\n")
    assert "The model instance was deleted." in said
    assert 1 == alice.kaggle("instances", "get", name).status


def test_an_instance_of_an_unknown_model_cannot_be_made(alice: Official, tmp_path: Path) -> None:
    folder = make_files(tmp_path / "i", {"w": b"1"})
    write_instance(folder, modelSlug="never-made", instanceSlug="i")
    ran = alice.kaggle("instances", "create", "-p", folder, "-q")
    assert "was created" not in ran.stdout
    assert 1 == alice.kaggle("instances", "get", "alice/never-made/pytorch/i").status
