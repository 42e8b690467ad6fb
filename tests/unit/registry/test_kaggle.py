"""Kaggle's protocol: what is asked for how often, and answers that make no sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from modelfs import errors
from modelfs.config import Config
from modelfs.model import File, Manifest
from modelfs.refs import Ref
from modelfs.registry import open_registry, replies
from modelfs.registry.base import Registry
from modelfs.registry.caching import CachingRegistry
from modelfs.registry.shelf import Shelf
from modelfs.waiting import wait
from sims import faults
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle
from sims.raw import RawServer, Request, Script, json_reply, redirect, reply

VERSION = Ref.parse("alice/bert/pytorch/base/2")
MODELS = (
    Model(
        "alice",
        "bert",
        (
            Instance("pytorch", "base", (Version({"a": b"a"}, "one"), Version({"b": b"12345"}))),
            Instance("jax", "base", (Version({"a": b"a"}),)),
        ),
    ),
    Model("alice", "empty"),
)


@pytest.fixture
def service() -> Iterator[Kaggle]:
    with Kaggle(MODELS, token="KGAT", user="alice") as service:
        yield service


def connected(service: Kaggle, home: Path) -> closing[Registry]:
    config = Config(home=home, environ={"MODELFS_TOKEN": service.token})
    return closing(open_registry(f"kaggle+{service.url}", config))


@pytest.fixture
def registry(service: Kaggle, tmp_path: Path) -> Iterator[Registry]:
    with connected(service, tmp_path) as registry:
        yield registry


@pytest.fixture
def remembered(service: Kaggle, tmp_path: Path) -> Iterator[CachingRegistry]:
    """A registry of its own, remembered."""
    with ThreadPoolExecutor(4) as threads, connected(service, tmp_path) as inner:
        yield CachingRegistry(inner, shelf=Shelf(tmp_path / "s"), executor=threads, wait=wait)


def read(registry: Registry, ref: Ref, file: File) -> bytes:
    buffer = memoryview(bytearray(file.size))
    with registry.open(ref, file, 0, file.size) as body:
        return bytes(buffer[: body.readinto(buffer)])


# The numbers of docs/registry-calls.md. The simulator's pages hold two names.
CALLS: list[tuple[str, Callable[[Registry], object], dict[str, int]]] = [
    ("account", lambda r: r.account(), {"Hello": 1}),
    ("root", lambda r: r.children(Ref()), {"Hello": 1}),
    ("owner", lambda r: r.children(VERSION.parent.parent.parent.parent), {"ListModels": 1}),
    ("model", lambda r: r.children(Ref.parse("alice/bert")), {"ListModelInstances": 1}),
    ("framework", lambda r: r.children(Ref.parse("alice/bert/jax")), {"ListModelInstances": 1}),
    ("instance", lambda r: r.children(VERSION.parent), {"ListModelInstanceVersions": 1}),
    ("look up an owner", lambda r: r.stat(Ref.parse("alice")), {"ListModels": 1}),
    ("look up a model", lambda r: r.stat(Ref.parse("alice/bert")), {"GetModel": 1}),
    (
        "look up a framework",
        lambda r: r.stat(Ref.parse("alice/bert/jax")),
        {"ListModelInstances": 1},
    ),
    ("look up a version", lambda r: r.stat(VERSION), {"ListModelInstanceVersions": 1}),
    ("model metadata", lambda r: r.documents(Ref.parse("alice/bert")), {"GetModel": 1}),
    ("instance metadata", lambda r: r.documents(VERSION.parent), {"GetModelInstance": 1}),
    (
        "manifest",
        lambda r: r.manifest(VERSION),
        {
            "ListModelInstanceVersionFiles": 1,
            "ListModelInstanceVersions": 1,
            "ListModelInstances": 1,
        },
    ),
]


@pytest.mark.parametrize(
    ("call", "expected"), [row[1:] for row in CALLS], ids=[c[0] for c in CALLS]
)
def test_each_operation_costs_what_is_documented_and_nothing_the_second_time(
    service: Kaggle,
    registry: Registry,
    remembered: CachingRegistry,
    call: Callable[[Registry], object],
    expected: dict[str, int],
) -> None:
    call(registry)
    assert expected == +service.calls()
    service.clear()
    call(remembered)
    assert expected == +service.calls()
    service.clear()
    call(remembered)
    assert {} == +service.calls()


def test_a_walk_from_the_root_to_a_byte(service: Kaggle, remembered: CachingRegistry) -> None:
    def walk() -> bytes:
        for ref in (*tuple(VERSION.ancestors())[1:], VERSION):
            remembered.stat(ref)
        file = remembered.manifest(VERSION).files[0]
        return read(remembered, VERSION, file)

    assert b"12345" == walk()
    assert {
        "ListModels": 1,
        "GetModel": 1,
        "ListModelInstances": 2,
        "ListModelInstanceVersions": 1,
        "ListModelInstanceVersionFiles": 1,
        "DownloadModelInstanceVersion": 1,
        "GET": 1,
    } == +service.calls()
    service.clear()
    assert b"12345" == walk()
    assert {"GET": 1} == +service.calls()


def test_an_expired_address_is_asked_for_again(service: Kaggle, registry: Registry) -> None:
    file = registry.manifest(VERSION).files[0]
    read(registry, VERSION, file)
    service.valid_from = 2
    service.clear()
    assert b"12345" == read(registry, VERSION, file)
    assert {"DownloadModelInstanceVersion": 1, "GET": 2} == +service.calls()
    service.clear()
    assert b"12345" == read(registry, VERSION, file)
    assert {"GET": 1} == +service.calls()


def test_an_address_that_led_nowhere_is_not_remembered(service: Kaggle, registry: Registry) -> None:
    """As of a network that wants its users to sign in first."""
    file = registry.manifest(VERSION).files[0]
    service.meddle = lambda *_: redirect("/sign-in")
    with pytest.raises(errors.Error):
        read(registry, VERSION, file)
    service.meddle = None
    assert b"12345" == read(registry, VERSION, file)


def test_a_model_without_instances_is_empty(registry: Registry) -> None:
    assert () == registry.children(Ref.parse("alice/empty"))


def test_a_wrong_token_is_told(service: Kaggle, tmp_path: Path) -> None:
    config = Config(home=tmp_path, environ={"MODELFS_TOKEN": "wrong"})
    with closing(open_registry(f"kaggle+{service.url}", config)) as registry:
        for call in (registry.account, lambda: registry.stat(Ref.parse("alice/bert"))):
            with pytest.raises(errors.Unauthenticated):
                call()


def test_without_a_token_nobody_is_nobody(service: Kaggle, tmp_path: Path) -> None:
    with closing(open_registry(f"kaggle+{service.url}", Config(home=tmp_path))) as registry:
        assert "" == registry.account().name
        assert () == registry.children(Ref())
        assert "bert" == registry.stat(Ref.parse("alice/bert")).name


# Answers that make no sense

Scripted = Callable[[Callable[[str, Request], Script]], Registry]


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    """`scripted(answer)`: the registry that answers `answer(method, request)`."""
    started: list[tuple[RawServer, Registry]] = []

    def start(answer: Callable[[str, Request], Script]) -> Registry:
        server = RawServer(lambda request: answer(request.path.rpartition("/")[2], request))
        server.start()
        registry = open_registry(f"kaggle+{server.url}", Config(home=tmp_path))
        started.append((server, registry))
        return registry

    yield start
    for server, registry in started:
        registry.close()
        server.stop()


def listing(files: object, versions: object = None) -> Callable[[str, Request], Script]:
    numbers = [{"versionNumber": 2}] if versions is None else versions

    def answer(method: str, request: Request) -> Script:
        if method == "ListModelInstanceVersionFiles":
            return json_reply({"files": files})
        if method == "ListModelInstanceVersions":
            return json_reply({"versionList": {"versions": numbers}})
        return json_reply({})

    return answer


@pytest.mark.parametrize("token", ["same", "other"])
def test_pages_that_go_in_a_circle_end(scripted: Scripted, token: str) -> None:
    rounds = iter(range(50))

    def answer(method: str, request: Request) -> Script:
        asked = request.message["pageToken"]
        following = "same" if token == "same" or asked != "same" else "other"
        following = following if next(rounds, None) is not None else ""
        return json_reply({"models": [{"ref": "alice/bert"}], "nextPageToken": following})

    with pytest.raises(errors.Corrupt, match="circle"):
        scripted(answer).children(Ref.parse("alice"))


@pytest.mark.parametrize(
    "reply_",
    [
        {"models": {}},
        {"models": "x"},
        {"models": [1]},
        {"models": [None]},
        {"models": [{"slug": 5}]},
        {"models": [{"ref": ["alice/bert"]}]},
        {"models": [], "nextPageToken": 7},
    ],
)
def test_a_page_of_nonsense_is_corrupt(scripted: Scripted, reply_: object) -> None:
    with pytest.raises(errors.Corrupt):
        scripted(lambda *_: json_reply(reply_)).children(Ref.parse("alice"))


@pytest.mark.parametrize(
    "item", [{"name": 5, "size": 1}, {"name": "a", "size": "many"}, {"name": "a", "size": True}]
)
def test_a_file_of_nonsense_is_corrupt(scripted: Scripted, item: object) -> None:
    with pytest.raises(errors.Corrupt):
        scripted(listing([item])).manifest(VERSION)


def test_hostile_names_are_left_out(scripted: Scripted) -> None:
    slugs = ["good", "../x", "", ".", "..", "a/b", "nul\0", "x" * 256, "\ud800", "good"]
    found = scripted(
        lambda *_: json_reply({"models": [{"slug": slug} for slug in slugs]})
    ).children(Ref.parse("alice"))
    assert ["good"] == [entry.name for entry in found]


def test_hostile_files_are_rejected(scripted: Scripted) -> None:
    names = ["good", "../x", "/etc/passwd", "a//b", "nul\0", "good/below", "dir/x", "dir", "\ud800"]
    files = [{"name": name, "size": "3"} for name in names] + [{"name": "minus", "size": -1}]
    manifest: Manifest = scripted(listing(files)).manifest(VERSION)
    assert ["dir/x", "good"] == [file.path for file in manifest.files]
    assert 8 == len(manifest.rejected)


def test_versions_that_are_none_are_left_out(scripted: Scripted) -> None:
    numbers = [{"versionNumber": n} for n in (3, 0, -1, "2", 3, None)]
    found = scripted(listing([], numbers)).children(VERSION.parent)
    assert ["2", "3"] == [entry.name for entry in found]


def test_frameworks_that_are_not_known_are_left_out(scripted: Scripted) -> None:
    items = [
        {"slug": "a", "framework": "MODEL_FRAMEWORK_PY_TORCH"},
        {"slug": "b", "framework": "pyTorch"},
        {"slug": "c", "framework": "MODEL_FRAMEWORK_OF_TOMORROW"},
    ]
    found = scripted(lambda *_: json_reply({"instances": items})).children(Ref.parse("a/b"))
    assert [("pytorch", ["a", "b"])] == [
        (entry.name, [child.name for child in entry.children or ()]) for entry in found
    ]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Permission 'models.get' was denied", errors.NotFound),
        ("", errors.NotFound),
        ("User has not consented to the terms of this model", errors.Forbidden),
    ],
)
def test_a_refusal_is_missing_unless_terms_wait(
    scripted: Scripted, message: str, kind: type[errors.Error]
) -> None:
    registry = scripted(lambda *_: json_reply({"code": 403, "message": message}, 403))
    for call in (registry.stat, registry.children, registry.documents):
        with pytest.raises(kind):
            call(Ref.parse("alice/bert"))


def test_a_file_that_comes_zipped_is_told(scripted: Scripted) -> None:
    registry = scripted(lambda *_: redirect("/bucket/deep/weights.bin.zip?X-Goog-Signature=s"))
    with pytest.raises(errors.Unsupported, match="zipped"):
        registry.open(VERSION, File("deep/weights.bin", 5), 0, 5)


def test_a_file_that_is_a_zip_is_read(scripted: Scripted) -> None:
    def answer(method: str, request: Request) -> Script:
        if method == "DownloadModelInstanceVersion":
            return redirect("/bucket/data.zip?X-Goog-Signature=s")
        return faults.good(request, b"12345")

    assert b"12345" == read(scripted(answer), VERSION, File("data.zip", 5))


@pytest.mark.parametrize("script", [reply(200, b"bytes"), reply(302), json_reply({})])
def test_a_download_without_an_address_is_corrupt(scripted: Scripted, script: Script) -> None:
    with pytest.raises(errors.Corrupt):
        scripted(lambda *_: script).open(VERSION, File("a", 5), 0, 5)


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", NOW + 300),
        ("Expires=1700001000&Signature=s", NOW + 940),
        ("X-Goog-Date=20231114T221320Z&X-Goog-Expires=259200", NOW + 259200 - 60),
        ("X-Goog-Date=20231114T221320Z&X-Goog-Expires=60", NOW + 54),
        ("X-Amz-Date=20231114T221320Z&X-Amz-Expires=600", NOW + 540),
        ("X-Goog-Date=nonsense&X-Goog-Expires=259200", NOW + 300),
        ("X-Goog-Expires=soon", NOW + 300),
    ],
)
def test_an_address_says_how_long_it_is_good_for(query: str, expected: float) -> None:
    assert expected == replies.expiry(f"https://storage.example/file?{query}", NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20.1234567Z", NOW + 0.123456),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("", None),
        ("soon", None),
        (5, None),
        (None, None),
    ],
)
def test_times_are_read_as_they_are_written(text: object, expected: float | None) -> None:
    assert expected == replies.moment(text)
