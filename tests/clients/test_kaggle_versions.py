"""`kaggle models instances versions …` of the current official client, against our server."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from clients.cutting import Cutting
from clients.official import Official, files_of, make_files, write_instance, write_model

BASE = "alice/m/pytorch/base"
FIRST = {"weights.bin": os.urandom(3_000_000), "config.json": b'{"a": 1}', "sub/x": b"x"}


@pytest.fixture(scope="module", autouse=True)
def base(alice: Official, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("base")
    alice.ok("create", "-p", write_model(folder / "m", slug="m", title="Home of the versions"))
    write_instance(make_files(folder / "i", FIRST), modelSlug="m", instanceSlug="base")
    alice.ok("instances", "create", "-p", folder / "i", "-r", "tar", "-q")


def _instance(alice: Official, folder: Path, slug: str) -> str:
    write_instance(make_files(folder, {"w": b"one"}), modelSlug="m", instanceSlug=slug)
    alice.ok("instances", "create", "-p", folder, "-q")
    return f"alice/m/pytorch/{slug}"


def _create(alice: Official, name: str, folder: Path, notes: str = "", *words: str) -> None:
    said = alice.ok("instances", "versions", "create", name, "-p", folder, "-n", notes, *words)
    assert "Your model instance version was created. Url=" in said


def test_versions_are_numbered_listed_and_have_their_own_files(
    alice: Official, tmp_path: Path
) -> None:
    name = _instance(alice, tmp_path / "i", "numbered")
    _create(alice, name, make_files(tmp_path / "2", {"w": b"two", "new": b""}), "second ☃")
    _create(alice, name, make_files(tmp_path / "3", {"d/w": b"three"}), "third", "-r", "zip")
    assert ["1", "2", "3"] == [
        row["version"] for row in alice.pages("instances", "versions", "list", name)
    ]
    assert [{"w": b"one"}, {"w": b"two", "new": b""}, {"d/w": b"three"}] == [
        files_of(alice.download(f"{name}/{number}")) for number in (1, 2, 3)
    ]


def test_files_are_listed_with_their_sizes_page_by_page(alice: Official) -> None:
    words = ("instances", "versions", "files", f"{BASE}/1")
    assert {path: len(content) for path, content in FIRST.items()} == {
        row["name"]: int(row["size"]) for row in alice.pages(*words)
    }
    assert 3 == len(alice.rows(*words))


def test_a_version_is_downloaded_as_an_archive(alice: Official, tmp_path: Path) -> None:
    path = tmp_path / "m.tar.gz"
    said = alice.ok("instances", "versions", "download", f"{BASE}/1", "-p", tmp_path, "-q")
    assert str(path) in said
    with tarfile.open(path, "r:gz") as archive:
        archive.extractall(tmp_path / "out", filter="data")
    assert FIRST == files_of(tmp_path / "out")


def test_a_version_is_downloaded_and_unpacked(alice: Official, tmp_path: Path) -> None:
    words = ("instances", "versions", "download", f"{BASE}/1", "-p", tmp_path, "--untar")
    alice.ok(*words)
    assert FIRST == files_of(tmp_path)
    alice.ok(*words, "--force", "-q")
    assert FIRST == files_of(tmp_path)


def test_an_archive_is_the_same_bytes_every_time(alice: Official, tmp_path: Path) -> None:
    words = ("instances", "versions", "download", f"{BASE}/1", "-q", "-f", "-p")
    for folder in ("a", "b"):
        alice.ok(*words, tmp_path / folder)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_download_goes_on_where_the_connection_broke(alice: Official, tmp_path: Path) -> None:
    with Cutting(alice.url, down=2_000_000) as way:
        alice.through(way.url).ok(
            "instances", "versions", "download", f"{BASE}/1", "-p", tmp_path, "--untar"
        )
    assert FIRST == files_of(tmp_path)
    assert 1 == way.cuts
    assert way.resumed


def test_an_upload_survives_a_broken_connection(alice: Official, tmp_path: Path) -> None:
    name = _instance(alice, tmp_path / "i", "broken")
    files = {"big": os.urandom(3_000_000)}
    with Cutting(alice.url, up=1_500_000) as way:
        _create(alice.through(way.url), name, make_files(tmp_path / "2", files), "", "-q")
    assert 1 == way.cuts
    assert files == files_of(alice.download(f"{name}/2"))


def test_a_version_is_deleted_only_when_confirmed(alice: Official, tmp_path: Path) -> None:
    name = _instance(alice, tmp_path / "i", "deleted")
    _create(alice, name, make_files(tmp_path / "2", {"w": b"two"}))
    words = ("instances", "versions", "delete", f"{name}/1")
    assert "Deletion cancelled" in alice.ok(*words, typed="no\n")
    assert 2 == len(alice.rows("instances", "versions", "list", name))
    assert "The model instance version was deleted." in alice.ok(*words, "-y")
    assert ["2"] == [row["version"] for row in alice.rows("instances", "versions", "list", name)]
    ran = alice.kaggle("instances", "versions", "download", f"{name}/1", "-p", tmp_path / "out")
    assert 1 == ran.status


def test_a_deleted_number_is_not_given_again(alice: Official, tmp_path: Path) -> None:
    name = _instance(alice, tmp_path / "i", "never-again")
    folder = make_files(tmp_path / "next", {"w": b"next"})
    _create(alice, name, folder)
    alice.ok("instances", "versions", "delete", f"{name}/2", "-y")
    _create(alice, name, folder)
    assert ["1", "3"] == [
        row["version"] for row in alice.rows("instances", "versions", "list", name)
    ]


def test_a_version_that_is_not_there_is_an_error(alice: Official, tmp_path: Path) -> None:
    for command in ("files", "download"):
        ran = alice.kaggle("instances", "versions", command, f"{BASE}/99", cwd=tmp_path)
        assert 1 == ran.status
        assert "Traceback" not in ran.stderr
    assert {} == files_of(tmp_path)
