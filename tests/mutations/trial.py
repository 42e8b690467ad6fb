"""Runs tests in a copy of the checkout in which a bug was planted.

The copy has a virtual environment of its own, which takes the libraries from ours and modelfs from
the copy, so that the commands and daemons that tests start have the bug as well. What a run leaves
(processes, mounts) is taken away after it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from mutations.planted import Bug

_PARTS = ("src", "tests", "pyproject.toml")
# For one test. A bug may make it wait for what never comes; that is a failure too.
_TEST = 60
# For a run, beyond what its tests may take.
_BEYOND = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of some tests: which failed, with the reason, and which were not run."""

    passed: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...]
    # What was printed, where the run did not come to its end.
    broken: str = ""


def run(root: Path, tests: Sequence[str], bug: Bug | None = None) -> Outcome:
    """The outcome of `tests` in a copy of the checkout `root`, with `bug` planted if there is one.

    Raises OutOfDate if the bug has no place in it.
    """
    with _copied(root) as copy:
        if bug is not None:
            path = bug.path(copy)
            path.write_text(bug.planted(path.read_text()))
        return _outcome(copy, tests)


@contextmanager
def _copied(root: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modelfs-bug-"))
    try:
        copy = folder / "copy"
        for part in _PARTS:
            if (root / part).is_dir():
                # With what is compiled: a second less for each copy.
                shutil.copytree(root / part, copy / part, symlinks=True)
            else:
                shutil.copy2(root / part, copy / part)
        _make_environment(copy)
        yield copy
    finally:
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _make_environment(copy: Path) -> None:
    environment = copy / ".venv"
    venv.create(environment, symlinks=True)
    places = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", vars=places))
    ours = sysconfig.get_path("purelib")
    # Of ours the path alone, so that its own link to the sources is not followed.
    (packages / "copy.pth").write_text(f"{copy / 'src'}\n{ours}\n")
    command = environment / "bin" / "modelfs"
    lines = (
        f"#!{environment / 'bin' / 'python'}",
        "import sys",
        "from modelfs.cli.main import main",
        "sys.exit(main())",
    )
    command.write_text("\n".join(lines) + "\n")
    command.chmod(0o755)


def _outcome(copy: Path, tests: Sequence[str]) -> Outcome:
    report = copy.parent / "report.xml"
    command = [
        *(str(copy / ".venv" / "bin" / "python"), "-m", "pytest", *tests),
        *("-p", "no:xdist", "-q", "--timeout", str(_TEST), "--timeout-method", "signal"),
        *("--junit-xml", str(report), "--basetemp", str(copy.parent / "t")),
    ]
    ours = ("PYTEST_", "PYTHON", "COV_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with (copy.parent / "out").open("w+") as out:
        process = subprocess.Popen(
            command,
            cwd=copy,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(_TEST * len(tests) + _BEYOND)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            _kill_group(process.pid)
            process.wait()
        out.seek(0)
        said = out.read()
    # 1: some failed. Anything else: it did not come to run them.
    if status not in (0, 1) or not report.exists():
        return Outcome((), (), (), said[-4000:] or f"ended with {status}")
    return _read(report)


def _read(report: Path) -> Outcome:
    passed: dict[str, None] = {}
    failed: dict[str, str] = {}
    skipped: dict[str, None] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        name = case.get("name", "").partition("[")[0]
        fault = case.find("failure")
        fault = case.find("error") if fault is None else fault
        if fault is not None:
            lines = fault.get("message", "").strip().splitlines()
            failed.setdefault(name, lines[0] if lines else "")
        elif case.find("skipped") is not None:
            skipped[name] = None
        else:
            passed[name] = None
    return Outcome(
        tuple(name for name in passed if name not in failed),
        tuple(failed.items()),
        tuple(name for name in skipped if name not in failed and name not in passed),
    )


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _unmount_below(folder: Path) -> None:
    """Take away the mounts that a test could not; their daemons end with them."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        where = line.split(" ")[4]
        if where.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", where], check=False, timeout=10)
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit("run scripts/mutations")
