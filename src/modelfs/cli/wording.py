"""How the commands put things: sizes, durations, tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes as people say them: `0 B`, `999 B`, `1.2 GB`, `350 MB`."""
    power = 0
    while count >= 999.5 and power < len(_UNITS) - 1:
        count /= 1000
        power += 1
    return (
        f"{count:.1f} {_UNITS[power]}" if power and count < 9.95 else f"{count:.0f} {_UNITS[power]}"
    )


def duration(seconds: float) -> str:
    """Seconds as people say them: `50 s`, `3 min`, `2 h 5 min`, `4 d 3 h`."""
    if seconds < 60:
        return f"{max(0, seconds):.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def amount(count: int, noun: str) -> str:
    """`1 file`, `3 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def plain(text: object) -> str:
    """Text from elsewhere as one line that a terminal can show; it may be a registry's."""
    words = " ".join(str(text).split())
    return "".join(char if char.isprintable() else "�" for char in words)


def table(rows: Iterable[Sequence[str]], *, right: Sequence[int] = (), indent: str = "") -> str:
    """Rows of cells as aligned columns; those numbered in `right` are aligned there."""
    lines = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        indent
        + "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
