"""Listings as the official client prints them."""

from __future__ import annotations

import json

import pytest

from modelfs.cli.tables import (
    Column,
    Layout,
    flag_of,
    number_of,
    printed,
    size_of,
    text_of,
    time_of,
)
from modelfs.errors import Usage
from modelfs.model import Item
from modelfs.refs import Ref

COLUMNS = (
    Column("versionNumber", "version", number_of("number")),
    Column("title", "title", text_of("title")),
    Column("isPrivate", "private", flag_of("isPrivate")),
    Column("date", "created", time_of("made", "at")),
    Column("bytes", "size", size_of("bytes")),
    Column("slug", "slug", text_of("slug"), is_extra=True),
)
FULL = Item(
    Ref(),
    {
        "number": 12,
        "title": 'a "title", with ☃',
        "isPrivate": True,
        "made": {"at": "2025-06-01T12:34:56.789Z"},
        "bytes": 5300,
        "slug": "s",
    },
)
EMPTY = Item(Ref(), {})


def test_a_table_is_as_wide_as_the_field_or_the_longest_cell() -> None:
    expected = [
        "      version  title              private    created                     size  ",
        "-------------  -----------------  ---------  --------------------------  -----  ",
        '           12  a "title", with ☃       True  2025-06-01 12:34:56.789000  5KB    ',
        "            0                         False                              0B     ",
    ]
    lines = printed([FULL, EMPTY], COLUMNS, Layout()).splitlines()
    assert [" ".join(line.split()) for line in expected] == [" ".join(x.split()) for x in lines]
    assert 1 == len({len(line) for line in lines})
    assert lines[0].startswith("      version  title")


def test_csv_has_crlf_and_what_python_calls_its_values() -> None:
    assert (
        "version,title,private,created,size\r\n"
        '12,"a ""title"", with ☃",True,2025-06-01 12:34:56.789000,5KB\r\n'
        "0,,False,,0B\r\n"
    ) == printed([FULL, EMPTY], COLUMNS, Layout("csv"))


def test_json_has_the_values_themselves() -> None:
    text = printed([FULL, EMPTY], COLUMNS, Layout.parse("json(version, isPrivate ,created,slug)"))
    assert [
        {"version": 12, "private": True, "created": "2025-06-01T12:34:56.789000", "slug": "s"},
        {"version": 0, "private": False, "created": None, "slug": ""},
    ] == json.loads(text)
    assert text.startswith('[\n  {\n    "version": 12,')


def test_without_rows_there_is_a_head_for_programs_only() -> None:
    assert "" == printed([], COLUMNS, Layout())
    assert "version,title,private,created,size\r\n" == printed([], COLUMNS, Layout("csv"))
    assert "[]\n" == printed([], COLUMNS, Layout("json"))


def test_fields_are_shown_in_the_order_that_they_were_asked_for() -> None:
    assert "title,version\r\nt,1\r\n" == printed(
        [Item(Ref(), {"title": "t", "number": 1})],
        COLUMNS,
        Layout.parse("csv(title,versionNumber)"),
    )


@pytest.mark.parametrize("text", ["xml", "json(", "json(a", "json)a(", "", "(a)", "json(a)b"])
def test_a_format_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(Usage, match="not a format"):
        Layout.parse(text)


def test_a_field_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Usage, match="no such field: 'nope'") as caught:
        Layout.parse("json(nope)").columns(COLUMNS)
    assert "versionNumber" in caught.value.hint


def test_what_a_terminal_would_act_on_is_not_in_a_table() -> None:
    text = printed([Item(Ref(), {"title": "a\x1b]0;x\x07\nb\r"})], COLUMNS, Layout())
    assert not {"\x1b", "\x07", "\r"} & set(text)
    assert 3 == len(text.splitlines())


def test_half_a_surrogate_pair_can_be_printed() -> None:
    item = Item(Ref(), {"title": "\ud800"})
    for name in ("table", "csv", "json"):
        printed([item], COLUMNS, Layout(name)).encode()


@pytest.mark.parametrize(
    "facts",
    [
        {"number": "x", "made": 3, "bytes": None, "title": 7, "isPrivate": "yes"},
        {"made": {"at": "not a time"}, "number": [1]},
    ],
)
def test_facts_of_another_kind_are_none(facts: dict[str, object]) -> None:
    (row,) = json.loads(printed([Item(Ref(), facts)], COLUMNS, Layout("json")))
    assert (0, False, None, "0B") == (
        row["version"],
        row["private"],
        row["created"],
        row["size"],
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1KB"),
        (5 << 20, "5MB"),
        (3 << 40, "3TB"),
        (1 << 60, "1048576TB"),
    ],
)
def test_sizes_are_the_official_ones(count: int, text: str) -> None:
    assert text == size_of("bytes")(Item(Ref(), {"bytes": count}))
