"""The planted bugs fit the sources; a few of them are noticed, and a harmless change is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mutations import command, planted
from mutations.planted import Bug, OutOfDate

ROOT = Path(__file__).parents[2]
BUGS = {bug.id: bug for bug in planted.every()}
# One of each kind that costs somebody his work, by the quickest tests; scripts/mutations has all.
SOME = ("crc-gate-off", "journal-not-flushed", "created-again-blindly", "sent-to-another-host")
KINDS = ("wrong byte from the cache", "lost draft file", "second version", "leaked token")


def test_every_bug_has_its_place_and_its_tests() -> None:
    for bug in BUGS.values():
        planted.check(bug, ROOT)


def test_there_are_many_of_each_kind() -> None:
    assert len(planted.every()) == len(BUGS)  # no name twice
    lists = Counter(bug.list for bug in BUGS.values())
    assert lists["filesystem"] >= 14
    assert lists["network"] >= 20
    kinds = Counter(bug.kind for bug in BUGS.values())
    assert min(kinds[kind] for kind in KINDS) >= 6


def test_the_documents_tell_of_every_bug() -> None:
    page = (ROOT / command.PAGE).read_text()
    assert [] == [bug.id for bug in BUGS.values() if f"| {bug.breaks} |" not in page]
    figures = (ROOT / "docs/reliability.md").read_text()
    row = next(line for line in figures.splitlines() if line.startswith("| 22 |"))
    for name in planted.LISTS:
        count = sum(bug.list == name for bug in BUGS.values())
        assert f"{count} of {count}" in row


@pytest.mark.parametrize(
    ("find", "why"), [("no such text", "0 times"), ("return", "times, not once")]
)
def test_a_bug_without_a_place_of_its_own_is_told(find: str, why: str) -> None:
    bug = replace(BUGS["crc-gate-off"], find=find)
    with pytest.raises(OutOfDate, match=why):
        planted.check(bug, ROOT)


def test_a_bug_that_names_no_test_of_ours_is_told() -> None:
    bug = replace(BUGS["crc-gate-off"], tests=("tests/unit/test_refs.py::test_of_nothing",))
    with pytest.raises(OutOfDate, match="no such test"):
        planted.check(bug, ROOT)


@pytest.mark.slow
@pytest.mark.timeout(900)  # five runs of pytest, on a machine that does other things as well
def test_some_bugs_are_noticed_and_a_harmless_change_is_not() -> None:
    bugs = [BUGS[id] for id in SOME]
    assert sorted(KINDS) == sorted(bug.kind for bug in bugs)
    # Else whatever is planted is "noticed", and that says nothing.
    bugs.append(_harmless())
    verdicts = {verdict.bug.id: verdict for verdict in command.tried(ROOT, bugs)}
    assert [] == [str(verdict) for verdict in verdicts.values() if verdict.fault]
    assert set(SOME) == {id for id, verdict in verdicts.items() if verdict.noticed}


def _harmless() -> Bug:
    test = "tests/unit/cache/test_policies.py::test_block_count"
    return Bug(
        id="harmless",
        list="filesystem",
        kind="none",
        breaks="Nothing.",
        file="cache/blockmap.py",
        find="return -(-size // BLOCK)",
        replace="return (size + BLOCK - 1) // BLOCK",
        tests=(test,),
    )
