"""`scripts/suites`: a registry and a mount of it, the suites one after another, a line for each."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mounting import Mounted
from published import BASE
from sims.content import BERT, plant
from suites_d import pjdfstest, xfstests
from suites_d.outcome import Outcome, Suite

SUITES: tuple[Suite, ...] = (pjdfstest, xfstests.FSX, xfstests.FSSTRESS)


def main(root: Path, about: str, arguments: list[str]) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("scripts/suites", description=about, formatter_class=formatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of suites; all by default")
    parser.add_argument("--short", action="store_true", help="some seconds of each")
    parser.add_argument(
        "--passthrough", choices=("auto", "off"), default="auto", help="of the mount"
    )
    given = parser.parse_args(arguments)
    known = {suite.NAME: suite for suite in SUITES}
    if unknown := set(given.names) - set(known):
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    failed = skipped = passed = 0
    for name in given.names or known:
        suite = known[name]
        program = _program(root, suite.PROGRAM)
        if program is None:
            skipped += 1
            print(f"{name}: left out, there is no .suites/{suite.PROGRAM}")
            continue
        for place, outcome in _outcomes(suite, program, given):
            print(f"{name}, {place}: {outcome.summary}", flush=True)
            for line in outcome.surprises:
                print(f"    {line}")
            failed += bool(outcome.surprises)
            passed += not outcome.surprises
    print(f"suites: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def _program(root: Path, name: str) -> Path | None:
    own = root / ".suites" / name
    found = str(own) if own.is_file() else shutil.which(Path(name).name)
    return Path(found) if found else None


def _outcomes(
    suite: Suite, program: Path, given: argparse.Namespace
) -> Iterator[tuple[str, Outcome]]:
    with _mounted("--passthrough", given.passthrough) as mount:
        draft = mount.path / BASE / suite.NAME
        draft.mkdir(mode=0o755)
        yield "draft", suite.in_draft(program, draft, is_short=given.short)
        shutil.rmtree(draft)
        yield "version", suite.in_version(program, mount.path / BASE / "1")
        told = [line for line in mount.log.splitlines() if " ERROR " in line or "Traceback" in line]
        yield "daemon", Outcome(f"{len(told)} errors in its log", tuple(told))


@contextmanager
def _mounted(*options: str) -> Iterator[Mounted]:
    """A mount that others may enter: pjdfstest asks as several users."""
    folder = Path(tempfile.mkdtemp(prefix="modelfs-suites-"))
    try:
        folder.chmod(0o755)
        plant(folder / "registry", [BERT])
        with Mounted(folder, f"local:{folder / 'registry'}", "--allow-other", *options) as mount:
            yield mount
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit("run scripts/suites")
