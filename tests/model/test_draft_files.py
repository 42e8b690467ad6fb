"""Drafts against a plain directory: the same calls end the same way and leave the same tree.

Random calls go to a draft on a real mount and to a directory on the disk, side by side. What they
return, the errno they end with, and in the end everything below the two directories must agree.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mounting import Mounted
from published import BASE
from sims.content import BERT, plant

# Few names, so that calls meet; none of them means anything to a draft.
NAMES = st.sampled_from(["a", "b", "c", "b/a", "b/b", "b/c", "b/c/a", "a/a"])
SMALL = st.binary(max_size=40)
BYTES = st.binary(max_size=40) | st.sampled_from([b"x" * 5000, b"y" * 140_000])
OFFSETS = st.integers(0, 60) | st.sampled_from([4096, 200_000])
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o400])
WAYS = st.sampled_from(
    [
        os.O_RDONLY,
        os.O_WRONLY,
        os.O_RDWR,
        os.O_WRONLY | os.O_CREAT,
        os.O_RDWR | os.O_CREAT,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_RDWR | os.O_CREAT | os.O_TRUNC,
        os.O_RDWR | os.O_APPEND | os.O_CREAT,
        os.O_WRONLY | os.O_TRUNC,
        os.O_RDONLY | os.O_DIRECTORY,
        os.O_RDONLY | os.O_NOFOLLOW,
    ]
)
SLOTS = st.integers(0, 2)


class Place:
    """One of the two directories, and the files that are open in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[int, int] = {}

    def do(self, name: str, *arguments: Any) -> object:
        """What a call comes to: its value, or the errno it ends with."""
        try:
            return getattr(self, name)(*arguments)
        except OSError as exc:
            return errno.errorcode[exc.errno or 0]

    def close_all(self) -> None:
        for slot in list(self._open):
            self.close(slot)

    def _at(self, name: str) -> Path:
        return self.directory / name

    # Open files.

    def open(self, slot: int, name: str, way: int, mode: int) -> None:
        self.close(slot)
        self._open[slot] = os.open(self._at(name), way, mode)

    def close(self, slot: int) -> None:
        if slot in self._open:
            os.close(self._open.pop(slot))

    def write(self, slot: int, data: bytes) -> int:
        return os.write(self._open[slot], data) if slot in self._open else -1

    def pwrite(self, slot: int, data: bytes, offset: int) -> int:
        return os.pwrite(self._open[slot], data, offset) if slot in self._open else -1

    def pread(self, slot: int, size: int, offset: int) -> bytes:
        return os.pread(self._open[slot], size, offset) if slot in self._open else b""

    def seek_end(self, slot: int) -> int:
        fd = self._open.get(slot, -1)
        if fd < 0 or stat.S_ISDIR(os.fstat(fd).st_mode):
            return -1  # where a directory ends is the disk's business
        return os.lseek(fd, 0, os.SEEK_END)

    def ftruncate(self, slot: int, size: int) -> None:
        if slot in self._open:
            os.ftruncate(self._open[slot], size)

    def fstat(self, slot: int) -> object:
        return _facts(os.fstat(self._open[slot])) if slot in self._open else None

    def fsync(self, slot: int) -> None:
        if slot in self._open:
            os.fsync(self._open[slot])

    # Names.

    def save(self, name: str, data: bytes) -> None:
        self._at(name).write_bytes(data)

    def load(self, name: str) -> bytes:
        return self._at(name).read_bytes()

    def truncate(self, name: str, size: int) -> None:
        os.truncate(self._at(name), size)

    def mkdir(self, name: str, mode: int) -> None:
        os.mkdir(self._at(name), mode)

    def rmdir(self, name: str) -> None:
        os.rmdir(self._at(name))

    def unlink(self, name: str) -> None:
        os.unlink(self._at(name))

    def rename(self, name: str, other: str) -> None:
        os.rename(self._at(name), self._at(other))

    def link(self, name: str, other: str) -> None:
        os.link(self._at(name), self._at(other), follow_symlinks=False)

    def symlink(self, target: str, name: str) -> None:
        os.symlink(target, self._at(name))

    def readlink(self, name: str) -> str:
        return os.readlink(self._at(name))

    def chmod(self, name: str, mode: int) -> None:
        os.chmod(self._at(name), mode)

    def utime(self, name: str, moment: int) -> None:
        os.utime(self._at(name), ns=(moment, moment + 1), follow_symlinks=False)

    def lstat(self, name: str) -> object:
        return _facts(os.lstat(self._at(name)))

    def stat(self, name: str) -> object:
        return _facts(os.stat(self._at(name)))

    def list(self, name: str) -> list[str]:
        return sorted(os.listdir(self._at(name)))

    def setxattr(self, name: str, value: bytes, flags: int) -> None:
        os.setxattr(self._at(name), "user.x", value, flags, follow_symlinks=False)

    def getxattr(self, name: str) -> bytes:
        return os.getxattr(self._at(name), "user.x", follow_symlinks=False)


