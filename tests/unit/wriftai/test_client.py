"""The Python interface of WriftAI: a program written for the official one, and what goes wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelfs import errors
from modelfs.wriftai import Client, PaginationOptions
from modelfs.wriftai.common_types import ModelVisibility, SortDirection
from modelfs.wriftai.model_versions import CreateModelVersionParams
from modelfs.wriftai.models import ModelsSortBy
from sims.raw import DROP, Pause, RawServer, Request, Script, json_reply, reply
from sims.wriftai import WriftAI, digest, limited

NEW: CreateModelVersionParams = {
    "release_notes": "größer",
    "schemas": {"prediction": {"input": {"type": "string"}, "output": {"type": "string"}}},
    "container_image_digest": digest("e"),
}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WRIFTAI_ACCESS_TOKEN", "WRIFTAI_API_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def service() -> Iterator[WriftAI]:
    with WriftAI(token="secret", user="alice", page=5) as service:
        for number in range(1, 8):
            service.add_version("alice", "bert", f"notes {number}")
        service.add_model("bob", "open", visibility="public")
        yield service


@pytest.fixture
def client(service: WriftAI) -> Iterator[Client]:
    with Client("secret", f"{service.url}/v1", timeout=5) as client:
        yield client


def test_a_version_lives_as_the_documents_say(client: Client) -> None:
    made = client.model_versions.create("alice/bert", NEW)
    assert (8, "größer", NEW["schemas"]) == (made["number"], made["release_notes"], made["schemas"])
    assert {"hardware_identifier": "cpu", "variable_names": []} == made["configuration"]
    found = client.model_versions.get("alice/bert:8")
    assert digest("e") == found["container_image_digest"]
    client.model_versions.delete("alice/bert:8")
    with pytest.raises(errors.NotFound) as caught:
        client.model_versions.get("alice/bert:8")
    assert 404 == caught.value.status


def test_pages_lead_on_as_the_documents_say(client: Client) -> None:
    first = client.model_versions.list("alice/bert")
    assert [7, 6, 5, 4, 3] == [version["number"] for version in first.items]
    assert (None, "5") == (first.previous_cursor, first.next_cursor)
    options = PaginationOptions(cursor=first.next_cursor or "", page_size=5)
    second = client.model_versions.list("alice/bert", options)
    assert [2, 1] == [version["number"] for version in second.items]
    assert ("0", None) == (second.previous_cursor, second.next_cursor)


def test_a_configuration_is_read_and_changed(client: Client) -> None:
    changed = client.model_versions.update_configuration(
        "alice/bert:1", {"variable_names": ["TOKEN"]}
    )
    assert {"hardware_identifier": "cpu", "variable_names": ["TOKEN"]} == changed
    assert changed == client.model_versions.get_configuration("alice/bert:1")


def test_a_model_lives_as_the_documents_say(client: Client) -> None:
    made = client.models.create({"name": "new", "visibility": ModelVisibility.public})
    assert ("public", None) == (made["visibility"], made["latest_version"])
    changed = client.models.update("alice/new", {"description": "größer"})
    assert "größer" == changed["description"] == client.models.get("alice/new")["description"]
    listed = client.models.list({"sort_by": ModelsSortBy.CREATED_AT, "page_size": 50}, "alice")
    assert ["bert", "new"] == [model["name"] for model in listed.items]
    assert ["new"] == [model["name"] for model in client.models.search("ne").items]
    client.models.delete("alice/new")
    with pytest.raises(errors.NotFound):
        client.models.get("alice/new")


def test_what_is_asked_for_is_in_the_address(service: WriftAI, client: Client) -> None:
    direction = SortDirection.DESC
    client.models.list(
        {"sort_direction": direction, "category_slugs": ["a b", "c"], "page_size": 5}
    )
    target = service.requests[-1].target
    assert (
        "/v1/models?sort_direction=desc&category_slugs=a+b&category_slugs=c&page_size=5" == target
    )


def test_users_and_ourselves_are_found(client: Client) -> None:
    assert "alice" == client.authenticated_user.get()["name"]
    assert "bob" == client.users.get("bob")["name"]
    assert ["alice", "bob"] == [user["name"] for user in client.users.list().items]


def test_every_method_has_a_twin_that_is_awaited(client: Client) -> None:
    async def program() -> list[Any]:
        versions, models = client.model_versions, client.models
        return [
            (await versions.async_create("alice/bert", NEW))["number"],
            (await versions.async_get("alice/bert:8"))["number"],
            len((await versions.async_list("alice/bert")).items),
            await versions.async_delete("alice/bert:8"),
            (await versions.async_get_configuration("alice/bert:1"))["variable_names"],
            await versions.async_update_configuration("alice/bert:1", {"variable_names": []}),
            (await models.async_create({"name": "new"}))["name"],
            (await models.async_update("alice/new", {"overview": "o"}))["overview"],
            (await models.async_get("alice/new"))["name"],
            len((await models.async_list(None, "alice")).items),
            len((await models.async_search("new")).items),
            await models.async_delete("alice/new"),
            (await client.users.async_get("bob"))["name"],
            len((await client.users.async_list()).items),
            (await client.authenticated_user.async_get())["name"],
        ]

    configuration = {"hardware_identifier": "cpu", "variable_names": []}
    expected = [8, 8, 5, None, [], configuration, "new", "o", "new", 2, 1, None, "bob", 2, "alice"]
    assert expected == asyncio.run(program())
    for resource in vars(client).values():
        names = {name for name in dir(resource) if not name.startswith("_")}
        if "get" in names:
            assert all({name, f"async_{name}"} <= names for name in names if name[:6] != "async_")


def test_a_hundred_are_awaited_at_once_and_hold_up_nobody() -> None:
    go = threading.Event()

    def answer(request: Request) -> Script:
        # The loop says so, once all have asked: whatever held it up would hold up all.
        assert go.wait(60)
        return json_reply({"number": 1})

    async def program(client: Client) -> int:
        calls = (client.model_versions.async_get("a/m:1") for _ in range(100))
        together = asyncio.gather(*calls)
        while len(server.requests) < 100:
            await asyncio.sleep(0.01)
        go.set()
        return len(await together)

    with RawServer(answer) as server, Client(None, f"{server.url}/v1") as client:
        assert 100 == asyncio.run(program(client))


# Where, and as whom


def test_the_environment_says_where_and_who(
    service: WriftAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRIFTAI_ACCESS_TOKEN", "secret")
    monkeypatch.setenv("WRIFTAI_API_BASE_URL", f"{service.url}/v1/")
    with Client() as client:
        assert "alice" == client.authenticated_user.get()["name"]
    assert "secret" not in repr(vars(client))


def test_headers_of_ones_own_replace_ours(service: WriftAI) -> None:
    headers = {"authorization": "Bearer secret", "user-agent": "mine", "X-Extra": "1"}
    with Client("another", f"{service.url}/v1", headers) as client:
        client.authenticated_user.get()
    sent = service.requests[-1].headers
    assert ("Bearer secret", "mine", "1") == tuple(
        sent[key] for key in ("authorization", "user-agent", "x-extra")
    )


def test_without_a_token_what_is_public_is_read(service: WriftAI) -> None:
    with Client(api_base_url=f"{service.url}/v1") as client:
        assert "open" == client.models.get("bob/open")["name"]
        with pytest.raises(errors.Unauthenticated) as caught:
            client.authenticated_user.get()
    assert 401 == caught.value.status
    assert not any("authorization" in request.headers for request in service.requests)


def test_an_address_or_a_token_that_cannot_be_is_told() -> None:
    with pytest.raises(errors.Usage):
        Client(api_base_url="api.wrift.ai")
    with pytest.raises(errors.Usage):
        Client("two words")


# What goes wrong


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (json_reply({"detail": "why"}, 400), errors.InvalidName),
        (json_reply({"detail": "why"}, 401), errors.Unauthenticated),
        (json_reply({"detail": "why"}, 403), errors.Forbidden),
        (json_reply({"detail": "why"}, 404), errors.NotFound),
        (json_reply({"detail": "why"}, 409), errors.Exists),
        (json_reply({"detail": [{"msg": "why"}]}, 422), errors.InvalidName),
        (limited(), errors.TooManyRequests),
        (json_reply({"detail": "why"}, 500), errors.Unavailable),
        (reply(503, b"<html>"), errors.Unavailable),
        (reply(200, b"{"), errors.Corrupt),
        ([DROP], errors.Unavailable),
        ([Pause(2)], errors.DeadlinePassed),
    ],
)
def test_every_failure_is_one_of_our_errors(
    service: WriftAI, answer: Script, kind: type[errors.Error]
) -> None:
    service.faults += [answer] * 2
    with (
        Client("secret", f"{service.url}/v1", timeout=0.5, max_retries=1) as client,
        pytest.raises(kind) as caught,
    ):
        client.models.get("alice/bert")
    assert kind is errors.for_status(caught.value.status) or kind is errors.Corrupt


def test_a_refusal_that_passes_is_waited_for(service: WriftAI, client: Client) -> None:
    service.faults += [limited(x_ratelimit_reset="1"), json_reply({}, 502), [DROP]]
    assert "bert" == client.models.get("alice/bert")["name"]


def test_a_create_whose_answer_is_lost_makes_no_second_version(
    service: WriftAI, client: Client
) -> None:
    service.lost.append(reply(502, b"<html>"))
    made = client.model_versions.create("alice/bert", NEW)
    assert (8, "cpu") == (made["number"], made["configuration"]["hardware_identifier"])
    assert 8 == len(service.models["alice", "bert"].versions)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.model_versions.get("alice/m1"),
        lambda client: client.model_versions.delete("alice/m1:x"),
        lambda client: client.model_versions.list("alice/m1:1"),
        lambda client: client.model_versions.create("alice", NEW),
        lambda client: client.models.get("alice/m1:1"),
        lambda client: client.models.update("a/b/c", {}),
        lambda client: asyncio.run(client.model_versions.async_get("alice")),
    ],
)
def test_what_is_no_identifier_is_refused_before_anybody_is_asked(
    service: WriftAI, client: Client, call: Callable[[Client], object]
) -> None:
    with pytest.raises(ValueError, match="Identifier must be"):
        call(client)
    assert [] == service.requests


@pytest.mark.parametrize("size", [0, 4, 51, "5", True])
def test_a_page_of_a_size_that_is_not_given_is_refused(client: Client, size: Any) -> None:
    with pytest.raises(errors.InvalidName, match="page size"):
        client.models.list({"page_size": size})


def test_an_owner_that_cannot_be_is_not_found(service: WriftAI, client: Client) -> None:
    for call in (lambda: client.models.list(owner="a/../b"), lambda: client.users.get("..")):
        with pytest.raises(errors.NotFound):
            call()
    assert [] == service.requests
