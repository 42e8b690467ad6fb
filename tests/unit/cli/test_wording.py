"""Sizes, durations and tables, as people read them."""

from __future__ import annotations

import pytest

from modelfs.cli import wording


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_400, "999 kB"),
        (999_600, "1.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (5 * 10**18, "5000 PB"),
    ],
)
def test_sizes_have_two_or_three_digits(count: int, text: str) -> None:
    assert text == wording.size(count)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (86_400, "1 d"),
        (100_000, "1 d 3 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds: float, text: str) -> None:
    assert text == wording.duration(seconds)


def test_one_thing_is_not_two() -> None:
    assert ("1 file", "0 files") == (wording.amount(1, "file"), wording.amount(0, "file"))


def test_text_from_elsewhere_is_one_line_without_control_characters() -> None:
    assert "no: �[31mred� second line" == wording.plain("no: \x1b[31mred\x7f\n second\tline")


def test_columns_are_aligned() -> None:
    text = wording.table([("a", "10", "x"), ("bcd", "9", "")], right=(1,), indent="  ")
    assert "  a    10  x\n  bcd   9" == text
