"""The official wriftai package and `modelfs.wriftai` side by side: the same calls and answers.

Every documented method of `client.model_versions`, sync and async, against one registry. What each
of the two was answered is compared, and how each of them fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from clients.wriftai_session import OFFICIAL, OURS, Refused, Session
from modelfs.errors import for_status
from serving import Served

DIGEST = "sha256:" + "b2" * 32
VERSION: dict[str, Any] = {
    "release_notes": "first",
    "schemas": {"prediction": {"input": {"type": "object"}, "output": {"type": "string"}}},
    "container_image_digest": DIGEST,
}
FLAGS = {"openai_embeddings": True}
CONFIGURATION = {"hardware_identifier": "gpu", "variable_names": ["A"]}

_numbers = count(1)


@pytest.fixture(scope="module", params=["sync", "async"])
def both(
    registry: Served, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Session, Session]]:
    """The official client and ours, both of alice."""
    home = tmp_path_factory.mktemp("both") / "home"
    with Session(OFFICIAL, registry, home) as official, Session(OURS, registry, home) as ours:
        official.mode = ours.mode = request.param
        yield official, ours


@pytest.fixture
def model(both: tuple[Session, Session]) -> str:
    return made(both[0])


def made(official: Session, versions: int = 0) -> str:
    """A new model with so many versions."""
    name = f"both-{next(_numbers)}"
    official("models.create", {"name": name})
    for number in range(1, versions + 1):
        options = {**VERSION, "release_notes": f"number {number}"}
        official("model_versions.create", f"alice/{name}", options)
    return f"alice/{name}"


def timeless(value: Any) -> Any:
    """`value` without the times in it, and without what tells two models apart."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "created_at"}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def failure(session: Session, call: tuple[Any, ...]) -> str | int:
    """How a call fails: ValueError, or the HTTP status as our errors have it (422 is 400)."""
    refused: Refused = session.refused(*call)
    if "ValueError" in refused.kinds:
        return "ValueError"
    assert refused.status is not None, refused
    return for_status(refused.status).status


def test_a_version_reads_the_same(both: tuple[Session, Session]) -> None:
    model = made(both[0], versions=2)
    for number in (1, 2):
        one, other = (session("model_versions.get", f"{model}:{number}") for session in both)
        assert one == other
        assert {"number", "release_notes", "created_at", "schemas", "compatibilities"} <= set(one)


def test_pages_read_the_same_and_their_cursors_are_worth_the_same(
    both: tuple[Session, Session],
) -> None:
    model = made(both[0], versions=12)
    for options in (None, {}, {"page_size": 5}):
        one, other = (session("model_versions.list", model, options) for session in both)
        assert one == other
        assert {"items", "next_cursor", "previous_cursor"} == set(one)
    official, ours = both
    second = ours("model_versions.list", model, {"page_size": 5, "cursor": one["next_cursor"]})
    assert [7, 6, 5, 4, 3] == [item["number"] for item in second["items"]]
    options = {"page_size": 5, "cursor": second["previous_cursor"]}
    assert one == official("model_versions.list", model, options)
    assert one == ours("model_versions.list", identifier=model, pagination_options=options)


@pytest.mark.parametrize(
    "options",
    [
        VERSION,
        {**VERSION, "compatibilities": FLAGS},
        {**VERSION, "configuration": CONFIGURATION},
        {**VERSION, "release_notes": ""},
        {**VERSION, "release_notes": "é" * 255},
    ],
    ids=["plain", "compatible", "configured", "silent", "long"],
)
def test_a_version_is_made_the_same(both: tuple[Session, Session], options: dict[str, Any]) -> None:
    answers = []
    for session in both:
        model = made(both[0])
        answers.append(timeless(session("model_versions.create", model, options)))
        read = both[0]("model_versions.get", f"{model}:1")
        assert timeless(read).items() <= answers[-1].items()
    assert answers[0] == answers[1]


def test_a_version_is_deleted_the_same(both: tuple[Session, Session]) -> None:
    for session in both:
        model = made(both[0], versions=2)
        assert session("model_versions.delete", f"{model}:2") is None
        assert 404 == both[0].refused("model_versions.get", f"{model}:2").status
        assert 3 == session("model_versions.create", model, VERSION)["number"]


