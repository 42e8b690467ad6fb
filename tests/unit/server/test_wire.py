"""Requests are read tolerantly, and what makes no sense is refused by name."""

from __future__ import annotations

import pytest

from modelfs.errors import InvalidName
from modelfs.registry.local.facts import time_text
from modelfs.server.wire import Fields, parse_body, parse_time


@pytest.mark.parametrize("key", ["updateMask", "update_mask", "updatemask", "UpdateMask"])
def test_a_key_is_found_in_any_spelling(key: str) -> None:
    assert "x" == Fields({key: "x"}).text("updateMask")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("true", True), ("True", True), (1, True), ("false", False), (0, False)],
)
def test_a_boolean_may_be_text(value: object, expected: bool) -> None:
    assert expected is Fields({"isPrivate": value}).flag("isPrivate", default=not expected)


def test_a_null_is_absent() -> None:
    fields = Fields({"isPrivate": None, "title": None})
    assert fields.flag("isPrivate", default=True)
    assert not fields.has("title")


@pytest.mark.parametrize("value", [[], {}, "maybe", None.__class__])
def test_a_strange_boolean_is_refused(value: object) -> None:
    with pytest.raises(InvalidName, match="isPrivate"):
        Fields({"isPrivate": value}).flag("isPrivate")


@pytest.mark.parametrize(("value", "expected"), [(3, 3), ("3", 3), (3.0, 3), ("0", 0)])
def test_a_number_may_be_text(value: object, expected: int) -> None:
    assert expected == Fields({"n": value}).number("n")


@pytest.mark.parametrize("value", [-1, 1.5, "x", "-1", "9" * 5000, 1 << 63, True, [], "٣"])
def test_a_strange_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidName, match="n "):
        Fields({"n": value}).number("n")


@pytest.mark.parametrize("value", [[1], {}, True, "\ud800"])
def test_what_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidName, match="title"):
        Fields({"title": value}).text("title")


def test_the_word_none_is_no_page_token() -> None:
    assert "" == Fields({"pageToken": "None"}).page_token()


@pytest.mark.parametrize(
    "mask",
    ["title,isPrivate", "title, is_private", {"paths": ["title", "is_private"]}],
)
def test_a_mask_says_what_is_touched(mask: object) -> None:
    fields = Fields({"updateMask": mask, "subtitle": "not touched"})
    names = {"title": "title", "isPrivate": "is_private", "subtitle": "subtitle"}
    assert {"title": "title", "isPrivate": "is_private"} == fields.touched(names)


def test_without_a_mask_what_is_there_is_touched() -> None:
    names = {"title": "title", "isPrivate": "is_private"}
    assert {"title": "title"} == Fields({"title": ""}).touched(names)


def test_a_mask_of_unknown_fields_is_refused() -> None:
    with pytest.raises(InvalidName, match="ownerslug"):
        Fields({"updateMask": "ownerSlug"}).touched({"title": "title"})


@pytest.mark.parametrize(
    "body", [b"[]", b"3", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"a":' + b"9" * 5000]
)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidName):
        parse_body(body)


def test_an_empty_body_is_an_empty_object() -> None:
    assert {} == parse_body(b" ")


@pytest.mark.parametrize("text", ["2024-01-02", "2024-01-02T00:00:00Z", "2024-01-02T00:00:00.000Z"])
def test_a_time_goes_in_and_out(text: str) -> None:
    assert "2024-01-02T00:00:00.000Z" == time_text(parse_time(text))


@pytest.mark.parametrize(
    "text",
    # The last ones are moments that no answer could write down, in UTC.
    ["yesterday", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00+01", "9999-12-31T23:59:59.999999"],
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="not a date or time"):
        parse_time(text)
