"""The ratios as a picture, for those who do not read tables."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, Skipped

# What no picture of ratios can show: counts and memory are in the table.
_UNIT = "s"
_GOOD, _SHORT, _PLAIN = "#2a7f62", "#c8553d", "#4a6fa5"
_ROW = 0.24


def library() -> Any:
    """The library that draws; Skipped where it is not installed."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError as exc:
        raise Skipped("matplotlib is not installed (scripts/setup server,bench)") from exc
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def draw(results: Sequence[Result], file: Path, machine: str) -> None:
    """A bar for each case, from worst to best round a line, its bar to reach a mark."""
    pyplot = library()
    shown = [result for result in results if result.case.unit == _UNIT]
    if not shown:
        return
    figure, axes = pyplot.subplots(figsize=(11, 1.4 + _ROW * len(shown)), layout="constrained")
    for row, result in enumerate(shown):
        colour = {None: _PLAIN, True: _GOOD, False: _SHORT}[result.is_met]
        axes.barh(row, result.ratio - 1, left=1, color=colour, height=0.7)
        axes.plot([min(result.ratios), max(result.ratios)], [row, row], color="#333", lw=0.8)
        if result.case.bar is not None:
            axes.plot([result.case.bar] * 2, [row - 0.45, row + 0.45], color="black", lw=1.8)
    names = [f"{result.case.what}  :  {result.case.rival}" for result in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.axvline(1, color="black", lw=0.8)
    axes.grid(axis="x", which="major", alpha=0.3)
    key = "times as fast as the rival; a mark is the bar to reach (green: reached, red: not)"
    axes.set_xlabel("\n".join([key, *textwrap.wrap(machine, 90)]), fontsize=7)
    axes.set_title("modelfs against what one would use instead", fontsize=10)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)
