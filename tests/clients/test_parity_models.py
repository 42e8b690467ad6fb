"""Commands on models, done three ways; docs/kaggle-parity.md names these tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.official import write_model
from clients.parity import Ways, holdings, is_told, three_ways
from published import settled

FIELDS = ("ownerSlug", "slug", "title", "subtitle", "isPrivate", "description")


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    with three_ways(tmp_path_factory.mktemp("models")) as ways:
        yield ways


def test_models_init_three_ways(ways: Ways, tmp_path: Path) -> None:
    said = []
    for way in (ways.official.ok, ways.ours.ok):
        (tmp_path / "tmp").mkdir(exist_ok=True)
        said.append(way("init", "-p", tmp_path / "tmp"))
        (tmp_path / "tmp/model-metadata.json").rename(tmp_path / f"{len(said)}.json")
    assert said[0] == said[1]
    official, ours = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2))
    assert list(official.items()) == list(ours.items())
    # A new directory has the template too, and knows its names already.
    shown = json.loads(ways.shell("mkdir alice/fresh; cat alice/fresh/model-metadata.json"))
    named = {"ownerSlug": "alice", "slug": "fresh", "title": "fresh"}
    assert official | named == shown


def test_models_create_three_ways(ways: Ways, tmp_path: Path) -> None:
    write_model(tmp_path, slug="created", title="Created", publishTime="2024-01-02")
    said, ours = ways.both("create", "-p", tmp_path)
    assert said == ours
    assert said.startswith("Your model was created. Id=")
    # A directory becomes a model with the first version in it.
    ways.shell(
        f"mkdir -p alice/created/jax/base/1; cp {tmp_path}/model-metadata.json alice/created/;"
        "echo x > alice/created/jax/base/1/w; echo notes > alice/created/jax/base/1/NOTES"
    )
    settled(ways.mount / "alice/created/jax/base/1")
    found = [
        holdings(directory, ["alice/created"])["alice/created"]
        for directory in ways.registries.values()
    ]
    assert found[0] == found[1] == found[2]
    assert "2024-01-02" == found[0]["publishTime"]


def test_models_get_three_ways(ways: Ways, tmp_path: Path) -> None:
    assert is_told(*map(json.loads, ways.both("get", "alice/bert")))
    files = []
    for way in (ways.official.ok, ways.ours.ok):
        way("get", "alice/bert", "-p", tmp_path)
        files.append(json.loads((tmp_path / "model-metadata.json").read_text()))
        (tmp_path / "model-metadata.json").unlink()
    shown = json.loads(ways.shell("cat alice/bert/model-metadata.json"))
    for file in (*files, shown):
        assert ["alice", "bert", "BERT", "of tests", True, "# What it is"] == [
            file[field] for field in FIELDS
        ]
    assert shown.items() <= files[1].items()
    assert files[0]["id"] == files[1]["id"]


def test_models_list_three_ways(ways: Ways) -> None:
    for words in (
        ("--owner", "alice", "-s", "bert", "-v", "--sort-by", "createTime"),
        ("--owner", "alice", "-s", "bert", "--format", "json(ref, id)"),
        ("-s", "no such words"),
    ):
        official, ours = ways.both("list", *words)
        assert official == ours
    told = json.loads(ways.ours.ok("list", "--owner", "google", "--format", "json(ref)"))
    assert ["google/gemma"] == [row["ref"] for row in told]
    assert "gemma\n" == ways.shell("ls google")


def test_models_update_three_ways(ways: Ways, tmp_path: Path) -> None:
    changes = {"ownerSlug": "alice", "slug": "bert", "title": "After", "isPrivate": False}
    (tmp_path / "model-metadata.json").write_text(json.dumps(changes))
    official, ours = ways.both("update", "-p", tmp_path)
    assert official == ours
    assert official.startswith("Your model was updated. Id=")
    ways.shell(f"cp {tmp_path}/model-metadata.json alice/bert/model-metadata.json")
    found = ways.holding("alice/bert")["alice/bert"]
    assert ["After", False, "of tests"] == [
        found[key] for key in ("title", "isPrivate", "subtitle")
    ]


def test_models_delete_three_ways(ways: Ways) -> None:
    official, ours = ways.both("delete", "alice/doomed", typed="no\n")
    assert official == ours
    assert official.endswith("Deletion cancelled\n")
    assert "alice/doomed" in ways.holding("alice/doomed")
    official, ours = ways.both("delete", "alice/doomed", typed="yes\n")
    assert official == ours
    assert official.endswith("The model was deleted.\n")
    ways.shell("rm -r alice/doomed")
    assert {} == ways.holding("alice/doomed")
