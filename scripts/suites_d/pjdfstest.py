"""pjdfstest: what POSIX says of each system call, as several users; assertions in TAP.

`pjdfstest.txt` lists what is expected to fail, per file of tests, with the reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from suites_d.outcome import Outcome

NAME = "pjdfstest"
PROGRAM = "pjdfstest/pjdfstest"
EXPECTED = Path(__file__).with_name("pjdfstest.txt")

# Of one file; the longest takes a minute and a half.
_DEADLINE = 600.0
# A family that is quick and goes through create, rename, link, modes and sizes.
_SHORT = ("ftruncate", "mkdir", "rmdir", "truncate")

_ASSERTION = re.compile(r"^(not )?ok (\d+)(.*)$", re.MULTILINE)

# Each is refused in a version with the errno beside it. What is not there cannot be removed, and
# removing a file of a version is a matter of permission, not of the medium: `rm -r` of a version
# has to be able to fail as a whole.
_CHANGES: Mapping[str, str] = {
    "open {free} O_CREAT,O_WRONLY 0644": "EROFS",
    "open {free} O_CREAT,O_EXCL,O_RDWR 0600": "EROFS",
    "open {file} O_WRONLY": "EROFS",
    "open {file} O_RDWR": "EROFS",
    "open {file} O_WRONLY,O_APPEND": "EROFS",
    "open {file} O_RDONLY,O_TRUNC": "EROFS",
    "mkdir {free} 0755": "EROFS",
    "mkfifo {free} 0644": "EROFS",
    "mknod {free} c 0644 1 2": "EROFS",
    "symlink target {free}": "EROFS",
    "link {file} {free}": "EROFS",
    "rename {file} {free}": "EROFS",
    "rename . ../9": "EBUSY|EROFS|EINVAL",
    "chmod {file} 0600": "EROFS",
    "chown {file} 65534 65534": "EROFS",
    "lchown {file} 65534 65534": "EROFS",
    "truncate {file} 0": "EROFS",
    "open . O_RDONLY : utimensat 0 {file} 1900000000 0 1950000000 0 0": "EROFS",
    "unlink {file}": "EPERM",
    "rmdir .": "EINVAL|EPERM",
}


def in_draft(program: Path, draft: Path, *, is_short: bool) -> Outcome:
    expected = _expected(EXPECTED.read_text())
    files = sorted((program.parent / "tests").glob("*/*.t"))
    total, failing, surprises = 0, 0, []
    for file in files:
        if is_short and file.parent.name not in _SHORT:
            continue
        name = f"{file.parent.name}/{file.name}"
        results = _results(file, draft)
        failed = {number for number, problem in results.items() if problem}
        total += len(results)
        failing += len(failed)
        for number in sorted(failed ^ expected.get(name, set())):
            problem = results.get(number, "not run") or "passes, and is expected to fail"
            surprises.append(f"{name} {number}: {problem.removeprefix(' - ')}")
        if not results:
            surprises.append(f"{name} asserts nothing")
    summary = f"{total - failing} of {total} assertions hold, {failing} do not"
    return Outcome(summary, tuple(surprises))


def in_version(program: Path, version: Path) -> Outcome:
    surprises = []
    for change, expected in _CHANGES.items():
        words = change.format(file="config.json", free="free").split()
        done = subprocess.run([program, *words], cwd=version, capture_output=True, text=True)
        answer = done.stdout.strip().rpartition("\n")[2]  # of the last call
        if answer not in expected.split("|"):
            surprises.append(f"{change}: {answer}, expected {expected}")
    return Outcome(f"{len(_CHANGES) - len(surprises)} of {len(_CHANGES)} refused", tuple(surprises))


def _results(file: Path, draft: Path) -> dict[int, str]:
    """What each assertion of a file has to say; nothing if it holds."""
    place = draft / "work"
    place.mkdir(mode=0o755)
    try:
        command = ["sh", str(file)]
        done = subprocess.run(
            command, cwd=place, capture_output=True, text=True, timeout=_DEADLINE, errors="replace"
        )
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=False, timeout=_DEADLINE)
    return {
        int(number): words if failed and "# TODO" not in words else ""
        for failed, number, words in _ASSERTION.findall(done.stdout)
    }


def _expected(text: str) -> dict[str, set[int]]:
    """Lines of `file reason numbers`, such as `chmod/00.t special 22-31,40`."""
    found: dict[str, set[int]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, numbers = line.split()
            found.setdefault(name, set()).update(_numbers(numbers))
    return found


def _numbers(text: str) -> Iterable[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit("run scripts/suites")
