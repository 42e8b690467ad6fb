"""The old protocol, with the quirks of each client that speaks it."""

from __future__ import annotations

from typing import Any

import pytest

from unit.server.client import Client

MODEL = "/api/v1/models/alice/bert"
INSTANCE = f"{MODEL}/pyTorch/base"


@pytest.fixture
def bert(client: Client) -> Client:
    values = {"ownerSlug": "alice", "slug": "bert", "title": "Bert", "isPrivate": True}
    assert client.signed("POST", "/api/v1/models/create/new", values).json["hasId"]
    return client


def create(client: Client, **more: Any) -> dict[str, Any]:
    """The instance, as kagglehub 0.3.13 makes it."""
    body = {
        "instanceSlug": "base",
        "framework": "pyTorch",
        "files": [{"token": client.upload("w.bin", b"weights")}],
        "directories": [],
        **more,
    }
    reply: dict[str, Any] = client.signed("POST", f"{MODEL}/create/instance", body).json
    return reply


def test_replies_of_changes_say_what_they_have(bert: Client) -> None:
    reply = create(bert)
    assert (True, True, False) == (reply["hasId"], reply["hasUrl"], reply["hasError"])
    assert reply["id"]
    again = create(bert)
    assert (False, True, 409) == (again["hasId"], again["hasError"], again["errorCode"])
    deleted = bert.signed("POST", f"{INSTANCE}/1/delete").json
    assert (False, "") == (deleted["hasError"], deleted["error"])


def test_enums_are_short(bert: Client) -> None:
    create(bert, modelInstanceType="base_model")
    reply = bert.signed("GET", f"{INSTANCE}/get").json
    assert ("pyTorch", "baseModel") == (reply["framework"], reply["modelInstanceType"])
    listed = bert.signed("GET", f"{MODEL}/list").json["instances"][0]
    assert ("ready", "none") == (listed["status"], listed["sigstoreState"])


@pytest.mark.parametrize("spelling", ["pyTorch", "py_torch", "pytorch", "PyTorch"])
def test_the_path_takes_any_spelling_of_a_framework(bert: Client, spelling: str) -> None:
    create(bert)
    assert 200 == bert.signed("GET", f"{MODEL}/{spelling}/base/files?page_size=25").status


def test_the_word_none_is_the_first_page(bert: Client) -> None:
    path = "/api/v1/models/list?sortBy=hotness&search=&owner=&pageSize=20&pageToken=None"
    assert ["alice/bert"] == [item["ref"] for item in bert.signed("GET", path).json["models"]]


def test_keys_may_be_lower_case_and_booleans_text(bert: Client) -> None:
    token = bert.upload("w", b"1")
    body = {
        "instanceslug": "base",
        "framework": "py_torch",
        "finetunable": "true",
        "licensename": "MIT",
        "files": [{"token": token}],
    }
    assert bert.signed("POST", f"{MODEL}/create/instance", body).json["hasId"]
    reply = bert.signed("GET", f"{INSTANCE}/get").json
    assert (True, "MIT") == (reply["fineTunable"], reply["licenseName"])
    headers = {"Content-Type": "text/plain"}
    listed = bert.signed("GET", f"{INSTANCE}/files?pagesize=1", **headers).json
    assert ["w"] == [item["name"] for item in listed["files"]]


def test_a_mask_may_be_an_object(bert: Client) -> None:
    values = {"title": "New", "subtitle": "no", "updateMask": {"paths": ["title", "is_private"]}}
    assert bert.signed("POST", f"{MODEL}/update", values).json["hasId"]
    reply = bert.signed("GET", f"{MODEL}/get").json
    assert ("New", "", False) == (reply["title"], reply["subtitle"], reply["isPrivate"])


def test_without_a_mask_what_is_there_is_updated(bert: Client) -> None:
    create(bert, usage="u", overview="o")
    values = {"ownerSlug": "alice", "framework": "py_torch", "overview": "", "fineTunable": "true"}
    assert bert.signed("POST", f"{INSTANCE}/update", values).json["hasId"]
    reply = bert.signed("GET", f"{INSTANCE}/get").json
    assert ("", "u", True) == (reply["overview"], reply["usage"], reply["fineTunable"])


def test_the_path_wins_over_the_body(bert: Client) -> None:
    values = {"modelslug": "other", "owner_slug": "bob", "title": "New"}
    assert bert.signed("POST", f"{MODEL}/update", values).json["hasId"]
    assert "New" == bert.signed("GET", f"{MODEL}/get").json["title"]


def test_versions_are_made_listed_and_downloaded(bert: Client) -> None:
    create(bert)
    body = {"versionNotes": "two", "files": [{"token": bert.upload("b c.txt", b"two")}]}
    assert bert.signed("POST", f"{INSTANCE}/create/version", body).json["hasId"]
    versions = bert.signed("GET", f"{INSTANCE}/list").json["versionList"]["versions"]
    assert [1, 2] == [item["versionNumber"] for item in versions]
    assert ["pyTorch"] * 2 == [item["framework"] for item in versions]
    files = bert.signed("GET", f"{INSTANCE}/2/files").json["files"]
    assert ["b c.txt"] == [item["name"] for item in files]
    answer = bert.signed("GET", f"{INSTANCE}/2/download/b%20c.txt")
    assert 302 == answer.status
    assert b"two" == bert.request("GET", answer.headers["location"]).body
    archive = bert.signed("GET", f"{INSTANCE}/2/download")
    assert "/bert.tar.gz?" in archive.headers["location"]


def test_deleting_needs_no_body(bert: Client) -> None:
    create(bert)
    for path in (f"{INSTANCE}/delete", f"{MODEL}/delete"):
        assert not bert.signed("POST", path).json["hasError"]
    assert 404 == bert.signed("GET", f"{MODEL}/get").status


def test_blobs_begin_and_the_caller_is_told(client: Client) -> None:
    values = {"type": "model", "name": "w", "contentLength": 1, "lastModifiedEpochSeconds": 5}
    assert {"token", "createUrl"} == set(client.signed("POST", "/api/v1/blobs/upload", values).json)
    assert "alice" == client.signed("GET", "/api/v1/hello").json["userName"]
    assert 401 == client.request("GET", "/api/v1/hello").status
