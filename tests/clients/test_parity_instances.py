"""Commands on instances, done three ways; docs/kaggle-parity.md names these tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.official import make_files, write_instance
from clients.parity import BASE, Ways, comparable, holdings, is_told, three_ways
from published import settled

FILE = "model-instance-metadata.json"


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    with three_ways(tmp_path_factory.mktemp("instances")) as ways:
        yield ways


def test_instances_init_three_ways(ways: Ways, tmp_path: Path) -> None:
    said, files = [], []
    for way in (ways.official.ok, ways.ours.ok):
        said.append(way("instances", "init", "-p", tmp_path))
        files.append(json.loads((tmp_path / FILE).read_text()))
        (tmp_path / FILE).unlink()
    assert said[0] == said[1]
    official, ours = files
    # The official template has a key that its own reader does not look for.
    assert 0 == official.pop("baseModelInstanceId")
    assert "" == ours.pop("baseModelInstance")
    assert list(official.items()) == list(ours.items())
    shown = json.loads(
        ways.shell(f"mkdir -p alice/bert/jax/fresh; cat alice/bert/jax/fresh/{FILE}")
    )
    named = {
        "ownerSlug": "alice",
        "modelSlug": "bert",
        "instanceSlug": "fresh",
        "framework": "jax",
        "baseModelInstance": "",
    }
    assert official | named == shown


def test_instances_create_three_ways(ways: Ways, tmp_path: Path) -> None:
    folder = make_files(tmp_path / "new", {"w": b"weights", "sub/x": b"left out", "empty": b""})
    write_instance(folder, modelSlug="bert", instanceSlug="made", licenseName="MIT")
    official, ours = ways.both("instances", "create", "-p", folder, "-q")
    assert official == ours
    assert official.startswith("Your model instance was created. Id=")
    draft = "alice/bert/pytorch/made/1"
    ways.shell(
        f"mkdir -p {draft}; cp {folder}/{FILE} {draft}/..; cp {folder}/w {folder}/empty {draft};"
        f"echo notes > {draft}/NOTES"
    )
    settled(ways.mount / draft)
    first, second, third = (
        holdings(directory, ["alice/bert/pytorch/made"]) for directory in ways.registries.values()
    )
    assert first == second
    # The commands have no option for the notes of a first version; NOTES has room for them.
    assert (first[draft][0], "notes") == third.pop(draft)
    assert {"w": b"weights", "empty": b""} == first.pop(draft)[0]
    assert first == third


def test_instances_get_three_ways(ways: Ways, tmp_path: Path) -> None:
    assert is_told(*map(json.loads, ways.both("instances", "get", BASE)))
    files = []
    for way in (ways.official.ok, ways.ours.ok):
        way("instances", "get", BASE, "-p", tmp_path)
        files.append(json.loads((tmp_path / FILE).read_text()))
        (tmp_path / FILE).unlink()
    official, ours = files
    shown = json.loads(ways.shell(f"cat {BASE}/{FILE}"))
    assert shown.items() <= ours.items()
    spelled = {"framework": "pyTorch", "modelInstanceType": "BaseModel"}
    assert {**official, **spelled, "baseModelInstance": ""} == ours


def test_instances_files_three_ways(ways: Ways) -> None:
    for words in ((), ("-v", "--page-size", "1"), ("--format", "json(name,total_bytes)")):
        ran = ways.official.kaggle("instances", "files", BASE, *words)
        mine = ways.ours.run("instances", "files", BASE, *words)
        assert comparable(ran.stdout).splitlines() == [
            # For programs, the token of the next page is on standard error.
            *comparable(mine.stderr).splitlines(),
            *comparable(mine.stdout).splitlines(),
        ]
    assert "NOTES\nw\nx\n" == ways.shell(f"ls {BASE}/latest")


def test_instances_list_three_ways(ways: Ways) -> None:
    official, ours = (
        json.loads(text)
        for text in ways.both("instances", "list", "alice/bert", "--format", "json")
    )
    for row in official:  # a whole JSON document as text
        row["created"] = json.loads(row["created"])["creationStart"]
    assert official == ours
    official_table, our_table = ways.both(
        "instances", "list", "alice/bert", "--format", "csv(version,notes,size)"
    )
    assert official_table == our_table
    told = ways.ours.ok("instances", "list", "alice/bert", "--format", "csv(framework,slug)")
    assert "jax,small" in told.splitlines()
    assert "small" in ways.shell("ls alice/bert/jax").split()


def test_instances_update_three_ways(ways: Ways, tmp_path: Path) -> None:
    changes = {
        "ownerSlug": "alice",
        "modelSlug": "bert",
        "framework": "jax",
        "instanceSlug": "small",
        "overview": "Now this",
        "usage": "# So",
        "fineTunable": False,
        "licenseName": "CC0: Public Domain",
        "trainingData": ["one", "two"],
    }
    (tmp_path / FILE).write_text(json.dumps(changes))
    official, ours = ways.both("instances", "update", "-p", tmp_path)
    assert official == ours
    assert official.startswith("Your model instance was updated. Id=")
    ways.shell(f"cp {tmp_path}/{FILE} alice/bert/jax/small/{FILE}")
    found = ways.holding("alice/bert/jax/small")["alice/bert/jax/small"]
    assert changes.items() <= found.items()


def test_instances_delete_three_ways(ways: Ways) -> None:
    name = "alice/bert/jax/doomed"
    official, ours = ways.both("instances", "delete", name, typed="No\n")
    assert official == ours
    assert name in ways.holding(name)
    official, ours = ways.both("instances", "delete", name, "-y")
    assert official == ours == "The model instance was deleted.\n"
    ways.shell(f"rm -r {name}")
    assert {"small"} == {ref.split("/")[3] for ref in ways.holding("alice/bert/jax") if ref}
