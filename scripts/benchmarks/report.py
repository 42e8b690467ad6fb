"""Results as people and programs read them: a table, lines of JSON, a page of the manual."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.measure import Result

_BEGIN, _END = "<!-- scripts/bench writes from here -->", "<!-- to here -->"


def machine() -> dict[str, str]:
    """What was measured on, and with what."""
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libfuse": _libfuse(),
        "modelfs": metadata.version("modelfs"),
        "fusepy": metadata.version("fusepy"),
        "curl": _first_words("curl", "--version"),
    }


def table(results: Sequence[Result], skipped: Sequence[tuple[str, str]]) -> str:
    """The results in Markdown, which is also readable as it is."""
    rows = [("case", "ours", "rival", "ratio", "min to max", "rounds")]
    for result in results:
        case, ratios = result.case, result.ratios
        spread = f"{_short(min(ratios))} to {_short(max(ratios))}"
        rows.append(
            (
                case.name,
                case.what,
                case.rival,
                _short(result.ratio),
                spread,
                str(len(ratios)),
            )
        )
    rows += [(name, why, "", "not measured", "", "") for name, why in skipped]
    lines = _aligned(rows)
    if grown := _growth(results):
        lines += ["", *_aligned([("time per file", "ours", "rival"), *grown])]
    return "\n".join(lines)


def as_json(result: Result) -> str:
    """One line: the ratio first, and the seconds it comes from."""
    return json.dumps(
        {
            "case": result.case.name,
            "what": result.case.what,
            "rival": result.case.rival,
            "ratio": round(result.ratio, 4),
            "min": round(min(result.ratios), 4),
            "max": round(max(result.ratios), 4),
            "seconds": [round(value, 6) for value in result.ours],
            "rival_seconds": [round(value, 6) for value in result.rival],
        }
    )


def page(results: Sequence[Result], skipped: Sequence[tuple[str, str]], command: str) -> str:
    """The part of the manual that is measured."""
    described = ", ".join(f"{name} {value}" for name, value in machine().items())
    return f"`{command}`, on: {described}.\n\n{table(results, skipped)}"


def write_into(document: Path, text: str) -> None:
    """Replace what is between the marks of `document`."""
    before, _, rest = document.read_text().partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise RuntimeError(f"{document} lacks the marks that say where the table goes")
    document.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")


def _growth(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """How the time per file grows from the smallest version of each kind of case to the largest."""
    kinds: dict[str, list[Result]] = {}
    for result in results:
        if result.case.files:
            kinds.setdefault(result.case.name.rpartition("-")[0], []).append(result)
    rows = []
    for kind, found in kinds.items():
        found.sort(key=lambda result: result.case.files)
        least, most = found[0], found[-1]
        if least is most:
            continue
        name = f"{kind}: {most.case.files:,} files against {least.case.files:,}"
        ours = _per_file(most.ours, most) / _per_file(least.ours, least)
        rival = _per_file(most.rival, most) / _per_file(least.rival, least)
        rows.append((name, _short(ours), _short(rival)))
    return rows


def _per_file(seconds: Sequence[float], result: Result) -> float:
    return min(seconds) / result.case.files


def _short(value: float) -> str:
    """Two digits that count."""
    return f"{value:#.2g}" if value < 9.5 else f"{value:.0f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def _libfuse() -> str:
    from modelfs.mount import binding

    library = binding.load()._libfuse
    number = int(library.fuse_version())
    return f"{number // 10}.{number % 10}"


def _first_words(*command: str) -> str:
    if not shutil.which(command[0]):
        return "none"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.split() or ["none", "unknown"])[1]
