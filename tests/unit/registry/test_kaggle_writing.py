"""What is sent to publish and to change, and what comes of answers that are lost or odd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from contract.suite import names, ref
from contract.writing import INSTANCE, Sender, edited, part
from modelfs.errors import Error, Exists, Forbidden, InvalidName, Unavailable
from modelfs.model import NOTES, Bundle, Document, Part
from modelfs.registry.base import WritableRegistry
from modelfs.registry.http import Http
from modelfs.registry.kaggle_writing import WritableKaggleRegistry
from modelfs.registry.retries import Limits
from modelfs.server.app import Settings, running
from sims.raw import RawServer, Request, Script, json_reply
from sims.relay import Relay

FAST = Limits(connect=2, read=1, total=3, first_wait=0.01, longest_wait=0.05, submit=1)
NAMED = {
    "ownerSlug": "alice",
    "modelSlug": "bert",
    "framework": "MODEL_FRAMEWORK_PY_TORCH",
    "instanceSlug": "base",
}
PARTS = tuple(
    replace(part(path, b"x"), token=f"token of {path}")
    for path in ("b", "a", "d/z", "d/e/f", "d/e/g")
)
TREE = {
    "files": [{"token": "token of a"}, {"token": "token of b"}],
    "directories": [
        {
            "name": "d",
            "files": [{"token": "token of d/z"}],
            "directories": [
                {
                    "name": "e",
                    "files": [{"token": "token of d/e/f"}, {"token": "token of d/e/g"}],
                    "directories": [],
                }
            ],
        }
    ],
}


class Service:
    """A registry that says what it is told to say, method by method."""

    def __init__(self) -> None:
        self.answers: dict[str, Script] = {
            "ListModelInstanceVersions": versions(1, 2),
            "GetModel": json_reply({"title": "Old", "isPrivate": True, "description": "d"}),
            "GetModelInstance": json_reply({"licenseName": "MIT", "overview": "o", "usage": "u"}),
        }
        self.server = RawServer(self._answer)

    def _answer(self, request: Request) -> Script:
        return self.answers.get(request.path.rpartition("/")[2], json_reply({}))

    def sent(self, method: str) -> list[dict[str, object]]:
        requests = self.server.requests
        return [item.message for item in requests if item.path.endswith(f"/{method}")]


def versions(*numbers: int) -> Script:
    return json_reply({"versionList": {"versions": [{"versionNumber": n} for n in numbers]}})


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    with service.server:
        yield service


@pytest.fixture
def live(service: Service) -> Iterator[WritableRegistry]:
    """Kaggle itself, as far as the client knows."""
    client = Http(service.server.url, limits=FAST)
    with closing(WritableKaggleRegistry(client, license_name="MIT", has_login=True)) as registry:
        yield registry


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    """The embedded registry, behind a relay."""
    with (
        running(Settings(tmp_path / "registry", "alice", is_open=True)) as url,
        Relay(url) as found,
    ):
        yield found


@pytest.fixture
def sender(relay: Relay, tmp_path: Path) -> Iterator[Sender]:
    client = Http(relay.url, limits=FAST)
    registry = WritableKaggleRegistry(
        client, license_name="MIT", identity="kaggle+x", has_first_notes=True
    )
    with closing(registry):
        yield Sender(registry, tmp_path)


def bundle(
    *parents: str, notes: bytes = b"  the notes\n", parts: tuple[Part, ...] = PARTS
) -> Bundle:
    blank = WritableKaggleRegistry(Http("http://nowhere"), license_name="MIT").blank
    return Bundle(
        INSTANCE.child("3"),
        PARTS,
        (Document(NOTES, b"  the notes\n"),),
        tuple((ref(text), blank(ref(text))) for text in parents),
    )


# What is sent


def test_a_version_is_one_request_with_the_tree_of_its_files(service, live):
    service.answers["CreateModelInstanceVersion"] = json_reply({"id": 7, "versionNumber": 3})
    assert INSTANCE.child("3") == live.create(bundle())
    assert [{**NAMED, "body": {"versionNotes": "the notes", **TREE}}] == service.sent(
        "CreateModelInstanceVersion"
    )


def test_a_new_model_is_made_first_and_an_instance_with_its_files(service, live):
    new = bundle("alice", "alice/bert", "alice/bert/pytorch", "alice/bert/pytorch/base")
    assert INSTANCE.child("1") == live.create(new)
    (model,) = service.sent("CreateModel")
    assert ("alice", "bert", "bert", True) == tuple(
        model[key] for key in ("ownerSlug", "slug", "title", "isPrivate")
    )
    assert "publishTime" not in model
    (instance,) = service.sent("CreateModelInstance")
    assert {"ownerSlug": "alice", "modelSlug": "bert"} == {
        key: value for key, value in instance.items() if key != "body"
    }
    body = instance["body"]
    assert TREE.items() <= body.items()
    assert ("base", "MODEL_FRAMEWORK_PY_TORCH", "MIT", "MODEL_INSTANCE_TYPE_UNSPECIFIED") == tuple(
        body[key] for key in ("instanceSlug", "framework", "licenseName", "modelInstanceType")
    )
    # Kaggle has no such field.
    assert "versionNotes" not in body


def test_an_empty_file_is_announced_without_a_length(service, live):
    service.answers["StartBlobUpload"] = json_reply({"token": "t", "createUrl": "http://x"})
    live.begin(part("d/empty", b""))
    live.begin(part("d/full", b"full"))
    assert [
        {"type": "MODEL", "name": "empty", "lastModifiedEpochSeconds": 1_700_000_000},
        {
            "type": "MODEL",
            "name": "full",
            "lastModifiedEpochSeconds": 1_700_000_000,
            "contentLength": 4,
        },
    ] == service.sent("StartBlobUpload")


def test_an_update_sends_what_differs_and_nothing_else(service, live):
    (model,) = live.documents(ref("alice/bert"))
    live.update(ref("alice/bert"), edited(model, title="New", publishTime="2024-02-29"))
    assert [
        {
            "ownerSlug": "alice",
            "modelSlug": "bert",
            "title": "New",
            "publishTime": "2024-02-29T00:00:00.000Z",
            "updateMask": "title,publishTime",
        }
    ] == service.sent("UpdateModel")
    (instance,) = live.documents(INSTANCE)
    live.update(
        INSTANCE,
        edited(
            instance,
            usage="",
            modelInstanceType="BaseModel",
            baseModelInstance="bob/gpt/PyTorch/base",
        ),
    )
    assert [
        {
            **NAMED,
            "usage": "",
            "modelInstanceType": "MODEL_INSTANCE_TYPE_BASE_MODEL",
            "baseModelInstance": "bob/gpt/pyTorch/base",
            "updateMask": "usage,modelInstanceType,baseModelInstance",
        }
    ] == service.sent("UpdateModelInstance")


def test_a_document_that_says_the_same_in_other_words_changes_nothing(service, live):
    (model,) = live.documents(ref("alice/bert"))
    told = json.loads(model.content)
    other = json.dumps({**dict(reversed(told.items())), "id": 7}, indent=None).encode()
    live.update(ref("alice/bert"), replace(model, content=b"\xef\xbb\xbf" + other))
    assert [] == service.sent("UpdateModel")


def test_an_own_date_can_be_taken_back(service, live):
    service.answers["GetModel"] = json_reply({"title": "t", "publishTime": "2024-01-02T00:00:00Z"})
    (model,) = live.documents(ref("alice/bert"))
    live.update(ref("alice/bert"), edited(model, publishTime=""))
    (sent,) = service.sent("UpdateModel")
    assert {"ownerSlug": "alice", "modelSlug": "bert", "updateMask": "publishTime"} == sent


# What is answered


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ({"versionNumber": 9}, "9"),
        ({"ref": "alice/bert/pyTorch/base/9"}, "9"),
        ({"url": "https://www.kaggle.com/models/alice/bert/PyTorch/base/9"}, "9"),
        ({"ref": "", "url": "/models/Alice/bert/pyTorch/base/9/"}, "9"),
    ],
)
def test_the_number_is_where_the_registry_tells_it(service, live, reply, number):
    service.answers["CreateModelInstanceVersion"] = json_reply({"id": 7, **reply})
    assert INSTANCE.child(number) == live.create(bundle())


@pytest.mark.parametrize(
    "reply", [{}, {"url": "https://x/models/alice/bert/PyTorch/base"}, {"ref": "alice/bert"}]
)
def test_a_number_that_is_not_told_is_the_new_one_of_the_list(service, live, reply):
    lists = iter([versions(1, 2), versions(1, 2, 3)])
    answer = service.server.answer
    service.server.answer = lambda request: (
        next(lists) if request.path.endswith("ListModelInstanceVersions") else answer(request)
    )
    service.answers["CreateModelInstanceVersion"] = json_reply({"id": 7, **reply})
    assert INSTANCE.child("3") == live.create(bundle())


def test_a_number_that_nobody_tells_is_an_unknown_outcome(service, live):
    service.answers["CreateModelInstanceVersion"] = json_reply({"id": 7})
    with pytest.raises(Unavailable, match="not listed"):
        live.create(bundle())


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (json_reply({"error": "The license is unknown", "errorCode": 400}), InvalidName),
        (json_reply({"error": "The license is unknown"}), InvalidName),
        (json_reply({"error": "The license is unknown", "errorCode": 409}), Exists),
        (json_reply({"code": 403, "message": "The license is unknown"}, 403), Forbidden),
        (json_reply({"code": 403, "message": "The license is unknown"}), Forbidden),
    ],
)
def test_a_refusal_is_in_the_registrys_words(service, live, script, kind):
    service.answers["CreateModelInstance"] = script
    with pytest.raises(kind, match="The license is unknown"):
        live.create(bundle("alice/bert/pytorch/base"))
    assert 1 == len(service.sent("CreateModelInstance"))


@pytest.mark.parametrize(
    "script",
    [
        json_reply({"code": 500}, 500),
        json_reply({"code": 503}, 503),
        json_reply({"code": 429}, 429),
        json_reply("nonsense"),
        [b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{"],
    ],
)
def test_an_answer_that_says_nothing_is_an_unknown_outcome(service, live, script):
    service.answers["CreateModelInstanceVersion"] = script
    with pytest.raises(Unavailable):
        live.create(bundle())
    assert 1 == len(service.sent("CreateModelInstanceVersion"))


@pytest.mark.parametrize(
    "script",
    [
        json_reply({"code": 409, "message": "taken"}, 409),
        json_reply({"error": "taken", "errorCode": 409}),
        json_reply({"error": "a model of this slug exists"}),
    ],
)
def test_a_model_that_exists_after_all_is_used(service, live, script):
    service.answers["CreateModel"] = script
    new = bundle("alice/bert", "alice/bert/pytorch/base")
    assert INSTANCE.child("1") == live.create(new)


def test_a_model_that_is_refused_ends_it(service, live):
    service.answers["CreateModel"] = json_reply({"error": "bad title"})
    service.answers["GetModel"] = json_reply({"code": 404}, 404)
    with pytest.raises(InvalidName, match="bad title"):
        live.create(bundle("alice/bert", "alice/bert/pytorch/base"))
    assert [] == service.sent("CreateModelInstance")


@pytest.mark.parametrize("status", [403, 404])
def test_what_is_gone_is_deleted(service, live, status):
    for method in ("DeleteModel", "GetModel"):
        service.answers[method] = json_reply({"code": status}, status)
    live.delete(ref("alice/bert"))


def test_what_may_not_be_deleted_is_told(service, live):
    service.answers["DeleteModel"] = json_reply({"code": 403, "message": "not yours"}, 403)
    with pytest.raises(Forbidden, match="not yours"):
        live.delete(ref("alice/bert"))


@pytest.mark.parametrize(
    "reply", [{}, {"token": "t"}, {"token": "", "createUrl": "http://x"}, {"createUrl": 7}]
)
def test_an_upload_without_an_address_is_an_error(service, live, reply):
    service.answers["StartBlobUpload"] = json_reply(reply)
    with pytest.raises(Error):
        live.begin(part("w", b"w"))


# Answers that are lost


@pytest.mark.parametrize("method", ["CreateModelInstance", "CreateModelInstanceVersion"])
def test_a_create_whose_answer_is_lost_is_asked_once_and_can_be_repeated(
    relay: Relay, sender: Sender, method: str
) -> None:
    before = []
    if method == "CreateModelInstanceVersion":
        before = [sender.publish({"w": b"1"}).name]
    made = sender.bundle(INSTANCE.child("new"), sender.uploaded({"w": b"w", "d/x": b"x"}), "n")
    relay.losing.append(method)
    with pytest.raises(Unavailable):
        sender.registry.create(made)
    expected = [*before, str(len(before) + 1)]
    assert expected == names(sender.registry, str(INSTANCE))
    assert INSTANCE.child(expected[-1]) == sender.registry.create(made)
    assert expected == names(sender.registry, str(INSTANCE))
    assert 2 == len(relay.messages(method))


@pytest.mark.parametrize(
    "method", ["StartBlobUpload", "CreateModel", "UpdateModel", "DeleteModel", "/upload"]
)
def test_other_answers_that_are_lost_are_asked_for_again(
    relay: Relay, sender: Sender, method: str
) -> None:
    relay.losing += [method, method]
    registry = sender.registry
    version = sender.publish({"w": b"w"})
    (model,) = registry.documents(ref("alice/bert"))
    registry.update(ref("alice/bert"), edited(model, title="New"))
    (model,) = registry.documents(ref("alice/bert"))
    assert "New" == json.loads(model.content)["title"]
    assert ["w"] == [file.path for file in registry.manifest(version).files]
    registry.delete(ref("alice/bert"))
    assert [] == relay.losing


def test_a_new_upload_is_two_requests(relay: Relay, sender: Sender) -> None:
    sender.uploaded({"w": b"w"})
    assert ["StartBlobUpload", "upload"] == [
        request.path.rpartition("/")[2] for request in relay.requests
    ]
    assert "authorization" not in relay.requests[1].headers