def test_a_configuration_is_read_and_changed_the_same(both: tuple[Session, Session]) -> None:
    answers = []
    for session in both:
        name = f"{made(both[0], versions=1)}:1"
        answers.append(
            (
                session("model_versions.get_configuration", name),
                session("model_versions.update_configuration", name, {"variable_names": ["B"]}),
                session(
                    "model_versions.update_configuration", name, {"hardware_identifier": "gpu"}
                ),
                both[0]("model_versions.get_configuration", name),
            )
        )
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "call",
    [
        ("authenticated_user.get",),
        ("authenticated_user.models", {"page_size": 5}),
        ("users.get", "alice"),
        ("users.list", {"sort_direction": "asc"}),
        ("users.search", "lic"),
        ("models.get", "{model}"),
        ("models.list", {"category_slugs": ["a", "b"]}, "alice"),
        ("models.search", "both", {"page_size": 5}),
    ],
)
def test_what_is_beside_the_versions_reads_the_same(
    both: tuple[Session, Session], call: tuple[Any, ...]
) -> None:
    model = made(both[0], versions=1)
    both[0]("models.update", model, {"category_slugs": ["b"]})
    name, *arguments = (part.format(model=model) if part == "{model}" else part for part in call)
    one, other = (session(name, *arguments) for session in both)
    assert one == other
    assert one.get("items", True)


NEVER = ["alice", "alice/", "/m1", "", "alice/m1:", "alice/:1"]
OF_MODEL = ("list", "create")
OF_VERSION = ("get", "delete", "get_configuration", "update_configuration")
NO_IDENTIFIERS = [(name, text) for name in OF_MODEL for text in (*NEVER, "alice/m1:1")]
NO_IDENTIFIERS += [(name, text) for name in OF_VERSION for text in (*NEVER, "alice/m1")]


@pytest.mark.parametrize(("name", "identifier"), NO_IDENTIFIERS)
def test_an_identifier_that_is_none_is_the_same_error(
    both: tuple[Session, Session], name: str, identifier: str
) -> None:
    more = {"create": (VERSION,), "update_configuration": ({},)}.get(name, ())
    call = (f"model_versions.{name}", identifier, *more)
    assert ["ValueError"] * 2 == [failure(session, call) for session in both]


# `{model}` stands for a model with one version.
@pytest.mark.parametrize(
    ("name", "identifier", "more", "status"),
    [
        ("get", "{model}:2", (), 404),
        ("get", "alice/never:1", (), 404),
        ("get", "nobody/never:1", (), 404),
        ("list", "alice/never", (), 404),
        ("list", "{model}", ({"page_size": 51},), 422),
        ("list", "{model}", ({"cursor": "x"},), 422),
        ("delete", "{model}:2", (), 404),
        ("create", "alice/never", (VERSION,), 404),
        ("create", "{model}", ({**VERSION, "release_notes": "x" * 256},), 422),
        ("create", "{model}", ({**VERSION, "container_image_digest": "sha256:x"},), 422),
        ("create", "{model}", ({**VERSION, "schemas": {}},), 422),
        ("create", "{model}", ({},), 422),
        ("get_configuration", "{model}:2", (), 404),
        ("update_configuration", "{model}:2", ({"variable_names": []},), 404),
        ("update_configuration", "{model}:1", ({"variable_names": "A"},), 422),
    ],
)
def test_a_refusal_is_the_same(
    both: tuple[Session, Session],
    name: str,
    identifier: str,
    more: tuple[Any, ...],
    status: int,
) -> None:
    model = made(both[0], versions=1)
    call = (f"model_versions.{name}", identifier.format(model=model), *more)
    assert status == both[0].refused(*call).status
    assert failure(both[0], call) == failure(both[1], call)


def test_without_the_token_both_are_refused(
    registry: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("strangers") / "home"
    for which in (OFFICIAL, OURS):
        with Session(which, registry, home, "wrong") as stranger:
            assert 401 == failure(stranger, ("model_versions.list", "alice/m1"))
