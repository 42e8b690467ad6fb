"""The official wriftai package, unmodified, against our server: every method, sync and async."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clients.wriftai_session import OFFICIAL, OLD, Session
from serving import Served

DIGEST = "sha256:" + "a1" * 32
VERSION: dict[str, Any] = {
    "release_notes": "first",
    "schemas": {
        "prediction": {
            "input": {"type": "object", "properties": {"text": {"type": "string"}}},
            "output": {"type": "array", "items": {"type": "number"}},
        }
    },
    "container_image_digest": DIGEST,
}


@pytest.fixture(scope="module")
def official(registry: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(OFFICIAL, registry, tmp_path_factory.mktemp("wriftai") / "home") as session:
        yield session


@pytest.fixture(params=["sync", "async"])
def alice(official: Session, request: pytest.FixtureRequest) -> Session:
    official.mode = request.param
    return official


@pytest.fixture
def model(alice: Session, request: pytest.FixtureRequest) -> Iterator[str]:
    """A model of alice's without a version."""
    name = request.node.name.split("[")[0][-40:].strip("_")
    alice("models.create", {"name": name})
    yield f"alice/{name}"
    alice("models.delete", f"alice/{name}")


def test_somebody_is_who_they_are(alice: Session) -> None:
    me = alice("authenticated_user.get")
    assert "alice" == me["name"]
    assert me == alice("users.get", "alice")
    changed = alice("authenticated_user.update", {"bio": "hi", "urls": ["https://a"]})
    assert ("hi", ["https://a"]) == (changed["bio"], changed["urls"])
    changed = alice("authenticated_user.update", {"bio": None, "urls": None})
    assert (None, None) == (changed["bio"], changed["urls"])
    assert me["account_id"] == changed["account_id"]


def test_users_are_listed_and_found(alice: Session) -> None:
    for call in (("users.list",), ("users.search", "lic")):
        page = alice(*call)
        assert ["alice"] == [user["name"] for user in page["items"]]
    options = {"sort_by": "created_at", "sort_direction": "asc", "page_size": 5}
    assert ["alice"] == [user["name"] for user in alice("users.list", options)["items"]]
    assert [] == alice("users.search", "nobody at all")["items"]
    assert 404 == alice.refused("users.get", "nobody").status


def test_a_model_is_made_read_changed_and_deleted(alice: Session) -> None:
    params = {
        "name": "bert",
        "visibility": "private",
        "description": "a model",
        "overview": "# It",
        "source_url": "https://source",
        "license_url": "https://license",
        "paper_url": "https://paper",
        "category_slugs": ["text"],
    }
    made = alice("models.create", params)
    assert params == {**{key: made.get(key) for key in params}, "category_slugs": ["text"]}
    assert ["text"] == [category["slug"] for category in made["categories"]]
    assert made == alice("models.get", "alice/bert")
    changed = alice("models.update", "alice/bert", {"description": None, "name": "bart"})
    assert (None, "bart") == (changed["description"], changed["name"])
    assert changed == alice("models.get", "alice/bart")
    assert 404 == alice.refused("models.get", "alice/bert").status
    assert alice("models.delete", "alice/bart") is None
    assert 404 == alice.refused("models.delete", "alice/bart").status


def test_models_are_listed_searched_and_filtered(alice: Session) -> None:
    for number in range(7):
        params = {"name": f"listed-{number}", "category_slugs": ["odd" if number % 2 else "even"]}
        alice("models.create", params)

    def names(*call: Any, **options: Any) -> list[str]:
        return [item["name"] for item in alice(*call, **options)["items"]]

    newest = [f"listed-{number}" for number in reversed(range(7))]
    assert newest == names("models.list") == names("models.list", owner="alice")
    assert newest == names("authenticated_user.models") == names("models.search", "listed-")
    options = {"sort_by": "created_at", "sort_direction": "asc", "category_slugs": ["odd"]}
    assert ["listed-1", "listed-3", "listed-5"] == names("models.list", options)
    both = {"category_slugs": ["odd", "even"], "sort_by": "predictions_count"}
    assert newest == names("models.list", both)
    assert ["Even", "Odd"] == names("model_categories.list", None)
    assert 404 == alice.refused("models.list", owner="nobody").status
    for name in newest:
        alice("models.delete", f"alice/{name}")


def test_pages_are_turned_in_both_directions(alice: Session, model: str) -> None:
    for number in range(1, 13):
        alice("model_versions.create", model, {**VERSION, "release_notes": str(number)})
    page = alice("model_versions.list", model, {"page_size": 5})
    pages = [page]
    while page["next_cursor"]:
        options = {"page_size": 5, "cursor": page["next_cursor"]}
        page = alice("model_versions.list", model, options)
        pages.append(page)
    numbers = [item["number"] for page in pages for item in page["items"]]
    assert list(range(12, 0, -1)) == numbers
    options = {"page_size": 5, "cursor": page["previous_cursor"]}
    assert pages[1] == alice("model_versions.list", model, options)
    assert 12 == len(alice("model_versions.list", model, pagination_options=None)["items"])
    assert 422 == alice.refused("model_versions.list", model, {"page_size": 51}).status


