"""WriftAI's protocol: what is asked how often, whose token goes where, answers that are odd."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from contract.documents import proposed, texts
from contract.suite import names, ref
from contract.writing import edited
from modelfs.config import Config
from modelfs.errors import (
    Corrupt,
    Error,
    Exists,
    Forbidden,
    InvalidName,
    NotFound,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    Usage,
)
from modelfs.model import NOTES
from modelfs.registry import open_registry, wriftai
from modelfs.registry.base import Registry, WritableRegistry
from modelfs.registry.caching import CachingRegistry
from modelfs.registry.credentials import bearer
from modelfs.registry.patience import reset_after
from modelfs.registry.retries import Limits
from modelfs.registry.shelf import Shelf
from modelfs.registry.wriftai_writing import WritableWriftAIRegistry
from modelfs.waiting import wait
from sims.raw import DROP, RESET, STALL, RawServer, Request, Script, head, json_reply, reply
from sims.wriftai import SCHEMAS, WriftAI, digest, limited

FAST = Limits(connect=2, read=1, total=3, first_wait=0.01, longest_wait=0.05, submit=2)
BERT = ref("alice/bert")
VERSIONS = "POST /v1/models/alice/bert/versions"


@pytest.fixture
def service() -> Iterator[WriftAI]:
    with WriftAI(token="secret", user="alice") as service:
        for notes, letter in (("one", "a"), ("two", "b"), ("three", "c")):
            service.add_version("alice", "bert", notes, letter)
        service.add_model("alice", "empty")
        yield service


def opened(url: str, limits: Limits = FAST) -> WritableWriftAIRegistry:
    calls = wriftai.connect(f"{url}/v1", bearer("secret", "a test"), {}, limits)
    return WritableWriftAIRegistry(calls, has_login=True)


@pytest.fixture
def registry(service: WriftAI) -> Iterator[WritableRegistry]:
    with closing(opened(service.url)) as registry:
        yield registry


# The numbers of docs/registry-calls.md; pages of the simulator hold two items.
CALLS: list[tuple[Callable[[Registry], object], list[str]]] = [
    (lambda r: r.account(), ["user"]),
    (lambda r: r.children(ref("")), ["user"]),
    (lambda r: r.children(ref("alice")), ["models/alice"]),
    (lambda r: r.children(BERT), ["models/alice/bert/versions"] * 2),
    (
        lambda r: r.children(ref("alice/empty")),
        ["models/alice/empty/versions", "models/alice/empty"],
    ),
    (lambda r: r.stat(ref("alice")), ["users/alice"]),
    (lambda r: r.stat(BERT), ["models/alice/bert"]),
    (lambda r: r.documents(BERT), ["models/alice/bert"]),
    (lambda r: r.item(BERT.child("2")), ["models/alice/bert/versions/2"]),
    (lambda r: r.manifest(BERT.child("2")), ["models/alice/bert/versions/2"]),
    (lambda r: r.page(BERT), ["models/alice/bert/versions"]),
]


@pytest.mark.parametrize(("call", "expected"), CALLS)
def test_each_question_costs_what_is_documented(
    service: WriftAI,
    registry: WritableRegistry,
    call: Callable[[Registry], object],
    expected: list[str],
) -> None:
    call(registry)
    assert Counter(f"GET /v1/{path}" for path in expected) == service.calls()


def test_what_is_remembered_is_not_asked_again(
    service: WriftAI, registry: WritableRegistry, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as threads:
        remembered = CachingRegistry(
            registry, shelf=Shelf(tmp_path / "s"), executor=threads, wait=wait
        )
        for _ in range(2):
            remembered.manifest(BERT.child("2"))
            remembered.children(ref("alice"))
            remembered.documents(BERT)
    assert 3 == sum(service.calls().values())


def test_a_version_is_remembered_for_ever(
    service: WriftAI, registry: WritableRegistry, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as threads:
        for _ in range(2):
            remembered = CachingRegistry(
                registry, shelf=Shelf(tmp_path / "s"), executor=threads, wait=wait, ttl=0.0
            )
            assert b"two\n" == remembered.manifest(BERT.child("2")).documents[0].content
            service.is_down = True


# Whose token goes where


def test_the_token_is_sent_to_the_service_that_it_is_of(service: WriftAI, tmp_path: Path) -> None:
    environ = {"WRIFTAI_ACCESS_TOKEN": " secret\n", "WRIFTAI_API_BASE_URL": f"{service.url}/v1/"}
    with closing(open_registry("wriftai", Config(home=tmp_path, environ=environ))) as registry:
        assert "alice" == registry.account().name
        assert f"wriftai+{service.url}/v1" == registry.traits.identity
        assert registry.traits.is_writable
    assert {"Bearer secret"} == {request.headers["authorization"] for request in service.requests}


def test_the_token_of_the_service_goes_to_no_other_host(service: WriftAI, tmp_path: Path) -> None:
    environ = {"WRIFTAI_ACCESS_TOKEN": "real", "KAGGLE_API_TOKEN": "real"}
    config = Config(home=tmp_path, environ=environ)
    with closing(open_registry(f"wriftai+{service.url}", config)) as registry:
        assert "" == registry.account().name
        with pytest.raises(NotFound):
            registry.stat(BERT)
    assert service.requests
    assert not any("authorization" in request.headers for request in service.requests)


def test_without_a_token_the_service_is_only_read(tmp_path: Path) -> None:
    with closing(open_registry("wriftai", Config(home=tmp_path))) as registry:
        assert ("wriftai", False) == (registry.traits.identity, registry.traits.is_writable)
    other = Config(home=tmp_path, environ={"MODELFS_TOKEN": "mine"})
    with closing(open_registry("wriftai", other)) as registry:
        assert not registry.traits.is_writable


@pytest.mark.parametrize(
    "base",
    [
        "api.wrift.ai",
        "ftp://x/v1",
        "http://",
        "/v1",
        "http://u:p@x/v1",
        "http://x:y",
        "http://[::1",
    ],
)
def test_a_base_that_is_no_address_is_told(base: str, tmp_path: Path) -> None:
    with pytest.raises(Usage, match="address of WriftAI"):
        open_registry("wriftai", Config(home=tmp_path, environ={"WRIFTAI_API_BASE_URL": base}))


def test_a_token_that_is_wrong_is_told(service: WriftAI, registry: WritableRegistry) -> None:
    service.token = "another"
    for ask in (registry.account, lambda: registry.stat(BERT)):
        with pytest.raises(Unauthenticated, match="Invalid access token"):
            ask()


# Rate limits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1000030", 30.0),
        ("1000000.5", 0.5),
        ("2", 2.0),
        ("3600", 3600.0),
        ("2000000", 3600.0),
        ("999999", None),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
        ("", None),
        (None, None),
    ],
)
def test_a_reset_is_a_moment_or_what_is_left(text: str | None, expected: float | None) -> None:
    assert expected == reset_after(text, 1_000_000.0)


@pytest.mark.parametrize(
    "headers",
    [
        {"x_ratelimit_reset": "past"},
        {"x_ratelimit_reset": "soon"},
        {"x_ratelimit_reset": "1"},
        {"retry_after": "0"},
        {},
    ],
)
def test_a_storm_of_refusals_is_sat_out(
    service: WriftAI, registry: WritableRegistry, headers: dict[str, str]
) -> None:
    now = time.time()
    values = {"past": f"{now - 60:.0f}", "soon": f"{now + 1:.0f}"}
    service.faults += [
        limited(**{key: values.get(text, text) for key, text in headers.items()}) for _ in range(2)
    ]
    assert ["1", "2", "3"] == names(registry, "alice/bert")


def test_a_rest_that_is_too_long_is_an_error_at_once(
    service: WriftAI, registry: WritableRegistry
) -> None:
    service.faults.append(limited(x_ratelimit_reset=f"{time.time() + 600:.0f}"))
    begun = time.monotonic()
    with pytest.raises(TooManyRequests):
        registry.stat(BERT)
    assert time.monotonic() - begun < 10
    assert 1 == len(service.requests)


def test_a_create_that_was_refused_for_a_while_is_sent_again(
    service: WriftAI, registry: WritableRegistry
) -> None:
    def once(request: Request, value: Any) -> Any:
        if not service.calls()[VERSIONS]:
            service.faults[:] = [] if request.target.endswith("page_size=50") else [limited()]
        return value

    service.bent = once
    assert BERT.child("4") == registry.create(proposed(BERT.child("4")))
    assert ["1", "2", "3", "4"] == names(registry, "alice/bert")


# Answers that are lost or odd

BROKEN: dict[str, Script] = {
    "drop": [DROP],
    "reset": [RESET],
    "500": json_reply({"detail": "oops"}, 500),
    "502 with a page": reply(502, b"<html>bad gateway</html>"),
    "504": reply(504),
    "cut": [head(200, {"Content-Length": "500"}) + b'{"number": 4, "rel', DROP],
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_question_is_asked_again(
    service: WriftAI, registry: WritableRegistry, fault: Script
) -> None:
    service.faults += [fault, fault]
    assert ["1", "2", "3"] == names(registry, "alice/bert")
    service.faults += [fault, fault]
    assert b"one\n" == registry.manifest(BERT.child("1")).documents[0].content


ODD: dict[str, Script] = {
    **BROKEN,
    "stall": [STALL],
    "empty": reply(201),
    "null": json_reply(None, 201),
    "a list": json_reply([], 201),
    "no number": json_reply({}, 201),
    "another kind of number": json_reply({"number": [4]}, 201),
    "nonsense": reply(200, b"{nonsense"),
}


@pytest.mark.parametrize("fault", ODD.values(), ids=ODD)
def test_a_create_whose_answer_is_lost_makes_no_second_version(
    service: WriftAI, registry: WritableRegistry, fault: Script
) -> None:
    service.lost.append(fault)
    assert BERT.child("4") == registry.create(proposed(BERT.child("4")))
    assert (1, ["1", "2", "3", "4"]) == (service.calls()[VERSIONS], names(registry, "alice/bert"))


@pytest.mark.parametrize("fault", ODD.values(), ids=ODD)
def test_a_create_that_did_nothing_is_not_repeated_either(
    service: WriftAI, registry: WritableRegistry, fault: Script
) -> None:
    # Somebody else publishes meanwhile, with the same notes: that one is not ours.
    def answer(request: Request, value: Any) -> Any:
        if service.calls() == {"GET /v1/models/alice/bert/versions": 2}:
            service.faults.append(fault)
            service.add_version("alice", "bert", "notes", "f")
        return value

    service.bent = answer
    with pytest.raises(Unavailable, match="not known"):
        registry.create(proposed(BERT.child("4")))
    assert 1 == service.calls()[VERSIONS]


def test_a_version_of_another_that_looks_alike_was_there_before(
    service: WriftAI, registry: WritableRegistry
) -> None:
    service.add_version("alice", "bert", "notes", "d")
    service.lost.append([DROP])
    assert BERT.child("5") == registry.create(proposed(BERT.child("x")))


def test_a_model_whose_making_was_not_answered_is_there_the_next_time(
    service: WriftAI, registry: WritableRegistry
) -> None:
    new = ref("alice/new")
    service.lost.append([DROP])
    with pytest.raises(Unavailable):
        registry.add(new, registry.blank(new))
    with pytest.raises(Exists):
        registry.add(new, registry.blank(new))
    assert 2 == service.calls()["POST /v1/models"]


def test_a_name_that_is_taken_may_be_told_in_any_words(
    service: WriftAI, registry: WritableRegistry
) -> None:
    service.faults += [
        json_reply({"name": "alice"}),
        json_reply({"detail": [{"loc": ["body", "name"], "msg": "taken", "type": "x"}]}, 422),
    ]
    with pytest.raises(Exists):
        registry.add(BERT, registry.blank(BERT))
    service.faults += [json_reply({"name": "alice"}), json_reply({"detail": "bad"}, 422)]
    with pytest.raises(InvalidName, match="bad"):
        registry.add(ref("alice/new"), registry.blank(ref("alice/new")))


def test_a_refusal_is_told_in_the_services_words(
    service: WriftAI, registry: WritableRegistry
) -> None:
    faults = [
        {"loc": ["body", "schemas", "prediction", "input"], "msg": "not a schema", "type": "x"},
        {"loc": ["body"], "msg": "no", "type": "x"},
        {"odd": 1},
    ]
    service.lost.append(json_reply({"detail": faults}, 422))
    with pytest.raises(InvalidName, match=r"^schemas\.prediction\.input: not a schema; no$"):
        registry.create(proposed(BERT.child("4")))


@pytest.mark.parametrize(
    "answer",
    [reply(204), reply(200), reply(200, b" \n"), json_reply(None), json_reply({"ok": True})],
)
def test_a_deletion_may_be_answered_with_anything_or_nothing(
    service: WriftAI, registry: WritableRegistry, answer: Script
) -> None:
    service.deleted = answer
    registry.delete(BERT.child("2"))
    registry.delete(BERT.child("2"))
    assert ["1", "3"] == names(registry, "alice/bert")


def test_a_deletion_whose_answer_is_lost_is_done(
    service: WriftAI, registry: WritableRegistry
) -> None:
    service.lost.append([DROP])
    registry.delete(BERT.child("2"))
    assert ["1", "3"] == names(registry, "alice/bert")


def test_only_what_differs_is_sent(service: WriftAI, registry: WritableRegistry) -> None:
    service.add_model("alice", "bert").fields |= {"overview": "old", "visibility": "odd"}
    (document,) = registry.documents(BERT)
    service.clear()
    registry.update(BERT, document)
    assert not any(request.method == "PATCH" for request in service.requests)
    registry.update(BERT, edited(document, overview=None, description="new", unknown=1))
    (sent,) = (request for request in service.requests if request.method == "PATCH")
    assert {"overview": None, "description": "new"} == sent.message


def test_a_new_model_is_sent_without_what_is_empty(
    service: WriftAI, registry: WritableRegistry
) -> None:
    new = ref("alice/new")
    registry.add(new, registry.blank(new))
    (sent,) = (request for request in service.requests if request.method == "POST")
    assert {"name": "new", "visibility": "private"} == sent.message


# Pages


@pytest.mark.parametrize("has_urls", [False, True])
def test_pages_of_either_shape_are_read_to_the_end(service: WriftAI, has_urls: bool) -> None:
    service.has_urls = has_urls
    for number in range(60):
        service.add_version("alice", "bert", f"{number}")
    with closing(opened(service.url)) as registry:
        assert [str(n) for n in range(1, 64)] == names(registry, "alice/bert")
    assert 32 == service.calls()["GET /v1/models/alice/bert/versions"]


@pytest.mark.parametrize(
    ("bend", "match"),
    [
        (lambda page: page | {"next_cursor": "2"}, "circle"),
        (lambda page: page | {"next_cursor": 7}, "next_cursor"),
        (lambda page: page | {"items": None}, "no items"),
        (lambda page: page | {"items": {}}, "no items"),
        (lambda page: page | {"items": ["x"]}, "list of objects"),
        (lambda page: page | {"items": [{"number": "x"}]}, "number"),
        (lambda page: page["items"], "not a JSON object"),
        (lambda page: None, "not a JSON object"),
    ],
)
def test_a_page_that_makes_no_sense_is_corrupt(
    service: WriftAI, registry: WritableRegistry, bend: Callable[[Any], Any], match: str
) -> None:
    service.bent = lambda _, value: bend(value)
    with pytest.raises(Corrupt, match=match):
        registry.children(BERT)


def test_a_list_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: Request) -> Script:
        count = len(server.requests)
        return json_reply({"items": [], "next_cursor": f"{count}" if count < 100 else ""})

    monkeypatch.setattr("modelfs.registry.paging._MOST_PAGES", 20)
    with RawServer(answer) as server, closing(opened(server.url)) as registry:
        with pytest.raises(Corrupt, match="does not end"):
            registry.children(BERT)
        assert 20 == len(server.requests)


# What a server may say to do harm


def test_names_that_no_directory_can_hold_are_left_out(service: WriftAI) -> None:
    hostile = ["..", ".", "a/b", "a\x00b", "x" * 300, "", "a:b", "a b", "%2e%2e", "ok"]
    service.bent = lambda _, page: (
        page
        | {
            "items": [{"name": name, "owner": {"name": "alice"}} for name in hostile],
            "next_cursor": None,
        }
    )
    with closing(opened(service.url)) as registry:
        assert ["ok"] == names(registry, "alice")


def test_models_of_somebody_else_are_not_listed_as_ours(service: WriftAI) -> None:
    service.bent = lambda _, page: (
        page
        | {
            "items": [
                {"name": "theirs", "owner": {"name": "bob"}},
                {"name": "older", "owner": {"name": "alice", "next": 1}},
                {"name": "bare"},
            ],
            "next_cursor": None,
        }
    )
    with closing(opened(service.url)) as registry:
        assert ["bare", "older"] == names(registry, "alice")


def test_versions_that_are_no_numbers_are_left_out(service: WriftAI) -> None:
    items = [{"number": number} for number in (3, 0, -1, 3, 12, None)]
    service.bent = lambda _, page: page | {"items": items, "next_cursor": None}
    with closing(opened(service.url)) as registry:
        assert ["3", "12"] == names(registry, "alice/bert")


@pytest.mark.parametrize(
    ("text", "reply", "kind"),
    [
        ("alice/bert", {"name": "other"}, NotFound),
        ("alice/bert", {"name": "Bert"}, NotFound),
        ("alice/bert", {}, Corrupt),
        ("alice/bert", {"name": ["bert"]}, Corrupt),
        ("alice/bert/1", {"number": 2}, Corrupt),
        ("alice/bert/1", {"number": True}, Corrupt),
        ("alice/bert/1", {}, Corrupt),
        ("alice", [], Corrupt),
        ("alice", "alice", Corrupt),
    ],
)
def test_an_answer_is_about_what_was_asked(
    service: WriftAI, registry: WritableRegistry, text: str, reply: object, kind: type[Error]
) -> None:
    service.bent = lambda *_: reply
    with pytest.raises(kind):
        registry.stat(ref(text))


@pytest.mark.parametrize(
    "changes",
    [{"release_notes": 7}, {"release_notes": None, "container_image_digest": {}}, {"number": 1.5}],
)
def test_a_version_of_odd_types_is_corrupt_or_has_less(
    service: WriftAI, registry: WritableRegistry, changes: dict[str, object]
) -> None:
    service.bent = lambda _, value: value | changes
    try:
        found = texts(registry, BERT.child("1"))
    except Corrupt:
        return
    assert NOTES not in found


def test_what_may_not_be_known_is_left_out(service: WriftAI, registry: WritableRegistry) -> None:
    hidden = ("container_image_digest", "size")
    service.bent = lambda _, value: {k: v for k, v in value.items() if k not in hidden}
    found = texts(registry, BERT.child("1"))
    assert {NOTES, "schemas.json", "version.json"} == set(found)


def test_a_surrogate_in_a_text_harms_nobody(service: WriftAI, registry: WritableRegistry) -> None:
    service.bent = lambda _, value: value | {"release_notes": "\ud800 x"}
    assert b"? x\n" == texts(registry, BERT.child("1"))[NOTES]


def test_a_redirect_is_not_followed(service: WriftAI, registry: WritableRegistry) -> None:
    service.faults.append(reply(302, location=f"{service.url}/v1/users/alice"))
    with pytest.raises(Corrupt, match="302"):
        registry.stat(BERT)


def test_no_name_leads_to_another_address(service: WriftAI, registry: WritableRegistry) -> None:
    for parts in (("..", "user"), ("alice", "a?b"), ("alice", "bert", "versions/1"), ("a#b",)):
        with pytest.raises(NotFound):
            registry.stat(type(BERT)(parts))
    assert [] == service.requests
    service.add_model("alice", "größe")
    assert "größe" == registry.stat(ref("alice/größe")).name
    assert "/v1/models/alice/gr%C3%B6%C3%9Fe" == service.requests[-1].path


def test_a_forbidden_model_is_told_with_the_reason(
    service: WriftAI, registry: WritableRegistry
) -> None:
    service.faults.append(json_reply({"detail": "ask its owner"}, 403))
    with pytest.raises(Forbidden, match="ask its owner"):
        registry.stat(BERT)


def test_the_request_of_a_new_version_is_what_is_documented(
    service: WriftAI, registry: WritableRegistry
) -> None:
    registry.create(proposed(BERT.child("4"), "größer"))
    (sent,) = (request for request in service.requests if request.method == "POST")
    assert {
        "release_notes": "größer",
        "schemas": SCHEMAS,
        "container_image_digest": digest("d"),
    } == json.loads(sent.body)
