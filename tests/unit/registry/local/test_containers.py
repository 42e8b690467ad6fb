"""Container models in a registry: rows, numbers, pages, requests that are repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from modelfs.errors import Exists, InvalidName, NotFound
from modelfs.registry.local import Store
from modelfs.registry.local.container_records import Configuration, NewVersion
from modelfs.registry.local.containers import Containers
from modelfs.registry.local.cursors import Turn
from modelfs.registry.local.schema import (
    accounts,
    container_categories,
    container_models,
    container_versions,
    schema_version,
)
from unit.registry.local.filling import NOW, Clock, Filling

DIGEST = "sha256:" + "a" * 64
SCHEMAS = {"prediction": {"input": {"type": "object"}, "output": {}}}
M1 = ("alice", "m1")


def new(notes: str = "", **more: object) -> NewVersion:
    return NewVersion(notes, DIGEST, SCHEMAS, **more)  # type: ignore[arg-type]


@pytest.fixture
def containers(store: Store) -> Containers:
    store.containers.create_model(*M1, {"visibility": "private"})
    return store.containers


def numbers(containers: Containers) -> list[int]:
    return [item.number for item in containers.versions(*M1, viewer="alice").items]


def test_a_registry_of_the_second_layout_is_brought_up(
    store: Store, fill: Filling, directory: Path
) -> None:
    fill.instance({"w": b"w"})
    with store._database.write() as connection:
        for table in (container_versions, container_categories, container_models, accounts):
            table.drop(connection)
        connection.execute(update(schema_version).values(version=2))
    store.stop()
    again = Store(directory)
    again.start()
    again.containers.create_model(*M1, {"visibility": "private"})
    assert 1 == again.containers.create_version(*M1, new()).number
    assert "bert" == again.model("alice", "bert").slug
    again.stop()


def test_a_container_model_and_a_kaggle_model_of_one_name_are_two_things(
    store: Store, fill: Filling
) -> None:
    fill.instance({"w": b"w"})
    store.containers.create_model("alice", "bert", {"visibility": "private"})
    store.delete_model("alice", "bert")
    assert "bert" == store.containers.model("alice", "bert", viewer="alice").name
    store.create_model("alice", "bert", title="Bert")
    store.containers.delete_model("alice", "bert")
    assert "bert" == store.model("alice", "bert").slug


def test_a_number_is_never_given_twice(containers: Containers) -> None:
    for _ in range(2):
        containers.create_version(*M1, new())
    containers.delete_version(*M1, 2)
    containers.delete_version(*M1, 1)
    assert 3 == containers.create_version(*M1, new()).number
    assert [3] == numbers(containers)


def test_a_version_is_as_it_was_sent(containers: Containers, clock: Clock) -> None:
    asked = new("notes", compatibilities=frozenset({"openai_embeddings"}))
    made = containers.create_version(*M1, asked)
    assert made == containers.version(*M1, 1, viewer="alice")
    assert ("notes", SCHEMAS, NOW) == (made.release_notes, made.schemas, made.created)
    assert frozenset({"openai_embeddings"}) == made.compatibilities
    assert made == containers.model(*M1, viewer="alice").latest


def test_a_configuration_is_inherited_from_the_version_before(containers: Containers) -> None:
    assert Configuration("cpu", ()) == containers.create_version(*M1, new()).configuration
    asked = new(hardware_identifier="gpu", variable_names=("A", "B"))
    assert Configuration("gpu", ("A", "B")) == containers.create_version(*M1, asked).configuration
    containers.configure(*M1, 2, variable_names=("C",))
    assert Configuration("gpu", ("C",)) == containers.create_version(*M1, new()).configuration
    asked = new(variable_names=())
    assert Configuration("gpu", ()) == containers.create_version(*M1, asked).configuration
    assert Configuration("cpu", ()) == containers.version(*M1, 1, viewer="alice").configuration


def test_a_request_that_is_repeated_makes_nothing(containers: Containers) -> None:
    made = containers.create_version(*M1, new("one"), "key")
    containers.create_version(*M1, new("two"))
    assert made == containers.create_version(*M1, new("one"), "key")
    assert [2, 1] == numbers(containers)


def test_a_request_without_a_key_is_a_new_one(containers: Containers) -> None:
    for _ in range(2):
        containers.create_version(*M1, new("same"))
    assert [2, 1] == numbers(containers)


def test_a_key_is_for_one_request_of_one_model(containers: Containers) -> None:
    containers.create_version(*M1, new("one"), "key")
    with pytest.raises(InvalidName, match="another"):
        containers.create_version(*M1, new("two"), "key")
    containers.create_model("alice", "m2", {"visibility": "private"})
    assert 1 == containers.create_version("alice", "m2", new("two"), "key").number
    assert [1] == numbers(containers)


def test_a_name_is_taken_once_and_can_be_changed(containers: Containers) -> None:
    with pytest.raises(Exists):
        containers.create_model(*M1, {"visibility": "public"})
    containers.create_model("bob", "m1", {"visibility": "public"})
    containers.create_model("alice", "m2", {"visibility": "public"})
    with pytest.raises(Exists):
        containers.update_model("alice", "m2", {"name": "m1"})
    containers.create_version(*M1, new())
    renamed = containers.update_model(*M1, {"name": "m3"})
    assert ("m3", 1) == (renamed.name, renamed.latest.number if renamed.latest else 0)
    with pytest.raises(NotFound):
        containers.model(*M1, viewer=None)


@pytest.mark.parametrize("visibility", ["private", "restricted"])
def test_what_is_not_public_is_for_its_owner(containers: Containers, visibility: str) -> None:
    containers.update_model(*M1, {"visibility": visibility}, ("speech",))
    containers.create_version(*M1, new())
    for viewer, count in (("alice", 1), (None, 1), ("bob", 0)):
        assert count == len(containers.models(viewer=viewer).items)
        assert count == len(containers.models(viewer=viewer, owner="alice").items)
        assert count == len(containers.models(viewer=viewer, search="m1").items)
        assert count == len(containers.categories(viewer=viewer).items)
    with pytest.raises(NotFound):
        containers.model(*M1, viewer="bob")
    with pytest.raises(NotFound):
        containers.versions(*M1, viewer="bob")
    with pytest.raises(NotFound):
        containers.version(*M1, 1, viewer="bob")
    containers.update_model(*M1, {"visibility": "public"})
    assert 1 == containers.version(*M1, 1, viewer="bob").number


def test_what_is_not_there_is_said_by_name(containers: Containers) -> None:
    for number in (1, 2**31, 2**62):
        with pytest.raises(NotFound, match=f"alice/m1:{number}: no such version"):
            containers.version(*M1, number, viewer=None)
    with pytest.raises(NotFound, match="nobody: no such user"):
        containers.models(viewer=None, owner="nobody")
    with pytest.raises(NotFound, match="nobody: no such user"):
        containers.account("nobody")


def test_models_are_found_by_name_description_and_category(containers: Containers) -> None:
    containers.update_model(*M1, {"description": "Straße 100%"}, ("b", "a", "a"))
    containers.create_model("alice", "other", {"visibility": "public"}, ("c",))
    for search, found in (("STRASSE", ["m1"]), ("100%", ["m1"]), ("0_", []), ("oth", ["other"])):
        page = containers.models(viewer="alice", search=search)
        assert found == [item.name for item in page.items], search
    page = containers.models(viewer="alice", categories=("a", "b"))
    assert [("m1", ("a", "b"))] == [(item.name, item.categories) for item in page.items]
    assert ("a", "b", "c") == containers.categories(viewer=None).items
    containers.delete_model(*M1)
    assert ("c",) == containers.categories(viewer=None).items


def test_somebody_says_what_they_like_of_themselves(containers: Containers, clock: Clock) -> None:
    before = containers.join("alice")
    assert before == containers.join("alice")
    assert before.updated is None
    clock.now += 5
    after = containers.update_account("alice", {"display_name": "Al", "urls": ("http://a",)})
    assert ("Al", ("http://a",), NOW + 5) == (after.display_name, after.urls, after.updated)
    assert before.uuid == after.uuid
    assert ("alice",) == tuple(item.name for item in containers.accounts(search="AL").items)
    assert containers.update_account("alice", {"urls": None}).urls is None


@pytest.mark.parametrize("is_descending", [True, False])
def test_pages_are_turned_in_both_directions(
    containers: Containers, clock: Clock, is_descending: bool
) -> None:
    names = ["m1"]
    for index in range(2, 8):
        clock.now += index % 2  # some at the same time
        containers.create_model("alice", f"m{index}", {"visibility": "public"})
        names.append(f"m{index}")
    expected = names[::-1] if is_descending else names

    def page(cursor: str = "") -> tuple[list[str], str, str]:
        turn = Turn(3, cursor)
        found = containers.models(viewer=None, is_descending=is_descending, turn=turn)
        return [item.name for item in found.items], found.next_cursor, found.previous_cursor

    first, to_second, none = page()
    assert (expected[:3], "") == (first, none)
    second, to_third, back_to_first = page(to_second)
    assert expected[3:6] == second
    third, end, back_to_second = page(to_third)
    assert (expected[6:], "") == (third, end)
    assert (expected[3:6], to_third, back_to_first) == page(back_to_second)
    assert (expected[:3], to_second, "") == page(back_to_first)


def test_a_page_goes_on_where_it_was_whatever_came_and_went(containers: Containers) -> None:
    for _ in range(8):
        containers.create_version(*M1, new())
    first = containers.versions(*M1, viewer=None, turn=Turn(3))
    assert [8, 7, 6] == [item.number for item in first.items]
    containers.create_version(*M1, new())
    containers.delete_version(*M1, 6)
    containers.delete_version(*M1, 5)
    second = containers.versions(*M1, viewer=None, turn=Turn(3, first.next_cursor))
    assert [4, 3, 2] == [item.number for item in second.items]
    back = containers.versions(*M1, viewer=None, turn=Turn(3, second.previous_cursor))
    assert [9, 8, 7] == [item.number for item in back.items]


@pytest.mark.parametrize("cursor", ["x", "WyJhIl0=", "\u2603"])
def test_a_cursor_of_something_else_is_refused(containers: Containers, cursor: str) -> None:
    with pytest.raises(InvalidName, match="page token"):
        containers.models(viewer=None, turn=Turn(5, cursor))


def test_a_cursor_is_for_one_direction_of_one_list(containers: Containers) -> None:
    containers.create_model("alice", "m2", {"visibility": "public"})
    turn = Turn(1, containers.models(viewer=None, turn=Turn(1)).next_cursor)
    with pytest.raises(InvalidName, match="another list"):
        containers.models(viewer=None, is_descending=False, turn=turn)
    with pytest.raises(InvalidName, match="another list"):
        containers.accounts(turn=turn)
