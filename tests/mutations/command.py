"""`scripts/mutations`: plants one bug after another, and tells which tests have noticed."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from mutations import planted, trial
from mutations.planted import Bug, OutOfDate
from mutations.trial import Outcome

# Both of the page that --write-docs makes.
PAGE = Path("docs/mutations.md")
_FROM_HERE = "<!-- scripts/mutations writes from here -->"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one bug: which of its tests have noticed it, and what the first of them said.

    `fault` says why there is no verdict.
    """

    bug: Bug
    noticed: tuple[str, ...] = ()
    said: str = ""
    fault: str = ""

    def __str__(self) -> str:
        if self.fault:
            return f"NOT TRIED  {self.bug.id}: {self.fault}"
        if not self.noticed:
            return f"NOT CAUGHT {self.bug.id}: {self.bug.breaks}"
        return f"caught     {self.bug.id}: {', '.join(self.noticed)}"


def main(root: Path, about: str, arguments: list[str]) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "scripts/mutations", description=about, formatter_class=formatter
    )
    parser.add_argument("--list", action="store_true", help="what there is, and plant nothing")
    parser.add_argument("--id", action="append", default=[], help="only this one (again: more)")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time; 1 by default")
    parser.add_argument("--say", action="store_true", help="also how each test noticed")
    parser.add_argument("--write-docs", action="store_true", help=f"write the table of {PAGE}")
    given = parser.parse_args(arguments)
    bugs = planted.every()
    if unknown := set(given.id) - {bug.id for bug in bugs}:
        parser.error(f"no such bug: {', '.join(sorted(unknown))}")
    if given.write_docs and given.id:
        parser.error("the table has all of them: --write-docs goes without --id")
    chosen = [bug for bug in bugs if not given.id or bug.id in given.id]
    if given.list:
        for bug in chosen:
            print(f"{bug.id:<28} {bug.kind}: {bug.breaks}")
        return 0
    try:
        for bug in chosen:
            planted.check(bug, root)
    except OutOfDate as exc:
        print(f"mutations: the list is out of date: {exc}")
        return 1
    verdicts = tried(root, chosen, given.jobs, is_told=given.say)
    counts = Counter(bool(verdict.noticed) for verdict in verdicts)
    print(f"mutations: {counts[True]} of {len(verdicts)} caught")
    if given.write_docs and not counts[False]:
        page = root / PAGE
        page.write_text(page.read_text().partition(_FROM_HERE)[0] + told(verdicts))
    return 1 if counts[False] else 0


def tried(
    root: Path, bugs: Sequence[Bug], jobs: int = 1, *, is_told: bool = False
) -> list[Verdict]:
    """The verdict on each of `bugs`, said as soon as it is known."""
    healthy = trial.run(root, planted.tests_of(bugs))
    for name, reason in healthy.failed:
        print(f"mutations: {name} fails without any bug: {reason}")
    if healthy.broken:
        print(healthy.broken)
    verdicts = []
    with ThreadPoolExecutor(jobs) as threads:
        for verdict in threads.map(lambda bug: _verdict(root, bug, healthy), bugs):
            verdicts.append(verdict)
            print(verdict, flush=True)
            if is_told and verdict.said:
                print(f"           {verdict.said}", flush=True)
    return verdicts


def _verdict(root: Path, bug: Bug, healthy: Outcome) -> Verdict:
    names = {test.rpartition("::")[2] for test in bug.tests}
    if not names <= set(healthy.passed):
        missing = ", ".join(sorted(names - set(healthy.passed)))
        return Verdict(bug, fault=f"does not pass, or is not run, without a bug: {missing}")
    outcome = trial.run(root, bug.tests, bug)
    if outcome.broken:
        return Verdict(bug, fault=f"the tests could not be run: {outcome.broken[-1000:]}")
    noticed = tuple(name for name, _ in outcome.failed)
    said = outcome.failed[0][1] if outcome.failed else ""
    return Verdict(bug, noticed, said)


def told(verdicts: Sequence[Verdict]) -> str:
    """The part of the page that is made: the figures, and a table for each list."""
    figures = []
    tables = []
    for name, found in groupby(verdicts, lambda verdict: verdict.bug.list):
        group = list(found)
        title = {"filesystem": "file system", "network": "network"}[name]
        caught = sum(bool(verdict.noticed) for verdict in group)
        figures.append(f"{caught} of {len(group)} of the {title}")
        rows = [
            "",
            f"## Bugs of the {title}",
            "",
            "| kind | what is broken | where | noticed by |",
            "|---|---|---|---|",
        ]
        rows += [_row(verdict) for verdict in group]
        tables += rows
    return "\n".join([_FROM_HERE, "", f"Caught: {', '.join(figures)}.", *tables, ""])


def _row(verdict: Verdict) -> str:
    bug = verdict.bug
    noticed = ", ".join(f"`{name}`" for name in verdict.noticed)
    breaks = re.sub(r"\|", r"\\|", bug.breaks)
    return f"| {bug.kind} | {breaks} | `{bug.file}` | {noticed} |"


if __name__ == "__main__":
    sys.exit("run scripts/mutations")
