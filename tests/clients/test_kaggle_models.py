"""`kaggle models …` of the current official client, against our server."""

from __future__ import annotations

import json
from pathlib import Path

from clients.official import Official, write_model


def test_init_writes_a_template_that_create_refuses_until_it_is_filled_in(
    alice: Official, tmp_path: Path
) -> None:
    alice.ok("init", "-p", tmp_path)
    ran = alice.kaggle("create", "-p", tmp_path)
    assert ran.status == 1
    assert "Default ownerSlug detected" in ran.stdout + ran.stderr


def test_a_created_model_is_there_with_every_field(alice: Official, tmp_path: Path) -> None:
    folder = write_model(
        tmp_path / "m",
        slug="complete",
        title="The complete one",
        subtitle="with a subtitle",
        isPrivate=False,
        description="# What it is\n\nÄ model ☃",
        publishTime="2024-01-02",
        provenanceSources="somewhere",
    )
    assert alice.ok("create", "-p", folder).startswith("Your model was created. Id=")
    model = json.loads(alice.ok("get", "alice/complete"))
    assert model["id"] > 0
    model = {
        name: value
        for name, value in model.items()
        if name
        in {
            "ref",
            "title",
            "subtitle",
            "author",
            "slug",
            "isPrivate",
            "description",
            "publishTime",
            "provenanceSources",
        }
    }
    assert "2024-01-02" in model.pop("publishTime")
    assert model.get("isPrivate", False) is False
    model.pop("isPrivate", None)
    assert {
        "ref": "alice/complete",
        "title": "The complete one",
        "subtitle": "with a subtitle",
        "author": "alice",
        "slug": "complete",
        "description": "# What it is\n\nÄ model ☃",
        "provenanceSources": "somewhere",
    } == model


def test_the_same_slug_cannot_be_created_twice(alice: Official, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", slug="only-once", title="first")
    alice.ok("create", "-p", folder)
    write_model(tmp_path / "m", slug="only-once", title="second")
    ran = alice.kaggle("create", "-p", folder)
    assert "Your model was created" not in ran.stdout
    assert json.loads(alice.ok("get", "alice/only-once"))["title"] == "first"


def test_a_model_named_without_its_owner_is_my_own(alice: Official, tmp_path: Path) -> None:
    alice.ok("create", "-p", write_model(tmp_path / "m", slug="mine"))
    assert json.loads(alice.ok("get", "mine"))["ref"] == "alice/mine"


def test_get_writes_a_metadata_file_that_update_takes(alice: Official, tmp_path: Path) -> None:
    alice.ok("create", "-p", write_model(tmp_path / "m", slug="round-trip", title="before"))
    alice.ok("get", "alice/round-trip", "-p", tmp_path)
    path = tmp_path / "model-metadata.json"
    metadata = json.loads(path.read_text())
    assert ["alice", "round-trip", "before", True] == [
        metadata[name] for name in ("ownerSlug", "slug", "title", "isPrivate")
    ]
    # What the client writes for a model without a publish time is null, which it will not read.
    path.write_text(json.dumps({**metadata, "title": "after", "publishTime": ""}))
    alice.ok("update", "-p", tmp_path)
    assert json.loads(alice.ok("get", "alice/round-trip"))["title"] == "after"


def test_an_update_changes_what_it_names_and_nothing_else(alice: Official, tmp_path: Path) -> None:
    folder = write_model(
        tmp_path / "m", slug="updated", title="before", subtitle="stays", description="stays too"
    )
    alice.ok("create", "-p", folder)
    changes = {"ownerSlug": "alice", "slug": "updated", "title": "after", "isPrivate": False}
    (folder / "model-metadata.json").write_text(json.dumps(changes))
    assert alice.ok("update", "-p", folder).startswith("Your model was updated. Id=")
    model = json.loads(alice.ok("get", "alice/updated"))
    assert ["after", "stays", "stays too", False] == [
        model["title"],
        model["subtitle"],
        model["description"],
        model.get("isPrivate", False),
    ]


def test_models_are_listed_page_by_page(alice: Official, tmp_path: Path) -> None:
    for number in range(3):
        slug = f"paged-{number}"
        alice.ok("create", "-p", write_model(tmp_path / slug, slug=slug, title=f"Paged {number}"))
    words = ("list", "--owner", "alice", "-s", "paged", "--sort-by", "createTime")
    rows, token = alice.page(*words, "--page-size", "2")
    assert 2 == len(rows)
    assert token
    assert {"alice/paged-0", "alice/paged-1", "alice/paged-2"} == {
        row["ref"] for row in alice.pages(*words)
    }
    assert 3 == len(alice.rows(*words))


def test_a_list_can_be_json(alice: Official, tmp_path: Path) -> None:
    alice.ok("create", "-p", write_model(tmp_path / "m", slug="as-json", title="As JSON"))
    rows = json.loads(alice.ok("list", "-s", "as-json", "--format", "json"))
    assert [("alice/as-json", "As JSON", "alice")] == [
        (row["ref"], row["title"], row["author"]) for row in rows
    ]


def test_a_search_that_finds_nothing_says_so(alice: Official) -> None:
    assert "No models found" in alice.ok("list", "-s", "no-such-model-anywhere")


def test_a_deletion_that_is_not_confirmed_deletes_nothing(alice: Official, tmp_path: Path) -> None:
    alice.ok("create", "-p", write_model(tmp_path / "m", slug="kept"))
    assert "Deletion cancelled" in alice.ok("delete", "alice/kept", typed="no\n")
    assert json.loads(alice.ok("get", "alice/kept"))["slug"] == "kept"


def test_a_deleted_model_is_gone(alice: Official, tmp_path: Path) -> None:
    alice.ok("create", "-p", write_model(tmp_path / "m", slug="deleted"))
    assert "The model was deleted." in alice.ok("delete", "alice/deleted", "-y")
    assert 1 == alice.kaggle("get", "alice/deleted").status
    assert [] == alice.rows("list", "-s", "deleted", "--owner", "alice")


def test_an_unknown_model_is_an_error_with_a_reason(alice: Official) -> None:
    ran = alice.kaggle("get", "alice/never-made")
    assert 1 == ran.status
    assert "Traceback" not in ran.stderr
    assert "never-made" in ran.stderr
