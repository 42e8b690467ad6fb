"""Results as people and programs read them: a table, lines of JSON, a page of the manual."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.measure import Missing, Result

_BEGIN, _END = "<!-- scripts/bench writes from here -->", "<!-- to here -->"


def machine(root: Path) -> dict[str, str]:
    """What was measured on, and with what; `root` is where the other clients are installed."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libfuse": _libfuse(),
        "modelfs": metadata.version("modelfs"),
        "fusepy": metadata.version("fusepy"),
        "curl": _second_word("curl", "--version"),
        "rclone": _second_word(str(root / ".clients" / "rclone" / "bin" / "rclone"), "version"),
    }


def described(root: Path) -> str:
    """The same in one line."""
    return ", ".join(f"{name} {value}" for name, value in machine(root).items())


def table(results: Sequence[Result], missing: Sequence[Missing]) -> str:
    """The results in Markdown, which is also readable as it is."""
    rows = [("case", "ours", "rival", "took", "ratio", "min to max", "bar", "met", "rounds")]
    for result in results:
        case, ratios = result.case, result.ratios
        spread = f"{_short(min(ratios))} to {_short(max(ratios))}"
        bar = "" if case.bar is None else f"{case.bar:g}"
        met = {None: "", True: "yes", False: "no"}[result.is_met]
        took = _taken(result)
        shown = (case.name, case.what, case.rival, took, _short(result.ratio), spread, bar, met)
        rows.append((*shown, str(len(ratios))))
    for left in missing:
        said = f"{'failed' if left.is_failure else 'left out'}: {left.why.splitlines()[0]}"
        rows.append(
            (left.case.name, left.case.what, left.case.rival, said[:60], "", "", "", "", "")
        )
    lines = aligned(rows)
    if parts := _parts(results):
        lines += ["", *aligned([("seconds of", "ours", "made of", "seconds"), *parts])]
    if grown := _growth(results):
        lines += ["", *aligned([("time per file", "ours", "rival"), *grown])]
    return "\n".join(lines)


def as_json(result: Result) -> str:
    """One line: the ratio first, and what it comes from."""
    return json.dumps(
        {
            "case": result.case.name,
            "what": result.case.what,
            "rival": result.case.rival,
            "ratio": round(result.ratio, 4),
            "min": round(min(result.ratios), 4),
            "max": round(max(result.ratios), 4),
            "bar": result.case.bar,
            "met": result.is_met,
            "unit": result.case.unit,
            "values": [_digits(value) for value in result.ours],
            "rival_values": [_digits(value) for value in result.rival],
            "parts": {
                name: [_digits(value) for value in values] for name, values in result.parts.items()
            },
        }
    )


def page(results: Sequence[Result], missing: Sequence[Missing], command: str, machine: str) -> str:
    """The part of the manual that is measured."""
    return f"`{command}`, on: {machine}.\n\n{table(results, missing)}"


def write_into(document: Path, text: str) -> None:
    """Replace what is between the marks of `document`."""
    before, _, rest = document.read_text().partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise RuntimeError(f"{document} lacks the marks that say where the table goes")
    document.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}")


def _taken(result: Result) -> str:
    """The medians of both sides, ours first."""
    ours, rival = statistics.median(result.ours), statistics.median(result.rival)
    if result.case.unit != "s":
        return f"{_short(ours)}, {_short(rival)} {result.case.unit}"
    units = (("s", 1.0), ("ms", 1e3), ("µs", 1e6))
    unit, factor = next((u, f) for u, f in units if min(ours, rival) * f >= 0.1 or u == "µs")
    return f"{_short(ours * factor)}, {_short(rival * factor)} {unit}"


def _parts(results: Sequence[Result]) -> list[tuple[str, str, str, str]]:
    """What the rival's time of a case is made of, for those that noted it."""
    return [
        (
            result.case.name,
            _short(statistics.median(result.ours)),
            name,
            _short(statistics.median(values)),
        )
        for result in results
        for name, values in result.parts.items()
    ]


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
    return f"{value:#.2g}".rstrip(".") if value < 9.5 else f"{value:.0f}"


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in Markdown, in lines; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def _processor() -> str:
    names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return str(names[0]) if names else platform.machine()


def _libfuse() -> str:
    from modelfs.mount import binding

    library = binding.load()._libfuse
    number = int(library.fuse_version())
    return f"{number // 10}.{number % 10}"


def _second_word(*command: str) -> str:
    if not shutil.which(command[0]):
        return "none"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout.split() or ["none", "unknown"])[1]