def test_a_version_is_made_read_listed_and_deleted(alice: Session, model: str) -> None:
    made = alice("model_versions.create", model, {**VERSION, "compatibilities": {}})
    assert {"hardware_identifier": "cpu", "variable_names": []} == made.pop("configuration")
    assert (1, DIGEST) == (made["number"], made["container_image_digest"])
    assert VERSION["schemas"] == made["schemas"]
    assert made == alice("model_versions.get", f"{model}:1")
    assert made == alice("models.get", model)["latest_version"]
    second = alice("model_versions.create", model, {**VERSION, "release_notes": "second"})
    listed = alice("model_versions.list", model)["items"]
    assert [(2, "second"), (1, "first")] == [(i["number"], i["release_notes"]) for i in listed]
    assert alice("model_versions.delete", f"{model}:2") is None
    assert 404 == alice.refused("model_versions.get", f"{model}:2").status
    assert 404 == alice.refused("model_versions.delete", f"{model}:2").status
    third = alice("model_versions.create", model, VERSION)
    assert [2, 3] == [second["number"], third["number"]]


def test_a_configuration_is_read_changed_and_inherited(alice: Session, model: str) -> None:
    configuration = {"hardware_identifier": "gpu", "variable_names": ["A"]}
    alice("model_versions.create", model, {**VERSION, "configuration": configuration})
    assert configuration == alice("model_versions.get_configuration", f"{model}:1")
    changes = {"variable_names": ["B", "C"]}
    changed = alice("model_versions.update_configuration", f"{model}:1", changes)
    assert {**configuration, **changes} == changed
    assert changed == alice("model_versions.create", model, VERSION)["configuration"]


def test_hardware_is_listed(alice: Session) -> None:
    page = alice("hardware.list", {"page_size": 10})
    assert [("cpu", 0)] == [(item["identifier"], item["gpus"]) for item in page["items"]]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"release_notes": "x" * 256}, 422),
        ({"container_image_digest": "sha256:short"}, 422),
        ({"schemas": {"prediction": {"input": {}}}}, 422),
    ],
)
def test_what_cannot_be_is_refused(
    alice: Session, model: str, changes: dict[str, Any], status: int
) -> None:
    refused = alice.refused("model_versions.create", model, {**VERSION, **changes})
    assert ("HTTPStatusError", status) == (refused.kinds[0], refused.status)
    assert [] == alice("model_versions.list", model)["items"]


def test_a_name_is_taken_once(alice: Session, model: str) -> None:
    params = {"name": model.partition("/")[2]}
    assert 409 == alice.refused("models.create", params).status


@pytest.mark.parametrize("identifier", ["alice/m:x", "alice/m:1:2", "alice/m:0"])
def test_an_identifier_that_the_client_lets_through_is_refused(
    alice: Session, identifier: str
) -> None:
    assert 422 == alice.refused("model_versions.get", identifier).status


def test_an_identifier_of_too_many_parts_is_nothing(alice: Session) -> None:
    assert 404 == alice.refused("model_versions.get", "a/b/c:1").status


@pytest.mark.parametrize("token", ["", "wrong"])
def test_without_the_token_nothing_is_told(
    registry: Served, tmp_path_factory: pytest.TempPathFactory, token: str
) -> None:
    home = tmp_path_factory.mktemp("stranger") / "home"
    with Session(OFFICIAL, registry, home, token) as stranger:
        assert 401 == stranger.refused("authenticated_user.get").status
        assert 401 == stranger.refused("models.list").status


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_last_client_with_old_pages_is_served(
    registry: Served, tmp_path_factory: pytest.TempPathFactory, mode: str
) -> None:
    with Session(OLD, registry, tmp_path_factory.mktemp("old") / "home") as old:
        old.mode = mode
        made = old("models.create", {"name": "old", "hardware_identifier": "cpu"})
        assert made == old("models.get", "alice/old")
        for _ in range(6):
            old("model_versions.create", "alice/old", VERSION)
        page = old("model_versions.list", "alice/old", {"page_size": 5})
        assert f"{registry.url}/v1/models/alice/old/versions?page_size=5&cursor=" == (
            page["next_url"].removesuffix(page["next_cursor"].replace("=", "%3D"))
        )
        assert [DIGEST] * 5 == [item["container_image_digest"] for item in page["items"]]
        options = {"page_size": 5, "cursor": page["next_cursor"]}
        rest = old("model_versions.list", "alice/old", options)
        assert ([1], None) == ([item["number"] for item in rest["items"]], rest["next_url"])
        assert ["alice"] == [user["name"] for user in old("users.list")["items"]]
        assert ["old"] == [item["name"] for item in old("models.search", "old")["items"]]
        old("model_versions.delete", "alice/old:1")
        old("models.delete", "alice/old")
