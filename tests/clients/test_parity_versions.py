"""Commands on versions, done three ways; docs/kaggle-parity.md names these tests."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.official import files_of, make_files
from clients.parity import BASE, CONTENT, Ways, comparable, three_ways
from published import settled

FIRST = dict(CONTENT[0].instances[0].versions[0].files)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    with three_ways(tmp_path_factory.mktemp("versions")) as ways:
        yield ways


@pytest.mark.parametrize(("mode", "number"), [("skip", 2), ("zip", 3), ("tar", 4)])
def test_versions_create_three_ways(ways: Ways, tmp_path: Path, mode: str, number: int) -> None:
    instance = "alice/bert/jax/small"
    files = {"w": b"weights", "sub/x": b"x", "sub/deep/y": b"y", "no.log": b"n", "sub/no.log": b"n"}
    folder = make_files(tmp_path / "new", files)
    official, ours = ways.both(
        *("instances", "versions", "create", instance, "-p", folder, "-q", "-n", "größer"),
        *("-r", mode, "--ignore-patterns", "*.log"),
    )
    assert official == ours
    assert official.startswith("Your model instance version was created. Url=")
    draft = f"{instance}/{number}"
    copied = f"cp -r {folder}/sub {draft}; rm {draft}/sub/no.log;" if mode != "skip" else ""
    ways.shell(f"mkdir {draft}; cp {folder}/w {draft}; {copied} echo größer > {draft}/NOTES")
    settled(ways.mount / draft)
    kept = {name: files[name] for name in ("w", "sub/x", "sub/deep/y")}
    found = ways.holding(instance)[draft]
    assert (kept if mode != "skip" else {"w": b"weights"}, "größer") == found


def test_versions_list_three_ways(ways: Ways) -> None:
    official, ours = ways.both("instances", "versions", "list", BASE, "--format", "json")
    assert official == ours
    first = comparable(ways.official.ok("instances", "versions", "list", BASE, "--page-size", "2"))
    assert first == comparable(
        ways.ours.ok("instances", "versions", "list", BASE, "--page-size", "2")
    )
    token = first.splitlines()[0].removeprefix("Next Page Token = ")
    words = ("instances", "versions", "list", BASE, "--page-size", "2", "--page-token", token)
    official, ours = ways.both(*words)
    assert official == ours
    assert "1\n2\n3\nlatest\nmodel-instance-metadata.json\n" == ways.shell(f"ls {BASE}")


def test_versions_files_three_ways(ways: Ways) -> None:
    for words in ((), ("-v", "--page-size", "200")):
        official, ours = ways.both("instances", "versions", "files", f"{BASE}/1", *words)
        assert official == ours
    shown = ways.shell(f"cd {BASE}/1; find * -type f ! -name NOTES -printf '%p %s\\n'")
    assert sorted(f"{name} {len(content)}" for name, content in FIRST.items()) == sorted(
        shown.splitlines()
    )


def test_versions_download_three_ways(ways: Ways, tmp_path: Path) -> None:
    words = ("instances", "versions", "download", f"{BASE}/1", "-q", "-f", "-p")
    ways.official.ok(*words, tmp_path / "official", "--untar")
    said = ways.ours.ok(*words, tmp_path / "ours", "--untar")
    assert f"{tmp_path}/ours\n" == said
    ways.shell(f"cp -r {BASE}/1 {tmp_path}/copied; rm {tmp_path}/copied/NOTES")
    for folder in ("official", "ours", "copied"):
        assert FIRST == files_of(tmp_path / folder)
    archives = [
        Path(way.ok(*words, tmp_path / "archives").strip()) for way in (ways.official, ways.ours)
    ]
    assert ["bert.tar.gz", "bert-pytorch-base-1.tar.gz"] == [path.name for path in archives]
    for number, path in enumerate(archives):
        with tarfile.open(path, "r:gz") as archive:
            archive.extractall(tmp_path / f"{number}", filter="data")
        assert FIRST == files_of(tmp_path / f"{number}")


def test_versions_delete_three_ways(ways: Ways) -> None:
    name = f"{BASE}/2"
    official, ours = ways.both("instances", "versions", "delete", name, typed="maybe\n")
    assert official == ours
    assert name in ways.holding(BASE)
    official, ours = ways.both("instances", "versions", "delete", name, typed="y\n")
    assert official == ours
    assert official.endswith("[yes/no] The model instance version was deleted.\n")
    ways.shell(f"rm -r {name}")
    assert [BASE, f"{BASE}/1", f"{BASE}/3"] == sorted(ways.holding(BASE))
