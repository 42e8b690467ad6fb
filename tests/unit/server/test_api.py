"""The methods of today's protocol, over a real socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelfs.server.app import Settings, running
from unit.server.client import FRAMEWORK, INSTANCE, Client


@pytest.fixture
def bert(client: Client) -> Client:
    """A client whose registry holds alice/bert/pytorch/base/1."""
    assert 200 == client.create_model().status
    files = {"w.bin": b"weights", "nested/deep/c.json": b"{}", "empty": b""}
    answer = client.create_instance(files, licenseName="MIT", usage="u", trainingData=["a", "b"])
    assert 200 == answer.status
    return client


def test_both_prefixes_answer(client: Client) -> None:
    for prefix in ("/v1", "/api/v1"):
        answer = client.signed("POST", f"{prefix}/models.ModelApiService/ListModels", {})
        assert {"models": [], "nextPageToken": ""} == answer.json


def test_a_model_is_made_read_changed_and_deleted(client: Client) -> None:
    made = client.create_model(publishTime="2024-01-02", description="# Hi").json
    assert made["id"]
    assert "alice/bert" == made["ref"]
    name = {"ownerSlug": "alice", "modelSlug": "bert"}
    model = client.rpc("GetModel", **name).json
    assert ("Bert", True, "# Hi") == (model["title"], model["isPrivate"], model["description"])
    assert "2024-01-02T00:00:00.000Z" == model["publishTime"]
    # Masked and absent means back to the default: this is how a client says "public".
    mask = "isPrivate,title"
    changed = client.rpc("UpdateModel", **name, title="New", updateMask=mask, description="x")
    assert changed.json["id"]
    model = client.rpc("GetModel", **name).json
    assert ("New", False, "# Hi") == (model["title"], model["isPrivate"], model["description"])
    assert {} == client.rpc("DeleteModel", **name).json
    assert 404 == client.rpc("GetModel", **name).status


def test_a_taken_model_slug_is_a_conflict(client: Client) -> None:
    client.create_model()
    answer = client.create_model()
    assert 409 == answer.status
    assert 409 == answer.json["code"]


def test_an_instance_has_what_was_sent(bert: Client) -> None:
    instance = bert.rpc("GetModelInstance", **INSTANCE).json
    assert FRAMEWORK == instance["framework"]
    assert ("MIT", "u", ["a", "b"]) == (
        instance["licenseName"],
        instance["usage"],
        instance["trainingData"],
    )
    assert 1 == instance["versionNumber"]
    assert "/models/alice/bert/PyTorch/base/1/download" == instance["downloadUrl"]
    assert 9 == instance["totalUncompressedBytes"]
    model = bert.rpc("GetModel", ownerSlug="alice", modelSlug="bert").json
    assert [instance] == model["instances"]
    listed = bert.rpc("ListModelInstances", ownerSlug="alice", modelSlug="bert").json
    assert ["READY"] == [item["status"] for item in listed["instances"]]
    assert instance.items() <= listed["instances"][0].items()


@pytest.mark.parametrize("spelling", ["pyTorch", "py_torch", "PYTORCH", "PyTorch", FRAMEWORK])
def test_a_framework_is_found_in_any_spelling(bert: Client, spelling: str) -> None:
    assert 200 == bert.rpc("GetModelInstance", **{**INSTANCE, "framework": spelling}).status


def test_an_unknown_framework_is_a_bad_request(bert: Client) -> None:
    assert 400 == bert.rpc("GetModelInstance", **{**INSTANCE, "framework": "tf"}).status


def test_an_existing_instance_is_not_an_http_error(bert: Client) -> None:
    answer = bert.create_instance({})
    assert 200 == answer.status
    assert 409 == answer.json["errorCode"]
    assert answer.json["error"]


def test_an_update_changes_what_its_mask_says(bert: Client) -> None:
    changes = {"overview": "o", "usage": "kept", "updateMask": "overview,licenseName"}
    assert bert.rpc("UpdateModelInstance", **INSTANCE, **changes).json["id"]
    instance = bert.rpc("GetModelInstance", **INSTANCE).json
    assert ("o", "", "u") == (instance["overview"], instance["licenseName"], instance["usage"])


def test_versions_are_listed_with_notes_and_pages(bert: Client) -> None:
    for number in (2, 3):
        made = bert.create_version({"w.bin": b"x" * number}, f"notes {number}").json
        assert f"alice/bert/pytorch/base/{number}" == made["ref"]
        assert made["id"]
        assert made["url"].endswith(f"/{number}")
    first = bert.rpc("ListModelInstanceVersions", **INSTANCE, pageSize=2).json
    token = first["nextPageToken"]
    second = bert.rpc("ListModelInstanceVersions", **INSTANCE, pageSize=2, pageToken=token).json
    assert token
    assert "" == second["nextPageToken"]
    versions = first["versionList"]["versions"] + second["versionList"]["versions"]
    assert [(1, ""), (2, "notes 2"), (3, "notes 3")] == [
        (item["versionNumber"], item["versionNotes"]) for item in versions
    ]
    assert {} == bert.rpc("DeleteModelInstanceVersion", **INSTANCE, versionNumber=3).json
    assert 2 == bert.rpc("GetModelInstance", **INSTANCE).json["versionNumber"]


def test_files_are_listed_with_their_directories(bert: Client) -> None:
    bert.create_version({"other": b"1"})
    listed = bert.rpc("ListModelInstanceVersionFiles", **INSTANCE, versionNumber=1).json
    assert [("empty", 0), ("nested/deep/c.json", 2), ("w.bin", 7)] == [
        (item["name"], item["size"]) for item in listed["files"]
    ]
    current = bert.rpc("ListModelInstanceVersionFiles", **INSTANCE).json
    assert ["other"] == [item["name"] for item in current["files"]]


def test_the_caller_and_the_token_are_told(client: Client) -> None:
    hello = client.signed("POST", "/api/v1/api.v1.DiagnosticsService/Hello", {})
    assert "alice" == hello.json["userName"]
    path = "/v1/security.OAuthService/IntrospectToken"
    body = json.dumps({"token": client.token}).encode()
    told = client.request("POST", path, body).json
    assert (True, "alice") == (told["active"], told["username"])
    # Not 401: with that, the official client dies instead of trying its next credentials.
    assert 404 == client.request("POST", path, b'{"token":"guess"}').status


def test_without_the_token_nothing_is_told(client: Client) -> None:
    client.create_model(isPrivate=False)
    for stranger in (Client(client.url), Client(client.url, "guess")):
        answer = stranger.rpc("GetModel", ownerSlug="alice", modelSlug="bert")
        assert 401 == answer.status
        assert 401 == answer.json["code"]
        assert client.token not in answer.body.decode()


def test_another_owner_is_forbidden(client: Client) -> None:
    assert 403 == client.create_model(owner="bob").status
    name = {"ownerSlug": "bob", "modelSlug": "m"}
    assert 403 == client.rpc("DeleteModel", **name).status
    assert 403 == client.rpc("UpdateModel", **name, title="x").status


@pytest.mark.parametrize(
    ("method", "values", "status"),
    [
        ("GetModel", {"ownerSlug": "alice", "modelSlug": "no"}, 404),
        ("GetModel", {"ownerSlug": 3.5, "modelSlug": []}, 400),
        ("CreateModel", {"ownerSlug": "alice", "slug": "../x", "title": "x"}, 400),
        ("CreateModel", {"ownerSlug": "alice", "slug": "", "title": "x"}, 400),
        ("CreateModel", {"ownerSlug": "alice", "slug": "x", "publishTime": "soon"}, 400),
        ("ListModels", {"pageToken": "!"}, 400),
        ("ListModels", {"pageSize": -1}, 400),
        ("ListModels", {"sortBy": "beauty"}, 400),
        ("DownloadModelInstanceVersion", {**INSTANCE, "versionNumber": 0}, 400),
        ("DownloadModelInstanceVersion", {**INSTANCE, "versionNumber": 9}, 404),
        ("DownloadModelInstanceVersion", {**INSTANCE, "versionNumber": 1, "path": "../w"}, 400),
        ("DownloadModelInstanceVersion", {**INSTANCE, "versionNumber": 1, "path": "no"}, 404),
        ("CreateModelInstanceVersion", {**INSTANCE, "body": {"files": [{"token": "x"}]}}, 404),
        ("CreateModelInstanceVersion", {**INSTANCE, "body": {"files": "x"}}, 400),
        ("CreateModelSigningToken", {}, 501),
        ("Invent", {}, 404),
    ],
)
def test_what_cannot_be_is_answered_in_a_sentence(
    bert: Client, method: str, values: dict[str, object], status: int
) -> None:
    answer = bert.rpc(method, **values)
    assert (status, status) == (answer.status, answer.json["code"])
    assert answer.json["message"]
    assert "Traceback" not in answer.body.decode()


def test_directories_can_only_be_so_deep(bert: Client) -> None:
    tree: dict[str, object] = {}
    for _ in range(300):
        tree = {"directories": [{"name": "d", **tree}]}
    assert 400 == bert.rpc("CreateModelInstanceVersion", **INSTANCE, body=tree).status


def test_a_file_name_that_leaves_its_directory_is_refused(bert: Client) -> None:
    for name in ("../x", "a/b", "", "..", "a\0b"):
        answer = bert.rpc("StartBlobUpload", "blobs.BlobApiService", name=name, contentLength=1)
        assert 400 == answer.status
    body = {"directories": [{"name": "..", "files": [{"token": bert.upload("x", b"1")}]}]}
    assert 400 == bert.rpc("CreateModelInstanceVersion", **INSTANCE, body=body).status


def test_somebody_elses_private_model_is_not_there(directory: Path) -> None:
    with running(Settings(directory, "alice", is_open=True)) as url:
        everybody = Client(url)
        everybody.create_model()
        everybody.create_instance({"w": b"weights"})
        everybody.create_model(slug="public", isPrivate=False)
    with running(Settings(directory, "bob")) as url:
        bob = Client(url, (directory / "token").read_text().strip())
        listed = bob.rpc("ListModels").json["models"]
        assert ["alice/public"] == [model["ref"] for model in listed]
        for method in (
            "GetModel",
            "ListModelInstances",
            "GetModelInstance",
            "ListModelInstanceVersions",
            "ListModelInstanceVersionFiles",
            "DownloadModelInstanceVersion",
        ):
            answer = bob.rpc(method, **INSTANCE, versionNumber=1)
            missing = bob.rpc(method, **{**INSTANCE, "modelSlug": "missing"}, versionNumber=1)
            assert (404, 404) == (answer.status, missing.status), method
            # Not told apart from what does not exist.
            assert missing.body.replace(b"missing", b"bert") == answer.body
        assert 403 == bob.rpc("DeleteModel", **INSTANCE).status


def test_an_open_registry_asks_nobody(open_client: Client) -> None:
    assert 200 == open_client.create_model(owner="bob").status
    assert 200 == open_client.rpc("GetModel", ownerSlug="bob", modelSlug="bert").status
    path = "/api/v1/api.v1.DiagnosticsService/Hello"
    assert "alice" == open_client.signed("POST", path, {}).json["userName"]
    carol = Client(open_client.url, authorization="Basic Y2Fyb2w6eA==")
    assert "carol" == carol.signed("POST", path, {}).json["userName"]


def test_an_open_registry_does_not_answer_web_pages(open_client: Client) -> None:
    path = "/v1/models.ModelApiService/ListModels"
    assert 403 == open_client.signed("POST", path, {}, Origin="http://evil.example").status
    assert 403 == open_client.signed("POST", path, {}, Host="evil.example").status
    assert 200 == open_client.signed("POST", path, {}, Host="localhost").status


def test_people_get_a_page_and_tests_get_counters(client: Client) -> None:
    page = client.request("GET", "/")
    assert "text/html; charset=utf-8" == page.headers["content-type"]
    assert f"kaggle+{client.url}" in page.body.decode()
    client.upload("w", b"12345")
    stats = client.request("GET", "/-/stats").json
    assert 1 == stats["requests"]["page"]
    assert 5 == stats["bytes_received"]["upload"]
    assert 0 == stats["bytes_served"]


def test_unknown_paths_and_verbs_are_answered_as_json(client: Client) -> None:
    assert {"code": 404, "message": "not found"} == client.request("GET", "/nothing").json
    answer = client.request("DELETE", "/v1/hello")
    assert 405 == answer.status
    assert "GET" in answer.headers["allow"]


def test_behind_a_proxy_that_ends_tls_addresses_begin_with_https(client: Client) -> None:
    head = {"X-Forwarded-Proto": "https", "Host": "models.example"}
    values = {"type": "MODEL", "name": "f", "contentLength": 1}
    answer = client.signed("POST", "/v1/blobs.BlobApiService/StartBlobUpload", values, **head)
    assert answer.json["createUrl"].startswith("https://models.example/")