def _facts(status: os.stat_result) -> object:
    """What must be the same in both places; sizes and link counts of directories are the disk's."""
    kind = stat.S_IFMT(status.st_mode)
    if stat.S_ISDIR(kind):
        return kind, stat.S_IMODE(status.st_mode)
    return kind, stat.S_IMODE(status.st_mode), status.st_size, status.st_nlink


CALLS = st.one_of(
    st.tuples(st.just("open"), SLOTS, NAMES, WAYS, MODES),
    st.tuples(st.just("close"), SLOTS),
    st.tuples(st.just("write"), SLOTS, BYTES),
    st.tuples(st.just("pwrite"), SLOTS, BYTES, OFFSETS),
    st.tuples(st.just("pread"), SLOTS, OFFSETS, OFFSETS),
    st.tuples(st.just("seek_end"), SLOTS),
    st.tuples(st.just("ftruncate"), SLOTS, OFFSETS),
    st.tuples(st.just("fstat"), SLOTS),
    st.tuples(st.just("fsync"), SLOTS),
    st.tuples(st.just("save"), NAMES, BYTES),
    st.tuples(st.just("load"), NAMES),
    st.tuples(st.just("truncate"), NAMES, OFFSETS),
    st.tuples(st.just("mkdir"), NAMES, st.just(0o755)),
    st.tuples(st.just("rmdir"), NAMES),
    st.tuples(st.just("unlink"), NAMES),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("link"), NAMES, NAMES),
    st.tuples(st.just("symlink"), NAMES, NAMES),
    st.tuples(st.just("readlink"), NAMES),
    st.tuples(st.just("chmod"), NAMES, MODES),
    st.tuples(st.just("utime"), NAMES, st.integers(0, 2 * 10**18)),
    st.tuples(st.just("lstat"), NAMES),
    st.tuples(st.just("stat"), NAMES),
    st.tuples(st.just("list"), NAMES),
    st.tuples(st.just("setxattr"), NAMES, SMALL, st.sampled_from([0, 1, 2])),
    st.tuples(st.just("getxattr"), NAMES),
)


# So that calls find something.
BEFORE = (
    ("save", "a", b"0123456789"),
    ("mkdir", "b", 0o755),
    ("save", "b/a", b"x" * 5000),
    ("mkdir", "b/c", 0o755),
    ("open", 0, "a", os.O_RDWR, 0),
    ("open", 1, "b/a", os.O_RDWR, 0),
)


def tree(directory: Path) -> dict[str, object]:
    """Everything below a directory."""
    found: dict[str, object] = {}
    for above, directories, files in os.walk(directory):
        for name in directories + files:
            path = Path(above, name)
            status = path.lstat()
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            found[str(path.relative_to(directory))] = (_facts(status), content)
    return found


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], tuple[Path, Path]]]:
    """New pairs of an empty draft and an empty directory."""
    folder = tmp_path_factory.mktemp("files")
    plant(folder / "registry", [BERT])
    numbers = itertools.count()
    with Mounted(folder, f"local:{folder / 'registry'}") as mount:

        def pair() -> tuple[Path, Path]:
            draft = mount.path / BASE / f"draft-{next(numbers)}"
            draft.mkdir()
            return draft, Path(tempfile.mkdtemp(dir=folder))

        yield pair


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(calls=st.lists(CALLS, min_size=10, max_size=50))
def test_a_draft_is_a_directory(
    calls: list[tuple[Any, ...]], pairs: Callable[[], tuple[Path, Path]]
) -> None:
    draft, directory = pairs()
    ours, theirs = Place(draft), Place(directory)
    try:
        for call in (*BEFORE, *calls):
            expected, actual = theirs.do(*call), ours.do(*call)
            assert expected == actual, call
        assert tree(directory) == tree(draft)
    finally:
        for place in (ours, theirs):
            place.close_all()
            shutil.rmtree(place.directory)
