"""The current kagglehub, against our server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clients.cutting import Cutting
from clients.official import Failed, Official, files_of, make_files
from serving import Served

NESTED = {
    "weights.bin": os.urandom(500_000),
    "config.json": b"{ not json",
    "empty": b"",
    "a name with spaces + ünïcode %20.txt": b"name",
    "nested/w.bin": os.urandom(1000),
    "nested/deep/er/leaf": b"leaf",
}
# More than 25 are downloaded as an archive, more than 50 are uploaded as one.
MANY = {f"part-{number:02}/f{number}": b"%d" % number * 100 for number in range(60)}


def test_a_tree_comes_back_byte_for_byte(alice: Official, tmp_path: Path) -> None:
    handle = "alice/tree/pyTorch/base"
    alice.upload(handle, make_files(tmp_path / "up", NESTED), license_name="MIT")
    assert NESTED == files_of(alice.download(f"{handle}/1"))
    # Another client agrees on what is there.
    assert sorted(NESTED) == [
        row["name"] for row in alice.rows("instances", "versions", "files", f"{handle}/1")
    ]


def test_a_second_upload_is_the_second_version(alice: Official, tmp_path: Path) -> None:
    handle = "alice/twice/jax/base"
    alice.upload(handle, make_files(tmp_path / "1", {"w": b"one"}))
    alice.upload(handle, make_files(tmp_path / "2", {"w": b"two"}), version_notes="better ☃")
    assert {"w": b"one"} == files_of(alice.download(f"{handle}/1"))
    newest = alice.download(handle)
    assert "2" == newest.name
    assert {"w": b"two"} == files_of(newest)
    assert ["1", "2"] == [
        row["version"] for row in alice.rows("instances", "versions", "list", handle)
    ]
    assert ["better ☃"] == [row["notes"] for row in alice.rows("instances", "list", "alice/twice")]


def test_many_files_travel_as_an_archive(alice: Official, tmp_path: Path) -> None:
    handle = "alice/many/pyTorch/base"
    alice.upload(handle, make_files(tmp_path / "up", MANY))
    assert 60 == len(alice.rows("instances", "files", handle, "--page-size", "100"))
    assert MANY == files_of(alice.download(f"{handle}/1"))


def test_one_file_can_be_had_alone(alice: Official, registry: Served, tmp_path: Path) -> None:
    handle = "alice/single/pyTorch/base"
    alice.upload(handle, make_files(tmp_path / "up", NESTED))
    before = registry.stats()["bytes_served"]
    names = ("nested/deep/er/leaf", "a name with spaces + ünïcode %20.txt", "config.json")
    for name in names:
        assert NESTED[name] == alice.download(f"{handle}/1", path=name).read_bytes()
    asked = sum(len(NESTED[name]) for name in names)
    assert before + asked == registry.stats()["bytes_served"]


def test_a_single_file_can_be_uploaded(alice: Official, tmp_path: Path) -> None:
    folder = make_files(tmp_path, {"only.bin": b"only"})
    alice.upload("alice/one-file/pyTorch/base", folder / "only.bin")
    assert {"only.bin": b"only"} == files_of(alice.download("alice/one-file/pyTorch/base"))


def test_a_version_is_downloaded_once_unless_forced(
    alice: Official, registry: Served, tmp_path: Path
) -> None:
    handle, files = "alice/forced/pyTorch/base", {"w": os.urandom(10_000)}
    alice.upload(handle, make_files(tmp_path / "up", files))
    path = alice.download(f"{handle}/1")
    before = registry.stats()["bytes_served"]
    (path / "w").write_bytes(b"spoilt")
    assert {"w": b"spoilt"} == files_of(alice.download(f"{handle}/1"))
    assert before == registry.stats()["bytes_served"]
    assert files == files_of(alice.download(f"{handle}/1", force_download=True))
    assert before + 10_000 == registry.stats()["bytes_served"]


def test_ignored_files_are_not_sent(alice: Official, tmp_path: Path) -> None:
    files = {"kept": b"1", "a.log": b"2", ".git/config": b"3", "sub/b.log": b"4", "sub/kept": b"5"}
    handle = "alice/ignoring/pyTorch/base"
    alice.upload(handle, make_files(tmp_path / "up", files), ignore_patterns=["*.log"])
    assert ["kept", "sub/kept"] == sorted(files_of(alice.download(handle)))


def test_an_upload_goes_on_where_the_connection_broke(alice: Official, tmp_path: Path) -> None:
    handle, files = "alice/broken-up/pyTorch/base", {"big": os.urandom(4_000_000)}
    with Cutting(alice.url, up=2_000_000) as way:
        alice.through(way.url).upload(handle, make_files(tmp_path / "up", files))
    assert 1 == way.cuts
    assert way.resumed
    assert files == files_of(alice.download(handle))


def test_a_download_goes_on_where_the_connection_broke(alice: Official, tmp_path: Path) -> None:
    handle, files = "alice/broken-down/pyTorch/base", {"big": os.urandom(4_000_000)}
    alice.upload(handle, make_files(tmp_path / "up", files))
    with Cutting(alice.url, down=2_000_000) as way:
        with pytest.raises(Failed):
            alice.through(way.url).download(f"{handle}/1")
        assert files == files_of(alice.through(way.url).download(f"{handle}/1"))
    assert 1 == way.cuts
    assert way.resumed


def test_whoami_knows_key_and_token(alice: Official, alice_by_token: Official) -> None:
    for official in (alice, alice_by_token):
        assert "alice" == official.hub("whoami")["username"]


def test_who_logs_in_is_known_by_the_right_token_only(alice: Official) -> None:
    assert "Kaggle credentials successfully validated" in alice.login(alice.token)
    assert "Kaggle credentials successfully validated" not in alice.login("guessed")


def test_a_token_is_enough_for_both_clients(alice_by_token: Official, tmp_path: Path) -> None:
    handle = "alice/by-token/pyTorch/base"
    alice_by_token.upload(handle, make_files(tmp_path / "up", {"w": b"1"}))
    assert {"w": b"1"} == files_of(alice_by_token.download(handle))
    assert ["alice/by-token"] == [
        row["ref"] for row in alice_by_token.rows("list", "-s", "by-token")
    ]


def test_what_is_not_there_is_an_error(alice: Official) -> None:
    for handle in ("alice/never/pyTorch/made", "alice/never/pyTorch/made/1"):
        with pytest.raises(Failed, match=r"404|[Nn]ot [Ff]ound"):
            alice.download(handle)
