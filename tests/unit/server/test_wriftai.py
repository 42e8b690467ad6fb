"""WriftAI's protocol over a real socket, byte by byte where its clients are particular."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelfs.registry.local import Store, database
from modelfs.server import rest, wriftai
from modelfs.server.app import Settings, running
from modelfs.server.limits import Limits
from polling import wait_for
from unit.server.client import Answer, Client

DIGEST = "sha256:" + "0f" * 32
VERSION = {
    "release_notes": "first",
    "schemas": {"prediction": {"input": {"type": "object"}, "output": {"type": "string"}}},
    "container_image_digest": DIGEST,
}
M1 = "/v1/models/alice/m1"
VERSIONS = f"{M1}/versions"

PATHS = [
    ("GET", "/v1/user"),
    ("PATCH", "/v1/user"),
    ("GET", "/v1/user/models"),
    ("GET", "/v1/users"),
    ("GET", "/v1/users/alice"),
    ("GET", "/v1/search/users?q=a"),
    ("GET", "/v1/models"),
    ("POST", "/v1/models"),
    ("GET", "/v1/models/alice"),
    ("GET", M1),
    ("PATCH", M1),
    ("DELETE", M1),
    ("GET", "/v1/search/models?q=a"),
    ("GET", VERSIONS),
    ("POST", VERSIONS),
    ("GET", f"{VERSIONS}/1"),
    ("DELETE", f"{VERSIONS}/1"),
    ("GET", f"{VERSIONS}/1/configuration"),
    ("PATCH", f"{VERSIONS}/1/configuration"),
    ("GET", "/v1/hardware"),
    ("GET", "/v1/model_categories"),
]


@pytest.fixture
def m1(client: Client) -> Client:
    """A client whose registry holds the model alice/m1 without a version."""
    assert 201 == client.signed("POST", "/v1/models", {"name": "m1"}).status
    return client


def faults(answer: Answer) -> dict[str, str]:
    """Where a request is wrong, and in which way."""
    assert 422 == answer.status, answer.body
    return {".".join(map(str, item["loc"])): item["type"] for item in answer.json["detail"]}


def create(client: Client, **changes: Any) -> Answer:
    return client.signed("POST", VERSIONS, {**VERSION, **changes})


def test_a_model_has_all_its_keys(client: Client) -> None:
    answer = client.signed("POST", "/v1/models", {"name": "m1", "category_slugs": ["text-to-x"]})
    assert 201 == answer.status
    user = client.signed("GET", "/v1/user").json
    expected = {
        "name": "m1",
        "visibility": "private",
        "description": None,
        "updated_at": None,
        "owner": {key: user[key] for key in ("account_id", "name", "avatar_url")},
        "predictions_count": 0,
        "categories": [{"name": "Text to x", "slug": "text-to-x"}],
        "cover_image_url": None,
    }
    details = dict.fromkeys(("overview", "latest_version", "source_url", "license_url"))
    details |= {"paper_url": None}
    made = {key: answer.json[key] for key in ("id", "created_at")}
    assert {**expected, **details, **made} == answer.json
    assert answer.json == client.signed("GET", M1).json
    assert [{**expected, **made}] == client.signed("GET", "/v1/models").json["items"]


def test_a_version_has_all_its_keys(m1: Client) -> None:
    asked = {"compatibilities": {"openai_responses": True}, "unknown": 1}
    answer = create(m1, configuration={"hardware_identifier": "h", "variable_names": []}, **asked)
    assert 201 == answer.status
    flags = dict.fromkeys(
        ("openai_chat_completions", "openai_embeddings", "openai_images_generations"), False
    ) | {"openai_responses": True, "anthropic_messages": False}
    listed = {
        "number": 1,
        "release_notes": "first",
        "created_at": answer.json["created_at"],
        "container_image_digest": DIGEST,
    }
    details = {**listed, "schemas": VERSION["schemas"], "compatibilities": flags}
    configuration = {"hardware_identifier": "h", "variable_names": []}
    assert {**details, "configuration": configuration} == answer.json
    assert details == m1.signed("GET", f"{VERSIONS}/1").json
    assert details == m1.signed("GET", M1).json["latest_version"]
    assert [listed] == m1.signed("GET", VERSIONS).json["items"]
    assert configuration == m1.signed("GET", f"{VERSIONS}/1/configuration").json


def test_a_user_has_all_its_keys(client: Client) -> None:
    user = client.signed("GET", "/v1/user").json
    nullable = ("display_name", "bio", "location", "company", "updated_at", "urls")
    assert dict.fromkeys(nullable) == {key: user[key] for key in nullable}
    assert user == client.signed("GET", "/v1/users/alice").json
    del user["urls"]
    assert [user] == client.signed("GET", "/v1/users").json["items"]


def test_what_was_deleted_is_answered_with_null(m1: Client) -> None:
    create(m1)
    for path in (f"{VERSIONS}/1", M1):
        answer = m1.signed("DELETE", path)
        assert (200, b"null") == (answer.status, answer.body)
        answer = m1.signed("DELETE", path)
        assert (404, "no such") == (answer.status, answer.json["detail"].split(": ")[1][:7])


def test_a_page_has_three_keys_and_no_other(m1: Client) -> None:
    for _ in range(7):
        create(m1)
    page = m1.signed("GET", f"{VERSIONS}?page_size=5").json
    assert ["items", "next_cursor", "previous_cursor"] == list(page)
    assert [7, 6, 5, 4, 3] == [item["number"] for item in page["items"]]
    assert page["previous_cursor"] is None
    rest = m1.signed("GET", f"{VERSIONS}?page_size=5&cursor={page['next_cursor']}").json
    assert ([2, 1], None) == ([item["number"] for item in rest["items"]], rest["next_cursor"])
    again = m1.signed("GET", f"{VERSIONS}?page_size=5&cursor={rest['previous_cursor']}").json
    assert page == again


@pytest.mark.parametrize("minor", ["0.29.0", "0.30.0", "0.9.1"])
def test_old_clients_are_told_the_addresses_of_pages(m1: Client, minor: str) -> None:
    for _ in range(6):
        create(m1)
    agent = {"User-Agent": f"wriftai-python/{minor}"}
    page = m1.signed("GET", f"{VERSIONS}?page_size=5", **agent).json
    assert page["next_url"].startswith(f"{m1.url}{VERSIONS}?page_size=5&cursor=")
    assert page["previous_url"] is None
    rest = m1.signed("GET", page["next_url"], **agent).json
    assert [1] == [item["number"] for item in rest["items"]]
    assert page["items"] == m1.signed("GET", rest["previous_url"], **agent).json["items"]


@pytest.mark.parametrize("agent", ["wriftai-python/0.31.0", "wriftai-python/1.0.0", "curl/8", ""])
def test_others_are_not(m1: Client, agent: str) -> None:
    page = m1.signed("GET", VERSIONS, **{"User-Agent": agent}).json
    assert ["items", "next_cursor", "previous_cursor"] == list(page)


@pytest.mark.parametrize(("verb", "path"), PATHS)
def test_every_path_wants_the_token(client: Client, verb: str, path: str) -> None:
    for token in ("", "wrong"):
        answer = Client(client.url, token).signed(verb, path)
        assert 401 == answer.status
        assert isinstance(answer.json["detail"], str)
        assert {"x-request-id", "x-ratelimit-reset"} <= answer.headers.keys()


@pytest.mark.parametrize(("verb", "path"), PATHS)
def test_every_reply_has_its_headers(client: Client, verb: str, path: str) -> None:
    answer = client.signed(verb, path)
    assert "application/json; charset=utf-8" == answer.headers["content-type"]
    assert answer.body
    assert 0 <= int(answer.headers["x-ratelimit-reset"]) - time.time() + 1 <= 2
    assert "1000" == answer.headers["x-ratelimit-limit"]
    assert int(answer.headers["x-ratelimit-remaining"]) < 1000
    assert answer.headers["x-request-id"] != client.signed(verb, path).headers["x-request-id"]


def test_the_name_of_a_request_is_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "modelfs.server.observing")
    told = client.signed("GET", "/v1/user").headers["x-request-id"]
    wait_for(lambda: any(line.endswith(f" ms {told}") for line in caplog.messages), 10, "logged")


def test_too_many_calls_are_told_when_to_come_back(directory: Path) -> None:
    with running(Settings(directory, "alice", limits=Limits(calls_per_second=0))) as url:
        answer = Client(url, (directory / "token").read_text().strip()).signed("GET", "/v1/user")
    assert (429, "0") == (answer.status, answer.headers["x-ratelimit-remaining"])
    assert float(answer.headers["x-ratelimit-reset"]) <= time.time() + 1
    assert "too many" in answer.json["detail"]


@pytest.mark.parametrize(
    ("changes", "place", "kind"),
    [
        ({"release_notes": "x" * 256}, "body.release_notes", "string_too_long"),
        ({"release_notes": None}, "body.release_notes", "string_type"),
        ({"release_notes": "\ud800"}, "body.release_notes", "string_unicode"),
        (
            {"container_image_digest": DIGEST.upper()},
            "body.container_image_digest",
            "string_pattern_mismatch",
        ),
        (
            {"container_image_digest": DIGEST + "\n"},
            "body.container_image_digest",
            "string_pattern_mismatch",
        ),
        ({"schemas": {}}, "body.schemas.prediction", "missing"),
        ({"schemas": {"prediction": []}}, "body.schemas.prediction", "dict_type"),
        ({"schemas": {"prediction": {"input": {}}}}, "body.schemas.prediction.output", "missing"),
        (
            {"schemas": {"prediction": {"input": "{}", "output": {}}}},
            "body.schemas.prediction.input",
            "dict_type",
        ),
        (
            {"schemas": {"prediction": {"input": {}, "output": {}, "stream_output": 1}}},
            "body.schemas.prediction.stream_output",
            "dict_type",
        ),
        (
            {"compatibilities": {"openai_responses": "yes"}},
            "body.compatibilities.openai_responses",
            "bool_type",
        ),
        (
            {"configuration": {"hardware_identifier": 1}},
            "body.configuration.hardware_identifier",
            "string_type",
        ),
        (
            {"configuration": {"variable_names": ["A", 1]}},
            "body.configuration.variable_names.1",
            "string_type",
        ),
    ],
)
def test_a_version_that_cannot_be_is_refused(
    m1: Client, changes: dict[str, Any], place: str, kind: str
) -> None:
    assert {place: kind} == faults(create(m1, **changes))
    assert [] == m1.signed("GET", VERSIONS).json["items"]


def test_all_that_is_wrong_is_told_at_once(m1: Client) -> None:
    found = faults(m1.signed("POST", VERSIONS, {"release_notes": "x" * 256}))
    expected = {"release_notes", "schemas", "container_image_digest"}
    assert {f"body.{name}" for name in expected} == found.keys()


def test_a_schema_can_be_deep_but_not_without_end(m1: Client) -> None:
    for depth, status in ((90, 201), (200, 422), (100_000, 422)):
        schema = '{"x":' * depth + "{}" + "}" * depth
        body = json.dumps({**VERSION, "schemas": {"prediction": {"input": 0, "output": {}}}})
        sent = body.replace('"input": 0', f'"input": {schema}').encode()
        headers = {"Authorization": f"Bearer {m1.token}"}
        assert status == m1.request("POST", VERSIONS, sent, headers).status, depth
    assert 200 == m1.signed("GET", M1).status


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b'{"name": NaN}'], ids=ascii)
def test_a_body_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {client.token}"}
    answer = client.request("POST", "/v1/models", body, headers)
    assert 422 == answer.status
    assert answer.json["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize(
    "name", ["", ".x", "a/b", "a:1", "a b", "\u00e9", "x" * 101, "desktop.ini"]
)
def test_a_model_cannot_have_every_name(client: Client, name: str) -> None:
    answer = client.signed("POST", "/v1/models", {"name": name})
    assert {"body.name": "string_pattern_mismatch"} == faults(answer)


def test_what_a_model_says_is_changed_and_cleared(m1: Client) -> None:
    texts = ("description", "overview", "source_url", "license_url", "paper_url")
    values = {name: f"https://{name}" for name in texts}
    changed = m1.signed("PATCH", M1, {**values, "visibility": "public"}).json
    assert values == {name: changed[name] for name in texts}
    assert ("public", True) == (changed["visibility"], changed["updated_at"] is not None)
    changed = m1.signed("PATCH", M1, {"overview": None, "category_slugs": ["a"]}).json
    assert (None, "public") == (changed["overview"], changed["visibility"])
    assert values["description"] == changed["description"]
    changed = m1.signed("PATCH", M1, {"category_slugs": []}).json
    assert [] == changed["categories"]
    place = {"body.visibility": "enum"}
    assert place == faults(m1.signed("PATCH", M1, {"visibility": "secret"}))


def test_a_name_that_is_taken_is_a_conflict(m1: Client) -> None:
    assert 409 == m1.signed("POST", "/v1/models", {"name": "m1"}).status
    m1.signed("POST", "/v1/models", {"name": "m2"})
    assert 409 == m1.signed("PATCH", M1, {"name": "m2"}).status
    assert 200 == m1.signed("PATCH", M1, {"name": "m1"}).status


@pytest.mark.parametrize("number", ["0", "x", "1:2", "-1", "01", "1.0", "9" * 11, "%20"])
def test_a_number_that_is_none_is_refused(m1: Client, number: str) -> None:
    assert {"path.number": "int_parsing"} == faults(m1.signed("GET", f"{VERSIONS}/{number}"))


@pytest.mark.parametrize("path", ["/v1/models/a/b/c/versions/1", "/v1/nothing"])
def test_what_is_no_path_is_answered_as_json(client: Client, path: str) -> None:
    answer = client.signed("GET", path)
    assert (404, 404) == (answer.status, answer.json["code"])


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("page_size=4", "query.page_size"),
        ("page_size=51", "query.page_size"),
        ("page_size=x", "query.page_size"),
        ("sort_by=name", "query.sort_by"),
        ("sort_direction=up", "query.sort_direction"),
        ("cursor=x", "query"),
    ],
)
def test_a_query_that_cannot_be_is_refused(client: Client, query: str, place: str) -> None:
    for path in ("/v1/models", "/v1/users"):
        assert place in faults(client.signed("GET", f"{path}?{query}"))
    assert {"query.q": "missing"} == faults(client.signed("GET", "/v1/search/models"))


def test_lists_are_sorted_and_filtered(client: Client) -> None:
    for name, slugs in (("m1", ["a"]), ("m2", ["b"]), ("m3", ["a", "c"])):
        client.signed("POST", "/v1/models", {"name": name, "category_slugs": slugs})

    def names(query: str) -> list[str]:
        return [item["name"] for item in client.signed("GET", f"/v1/{query}").json["items"]]

    assert ["m3", "m2", "m1"] == names("models") == names("user/models") == names("models/alice")
    assert ["m1", "m2", "m3"] == names("models?sort_direction=asc&sort_by=predictions_count")
    assert ["m3", "m2"] == names("models?category_slugs=b&category_slugs=c")
    assert ["m2"] == names("search/models?q=2")
    assert ["A", "B", "C"] == names("model_categories")
    assert ["CPU"] == names("hardware")
    assert ["alice"] == names("users?sort_by=created_at") == names("search/users?q=LIC")
    assert 404 == client.signed("GET", "/v1/models/nobody").status
    assert 404 == client.signed("GET", "/v1/users/nobody").status


def test_a_user_says_what_they_like_but_not_who_they_are(client: Client) -> None:
    values = {"display_name": "Al", "bio": "b", "urls": ["http://a"], "company": "c"}
    changed = client.signed("PATCH", "/v1/user", {**values, "name": "alice"}).json
    assert values == {key: changed[key] for key in values}
    assert "Al" == client.signed("PATCH", "/v1/user", {"bio": None}).json["display_name"]
    assert client.signed("GET", "/v1/user").json["bio"] is None
    assert 403 == client.signed("PATCH", "/v1/user", {"name": "bob"}).status
    assert {"body.urls.0": "string_type"} == faults(
        client.signed("PATCH", "/v1/user", {"urls": [1]})
    )


def test_a_configuration_changes_and_the_version_does_not(m1: Client) -> None:
    before = create(m1).json
    path = f"{VERSIONS}/1/configuration"
    changed = m1.signed("PATCH", path, {"variable_names": ["B", "A"]}).json
    assert {"hardware_identifier": "cpu", "variable_names": ["B", "A"]} == changed
    changed = m1.signed("PATCH", path, {"hardware_identifier": "gpu-1"}).json
    assert {"hardware_identifier": "gpu-1", "variable_names": ["B", "A"]} == changed
    assert changed == m1.signed("GET", path).json
    assert changed == create(m1).json["configuration"]
    assert {"body.variable_names": "list_type"} == faults(
        m1.signed("PATCH", path, {"variable_names": "A"})
    )
    for verb in ("PATCH", "PUT", "POST"):
        assert 405 == m1.signed(verb, f"{VERSIONS}/1", VERSION).status
    del before["configuration"]
    assert before == m1.signed("GET", f"{VERSIONS}/1").json


def test_a_request_with_the_key_of_another_is_that_one_again(m1: Client) -> None:
    key = {"Idempotency-Key": "k"}
    first = m1.signed("POST", VERSIONS, VERSION, **key)
    again = m1.signed("POST", VERSIONS, VERSION, **key)
    assert (201, first.json) == (again.status, again.json)
    answer = m1.signed("POST", VERSIONS, {**VERSION, "release_notes": "other"}, **key)
    assert {"body": "value_error"} == faults(answer)
    assert 2 == create(m1).json["number"]


def test_what_is_refused_for_now_was_not_made(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The official client sends it again after this answer, without a key.
    monkeypatch.setattr(database, "_TURN", 0.2)
    with running(Settings(directory, "alice")) as url:
        client = Client(url, (directory / "token").read_text().strip())
        client.signed("POST", "/v1/models", {"name": "m1"})
        with closing(sqlite3.connect(directory / "registry.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = create(client)
            assert (503, "busy" in answer.json["detail"]) == (answer.status, True)
        assert 1 == create(client).json["number"]
        assert 1 == len(client.signed("GET", VERSIONS).json["items"])


def test_what_is_private_is_hidden_from_others(directory: Path) -> None:
    def token() -> str:
        return (directory / "token").read_text().strip()

    with running(Settings(directory, "bob")) as url:
        bob = Client(url, token())
        for name, visibility in (("secret", "private"), ("shown", "public")):
            bob.signed("POST", "/v1/models", {"name": name, "visibility": visibility})
            bob.signed("POST", f"/v1/models/bob/{name}/versions", VERSION)
    with running(Settings(directory, "alice")) as url:
        alice = Client(url, token())
        assert ["shown"] == [i["name"] for i in alice.signed("GET", "/v1/models").json["items"]]
        for name, reads, writes in (("secret", 404, 404), ("shown", 200, 403)):
            model = f"/v1/models/bob/{name}"
            for path in (model, f"{model}/versions", f"{model}/versions/1"):
                assert reads == alice.signed("GET", path).status
            configuration = f"{model}/versions/1/configuration"
            assert writes == alice.signed("GET", configuration).status
            assert writes == alice.signed("PATCH", configuration, {}).status
            assert writes == alice.signed("PATCH", model, {}).status
            assert writes == alice.signed("POST", f"{model}/versions", VERSION).status
            assert writes == alice.signed("DELETE", f"{model}/versions/1").status
            assert writes == alice.signed("DELETE", model).status
    with running(Settings(directory, "alice", is_open=True)) as url:
        anybody = Client(url)
        assert 2 == len(anybody.signed("GET", "/v1/models").json["items"])
        assert 200 == anybody.signed("DELETE", "/v1/models/bob/secret/versions/1").status


def test_an_open_registry_answers_no_web_page(open_client: Client) -> None:
    assert 200 == open_client.signed("GET", "/v1/user").status
    answer = open_client.signed("POST", "/v1/models", {"name": "m"}, Origin="http://evil.example")
    assert 403 == answer.status


def test_kaggles_paths_are_still_kaggles(m1: Client) -> None:
    m1.create_model(slug="m1", isPrivate=False)
    m1.create_model(slug="versions")
    for prefix, slug in (("/v1", "new"), ("/api/v1", "newer")):
        listed = m1.signed("GET", f"{prefix}/models/list").json
        assert {"alice/m1", "alice/versions"} <= {item["ref"] for item in listed["models"]}
        assert "M1" == m1.signed("GET", f"{prefix}/models/alice/m1/get").json["title"]
        assert [] == m1.signed("GET", f"{prefix}/models/alice/versions/list").json["instances"]
        values = {"ownerSlug": "alice", "slug": slug, "title": "T", "isPrivate": True}
        made = m1.signed("POST", f"{prefix}/models/create/new", values)
        assert made.json["hasId"]
        assert "alice" == m1.signed("GET", f"{prefix}/hello").json["userName"]
        assert 404 == m1.signed("GET", "/api/v1/user").status
    assert 200 == m1.rpc("GetModel", ownerSlug="alice", modelSlug="m1").status
    # WriftAI's model of the same name is another one.
    assert "id" in m1.signed("GET", M1).json
    assert 200 == m1.signed("DELETE", M1).status
    assert "M1" == m1.signed("GET", "/v1/models/alice/m1/get").json["title"]


def test_nobody_is_called_as_kaggles_list_is(directory: Path) -> None:
    with running(Settings(directory, "list")) as url:
        client = Client(url, (directory / "token").read_text().strip())
        answer = client.signed("POST", "/v1/models", {"name": "m"})
    assert {"body": "value_error"} == faults(answer)


def test_the_protocols_have_one_path_in_common(tmp_path: Path) -> None:
    def parts(path: str) -> list[str]:
        return ["" if part.startswith("{") else part for part in path.split("/")]

    def is_shared(one: str, other: str) -> bool:
        count = len(parts(one))
        fits = len(parts(other)) >= count if "{path:" in one else len(parts(other)) == count
        pairs = zip(parts(one), parts(other), strict=False)
        return fits and all(a == b for a, b in pairs if a and b)

    kaggle = [(route.verb, route.path) for route in rest.ROUTES]
    kaggle += [("POST", "/{service}/{method}"), ("GET", "/hello")]
    ours = wriftai.routes(Store(tmp_path).containers)
    shared = [
        (verb, path, route.path)
        for verb, path in kaggle
        for route in ours
        if verb == route.verb and is_shared(path, route.path)
    ]
    assert [("GET", "/models/list", "/models/{owner}")] == shared
