"""Wrong bytes that the kernel has: nobody reads them any more once it is known."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mount.conftest import Mount, Simulate
from polling import wait_for
from sims import faults
from sims.content import Instance, Model, Version
from sims.raw import Request, Script

CONTENT = random.Random(10).randbytes(3 << 20)
FILES = {"f": CONTENT}
TWINS = Model("alice", "twins", (Instance("other", "it", (Version(FILES), Version(FILES))),))
VERSIONS = "alice/twins/other/it"
PAGE = 4096


def first_bit(request: Request, content: bytes) -> Script:
    """The first bit of the file is another; all that the storage tells of it is true."""
    (answer,) = faults.good(request, content)
    assert isinstance(answer, bytes)
    start, _ = request.range or (0, 0)
    at = answer.index(b"\r\n\r\n") + 4
    return [answer if start else answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :]]


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def is_refused(fd: int) -> bool:
    """Whether the first page of an open file is an error."""
    try:
        os.pread(fd, PAGE, 0)
    except OSError as exc:
        return exc.errno == errno.EIO
    return False


@pytest.mark.parametrize("other", ["1", "2"], ids=["of_the_same_file", "of_another_version"])
def test_pages_that_turn_out_wrong_are_not_read_again(
    other: str, simulate: Simulate, mounted: Mount
) -> None:
    kaggle = simulate(TWINS)
    kaggle.storage = first_bit
    versions = mounted(kaggle).path / VERSIONS
    with opened(versions / "1/f") as early:
        wrong = os.pread(early, PAGE, 0)
        assert bytes([CONTENT[0] ^ 1]) + CONTENT[1:PAGE] == wrong
        with pytest.raises(OSError):
            (versions / other / "f").read_bytes()
        kaggle.storage = faults.good
        wait_for(lambda: is_refused(early), 5, "the kernel has dropped the page")
        # Right ones would not go with what this reader was given.
        assert is_refused(early)
        assert CONTENT == wait_for(lambda: read_if_good(versions / "1/f"))
        assert is_refused(early)


def test_pages_of_who_has_not_read_to_the_end_are_not_kept(
    simulate: Simulate, mounted: Mount
) -> None:
    kaggle = simulate(TWINS)
    kaggle.storage = first_bit
    path = mounted(kaggle).path / VERSIONS / "1/f"
    for _ in range(50):
        with opened(path) as fd:
            os.pread(fd, PAGE, 0)
    kaggle.storage = faults.good
    # The cache has the wrong bit, and finds it; the kernel may have it no more than the cache.
    assert CONTENT == wait_for(lambda: read_if_good(path))


def read_if_good(path: Path) -> bytes:
    """What a reader reads; nothing if he is told that it is wrong."""
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    assert CONTENT == content
    return content
