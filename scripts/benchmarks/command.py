"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import chart, report
from benchmarks.calm import spread
from benchmarks.cases import cases
from benchmarks.measure import Case, Missing, Result, Skipped, measure
from benchmarks.planting import Sizes
from benchmarks.stage import Stage

# What the registry, a cache and a copy of the large file and of the small ones need at once.
_ROOM, _FULL_ROOM = 8 << 30, 20 << 30
_PICTURE = "performance.png"
# Of what takes long.
_ROUNDS = 2
# Seconds that any case may take, in which short ones get more.
_PATIENCE = 3.0


def main(root: Path, words: Sequence[str]) -> int:
    options = _parser().parse_args(words)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Mounts and servers are taken away on the way out.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sizes = Sizes.small() if options.small else Sizes.full() if options.full else Sizes()
    chosen = [
        case
        for case in cases(sizes)
        if not options.case or any(part in case.name for part in options.case)
    ]
    if options.list or not chosen:
        for case in cases(sizes):
            print(f"{case.name:24} {case.what}; rival: {case.rival}")
        return 0 if options.list else 2
    if options.chart or options.write_docs:
        try:
            chart.library()
        except Skipped as exc:
            print(f"bench: there will be no picture: {exc}", file=sys.stderr)
            return 1
    # Not the system's temporary directory, which may be memory: what is read comes from a disk.
    folder = Path(options.folder or root / ".bench")
    folder.mkdir(exist_ok=True)
    spread(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix="run-") as name:
        room = 0 if options.small else _FULL_ROOM if options.full else _ROOM
        if shutil.disk_usage(name).free < room:
            print(f"bench: {folder} needs {room >> 30} GiB; --small needs less", file=sys.stderr)
            return 1
        with Stage(root, Path(name), sizes) as stage:
            results, missing = _measured(stage, chosen, options)
    page = report.page(results, missing, _command(options), report.described(root))
    print(page if options.markdown else f"\n{report.table(results, missing)}")
    if options.write_docs:
        docs = root / "docs"
        chart.draw(results, docs / _PICTURE, report.described(root))
        report.write_into(docs / "performance.md", f"{page}\n\n![The ratios]({_PICTURE})")
    if options.chart:
        chart.draw(results, Path(options.chart), report.described(root))
    return int(any(case.is_failure for case in missing))


def _command(options: argparse.Namespace) -> str:
    """What one types to get the same table."""
    words = ["scripts/bench", *(f"--case {part}" for part in options.case or ())]
    if options.small:
        words.append("--small")
    if options.full:
        words.append("--full")
    if options.rounds:
        words.append(f"--rounds {options.rounds}")
    return " ".join(words)


def _measured(
    stage: Stage, chosen: Sequence[Case[Stage]], options: argparse.Namespace
) -> tuple[list[Result], list[Missing]]:
    results: list[Result] = []
    missing: list[Missing] = []
    begin = time.monotonic()
    rounds = options.rounds or _ROUNDS
    for name, value in report.machine(stage.root).items():
        _say(options, f"{name}: {value}")
    for case in chosen:
        try:
            result = measure(case, stage, rounds, 0 if options.small else _PATIENCE)
        except (Skipped, RuntimeError, OSError, subprocess.SubprocessError) as exc:
            # The others can be measured all the same; but only what was left out is no failure.
            word = "left out" if isinstance(exc, Skipped) else "failed"
            _say(options, f"{case.name}: {word}: {exc}")
            missing.append(Missing(case, str(exc), not isinstance(exc, Skipped)))
            continue
        results.append(result)
        line = report.as_json(result)
        _say(options, line)
        if options.json:
            with open(options.json, "a") as file:
                file.write(line + "\n")
    _say(options, f"{len(results)} cases in {time.monotonic() - begin:.0f} s")
    return results, missing


def _say(options: argparse.Namespace, line: str) -> None:
    """Progress: on standard output, unless that is for the table alone."""
    print(line, file=sys.stderr if options.markdown else sys.stdout, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Compares modelfs with its rivals, each pair side by side. A ratio says how"
        " many times as fast as its rival modelfs is; docs/performance.md explains the cases.",
    )
    parser.add_argument("--case", action="append", metavar="NAME", help="only cases like NAME")
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"of cases that take long (default {_ROUNDS}); short ones get more",
    )
    parser.add_argument("--json", metavar="FILE", help="append a line for each case to FILE")
    parser.add_argument("--markdown", action="store_true", help="print nothing but the page's part")
    parser.add_argument(
        "--write-docs", action="store_true", help="into docs/performance.md and .png"
    )
    parser.add_argument("--chart", metavar="FILE", help="draw the ratios; FILE ends in .png, say")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="a sixteenth of the sizes, for a try")
    size.add_argument("--full", action="store_true", help="1 GiB of all that is large")
    parser.add_argument("--folder", metavar="DIR", help="where to work (default .bench)")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    return parser
