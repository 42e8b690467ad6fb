"""kaggle 1.7.4.5 and kagglehub 0.3.13, which speak REST, against our server.

What they did is read back with today's clients.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from clients.cutting import Cutting
from clients.official import (
    Failed,
    Official,
    files_of,
    make_files,
    write_instance,
    write_model,
)

FILES = {"weights.bin": os.urandom(300_000), "config.json": b"{ not json", "empty": b""}
NESTED = FILES | {"nested/deep/leaf": b"leaf"}
MANY = {f"part-{number:02}/f{number}": b"%d" % number * 100 for number in range(60)}


@pytest.fixture(scope="module", autouse=True)
def base(legacy: Official, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("base")
    legacy.ok("create", "-p", write_model(folder / "m", slug="m", title="Made the old way"))
    write_instance(make_files(folder / "i", FILES), modelSlug="m", instanceSlug="base")
    legacy.ok("instances", "create", "-p", folder / "i", "-q")


def test_a_model_is_created_read_updated_listed_and_deleted(
    legacy: Official, alice: Official, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "m", slug="old", title="before", isPrivate=False)
    said = legacy.ok("create", "-p", folder)
    assert "Your model was created. Id=" in said
    # Without -p this client fails to print any model.
    legacy.ok("get", "alice/old", "-p", tmp_path)
    assert "before" == json.loads((tmp_path / "model-metadata.json").read_text())["title"]
    write_model(folder, slug="old", title="after", isPrivate=False)
    assert "Your model was updated. Id=" in legacy.ok("update", "-p", folder)
    assert "after" == json.loads(alice.ok("get", "alice/old"))["title"]
    assert "alice/old" in legacy.ok("list", "--owner", "alice", "-s", "old", "--csv")
    assert "The model was deleted." in legacy.ok("delete", "alice/old", "-y")
    assert 1 == alice.kaggle("get", "alice/old").status


def test_lists_are_paged(legacy: Official, tmp_path: Path) -> None:
    # Its `instances files` prints no rows, whoever answers.
    legacy.ok("instances", "files", "alice/m/pytorch/base")
    words = ("instances", "versions", "files", "alice/m/pytorch/base/1", "-v", "--page-size", "2")
    said = legacy.ok(*words)
    token = re.search(r"^Next Page Token = (\S+)$", said, re.MULTILINE)
    assert token, said
    rest = legacy.ok(*words, "--page-token", token[1])
    assert ["config.json", "empty"] == re.findall(
        r"^(config\.json|empty|weights\.bin),", said, re.M
    )
    assert ["weights.bin"] == re.findall(r"^(config\.json|empty|weights\.bin),", rest, re.M)


def test_an_instance_is_read_updated_and_deleted(
    legacy: Official, alice: Official, tmp_path: Path
) -> None:
    folder = make_files(tmp_path / "i", NESTED)
    write_instance(folder, modelSlug="m", instanceSlug="old")
    said = legacy.ok("instances", "create", "-p", folder, "-q", "-r", "zip")
    assert "Your model instance was created. Id=" in said
    assert NESTED == files_of(alice.download("alice/m/pyTorch/old"))
    legacy.ok("instances", "get", "alice/m/pytorch/old", "-p", tmp_path)
    metadata = json.loads((tmp_path / "model-instance-metadata.json").read_text())
    assert "An overview" == metadata["overview"]
    write_instance(folder, modelSlug="m", instanceSlug="old", overview="changed", fineTunable=True)
    assert "Your model instance was updated. Id=" in legacy.ok("instances", "update", "-p", folder)
    instance = json.loads(alice.ok("instances", "get", "alice/m/pytorch/old"))
    assert ["changed", True] == [instance["overview"], instance["fineTunable"]]
    said = legacy.ok("instances", "delete", "alice/m/pytorch/old", "-y")
    assert "The model instance was deleted." in said
    assert 1 == alice.kaggle("instances", "get", "alice/m/pytorch/old").status


def test_versions_are_created_listed_downloaded_and_deleted(
    legacy: Official, alice: Official, tmp_path: Path
) -> None:
    name, folder = "alice/m/pytorch/base", make_files(tmp_path / "2", {"w": b"two"})
    said = legacy.ok("instances", "versions", "create", name, "-p", folder, "-n", "notes", "-q")
    assert "Your model instance version was created." in said
    assert {"w": b"two"} == files_of(alice.download(f"{name}/2"))
    assert re.search(
        r"^w,\s*3", legacy.ok("instances", "versions", "files", f"{name}/2", "-v"), re.M
    )
    legacy.ok("instances", "versions", "download", f"{name}/1", "-p", tmp_path / "1", "--untar")
    assert FILES == files_of(tmp_path / "1")
    said = legacy.ok("instances", "versions", "delete", f"{name}/2", "-y")
    assert "The model instance version was deleted." in said
    assert ["1"] == [row["version"] for row in alice.rows("instances", "versions", "list", name)]


def test_kagglehub_sends_and_gets_trees(legacy: Official, alice: Official, tmp_path: Path) -> None:
    handle = "alice/old-hub/pyTorch/base"
    legacy.upload(handle, make_files(tmp_path / "1", NESTED), license_name="MIT")
    legacy.upload(handle, make_files(tmp_path / "2", {"w": b"two"}), version_notes="second")
    assert NESTED == files_of(legacy.download(f"{handle}/1"))
    assert NESTED == files_of(alice.download(f"{handle}/1"))
    assert {"w": b"two"} == files_of(legacy.download(handle))
    leaf = legacy.download(f"{handle}/1", path="nested/deep/leaf", force_download=True)
    assert b"leaf" == leaf.read_bytes()


def test_kagglehub_sends_and_gets_archives(legacy: Official, tmp_path: Path) -> None:
    handle = "alice/old-many/pyTorch/base"
    legacy.upload(handle, make_files(tmp_path / "up", MANY))
    assert MANY == files_of(legacy.download(handle))


def test_kagglehub_goes_on_where_the_connection_broke(legacy: Official, tmp_path: Path) -> None:
    handle, files = "alice/old-broken/pyTorch/base", {"big": os.urandom(4_000_000)}
    with Cutting(legacy.url, up=2_000_000) as way:
        legacy.through(way.url).upload(handle, make_files(tmp_path / "up", files))
    assert 1 == way.cuts
    assert files == files_of(legacy.download(handle))


def test_kagglehub_says_who_we_are(legacy: Official) -> None:
    assert "alice" == legacy.hub("whoami")["username"]


def test_what_is_not_there_is_an_error(legacy: Official) -> None:
    assert 1 == legacy.kaggle("get", "alice/never-made").status
    with pytest.raises(Failed):
        legacy.download("alice/never/pyTorch/made/1")
