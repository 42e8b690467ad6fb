"""Listings as tables, CSV and JSON, laid out as the official client's, byte for byte.

Columns take their values from what the registry says. In a table, what a terminal would act on is
replaced. Pure: items in, text out.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from modelfs.errors import Usage
from modelfs.model import Item

_FORMATS = ("table", "csv", "json")
_FORMAT = re.compile(r"\s*(\w*)\s*(?:\((.*)\)\s*)?", re.DOTALL)
_SIZES = ("B", "KB", "MB", "GB", "TB")

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a listing: what it is called in a projection, and at its head.

    An extra one is shown only where a projection names it.
    """

    field: str
    label: str
    value: Callable[[Item], object]
    is_extra: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """How a listing is printed: `table`, `csv` or `json`, and the fields that were asked for."""

    format: str = "table"
    fields: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Layout:
        """The layout of `json` or `csv(ref,id)`; Usage, saying what is possible, for others."""
        match = _FORMAT.fullmatch(text)
        if not match or match[1] not in _FORMATS:
            raise Usage(
                f"not a format: {text!r}",
                hint="possible are table, csv and json, with fields or without: json(ref,id)",
            )
        return cls(match[1], tuple(filter(None, map(str.strip, (match[2] or "").split(",")))))

    def columns(self, known: Sequence[Column]) -> tuple[Column, ...]:
        """Those of `known` that were asked for, in that order; Usage for one that is not there."""
        if not self.fields:
            return tuple(column for column in known if not column.is_extra)
        found = {column.field: column for column in known} | {c.label: c for c in known}
        for field in self.fields:
            if field not in found:
                raise Usage(f"no such field: {field!r}", hint=f"possible are {', '.join(found)}")
        return tuple(found[field] for field in self.fields)


def text_of(key: str) -> Callable[[Item], object]:
    """The text under `key`, an empty one if there is none."""
    return lambda item: str(item.facts.get(key) or "")


def number_of(key: str) -> Callable[[Item], int]:
    """The integer under `key`, 0 if there is none: the wire leaves zeros out."""

    def value(item: Item) -> int:
        found = item.facts.get(key)
        return found if isinstance(found, int) else 0

    return value


def flag_of(key: str) -> Callable[[Item], object]:
    return lambda item: item.facts.get(key) is True


def time_of(*keys: str) -> Callable[[Item], object]:
    """The moment at the end of the path `keys`, in UTC and without saying so; None if none."""

    def value(item: Item) -> object:
        found: object = item.facts
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return _moment(found)

    return value


def size_of(key: str) -> Callable[[Item], object]:
    """The bytes under `key` as the official client writes them: `8B`, `5KB`."""
    count = number_of(key)
    return lambda item: _size(count(item))


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).replace(tzinfo=None) if text else None
    except ValueError:
        return None


def _size(count: float) -> str:
    power = 0
    while count >= 1024 and power < len(_SIZES) - 1:
        count /= 1024
        power += 1
    return f"{count:.0f}{_SIZES[power]}"


def printed(items: Iterable[Item], columns: Sequence[Column], layout: Layout) -> str:
    """`items` as whole lines; a table without rows has none."""
    chosen = layout.columns(columns)
    rows = [tuple(column.value(item) for column in chosen) for item in items]
    return {"table": _table, "csv": _csv, "json": _json}[layout.format](chosen, rows)


def _csv(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.label for column in columns])
    writer.writerows([_word(cell) for cell in row] for row in rows)
    # A registry's text may hold half a surrogate pair, which no output can: it becomes "?".
    return text.getvalue().encode(errors="replace").decode()


def _json(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    labels = [column.label for column in columns]
    cells = ((cell.isoformat() if isinstance(cell, datetime) else cell for cell in r) for r in rows)
    return json.dumps([dict(zip(labels, row, strict=True)) for row in cells], indent=2) + "\n"


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    words = [[_visible(_word(cell)) for cell in row] for row in rows]
    lines: list[str] = [""] * (len(rows) + 2)
    for number, column in enumerate(columns):
        # As wide as the name of the field even where the label is shorter, as the original's.
        width = max(len(column.field), *(len(row[number]) for row in words))
        is_right = isinstance(rows[0][number], int) or column.field == "size"
        entries = (column.label, "-" * width, *(row[number] for row in words))
        for line, entry in enumerate(entries):
            lines[line] += f"{entry}  ".rjust(width + 2) if is_right else f"{entry:{width + 2}}"
    return "".join(f"{line}\n" for line in lines)


def _word(cell: object) -> str:
    return "" if cell is None else str(cell)


def _visible(text: str) -> str:
    return "".join(char if char.isprintable() else "�" for char in text)
