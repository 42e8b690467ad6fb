"""A storage whose CRC-32C agrees with the bytes that it sends, and whose MD5 does not.

What decision 8 promises of each way to verify: `quick` lets such bytes out and has them back, the
others let none out to the end, or none at all; nothing of them counts as verified.
"""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mounting import Mounted
from polling import wait_for
from sims import faults
from sims.content import Instance, Model, Version
from sims.kaggle import Kaggle
from sims.raw import DROP, Request, Script, head

_RANDOM = random.Random(31)
CONTENT, OTHER = _RANDOM.randbytes(600_000), _RANDOM.randbytes(600_000)
MODEL = Model("alice", "faulty", (Instance("other", "it", (Version({"f": CONTENT}),)),))
FILE = "alice/faulty/other/it/1/f"
TOKEN = "KGAT_test"


def two_faced(request: Request, content: bytes) -> Script:
    """Other bytes with a CRC-32C of theirs, below the MD5 of the right ones."""
    start, stop = request.range or (0, len(OTHER))
    crc32c = faults.digest_header(OTHER).partition(",")[0]
    md5 = faults.digest_header(content).partition(",")[2]
    told = {**faults.right_fields(request, content), "x-goog-hash": f"{crc32c},{md5}"}
    return [head(206 if request.range else 200, told) + OTHER[start:stop]]


@pytest.fixture
def kaggle() -> Iterator[Kaggle]:
    with Kaggle([MODEL], token=TOKEN, user="alice") as kaggle:
        kaggle.storage = two_faced
        yield kaggle


def mounted(kaggle: Kaggle, folder: Path, verify: str) -> Mounted:
    return Mounted(folder, f"kaggle+{kaggle.url}", "--verify", verify, token=TOKEN)


def told(fd: int, size: int, start: int) -> bytes:
    """What a read gives, past the kernel's memory; the name of its error."""
    try:
        return os.pread(fd, size, start)
    except OSError as exc:
        return errno.errorcode[exc.errno].encode()


def pieces(fd: int) -> list[bytes]:
    """What reads from the beginning give, to the end or to the first error."""
    found: list[bytes] = []
    while found[-1:] != [b"EIO"] and (at := sum(map(len, found))) < len(OTHER):
        found.append(told(fd, 100_000, at))
    return found


def is_right_for_ever(kaggle: Kaggle, mount: Mounted) -> bool:
    """Once the storage is as it should be: right, verified, and asked for no more."""

    def content() -> bytes:
        try:
            return (mount.path / FILE).read_bytes()
        except OSError:  # a failure is told to whoever had the file open when it came
            return b""

    kaggle.storage = faults.good
    wait_for(lambda: content() == CONTENT, 60, "the right bytes")
    checked = mount.run("cache", "--cache-dir", mount.cache, "verify")
    assert 0 == checked.returncode, checked.stdout + checked.stderr
    kaggle.storage = lambda *_: [DROP]
    return content() == CONTENT


def test_with_quick_what_was_let_out_is_an_error_from_then_on(
    kaggle: Kaggle, tmp_path: Path
) -> None:
    with mounted(kaggle, tmp_path, "quick") as mount:
        path = mount.path / FILE
        fd = os.open(path, os.O_RDONLY)
        try:
            # All of it comes with the CRC-32C alone, unless the MD5 was faster.
            assert {piece in OTHER for piece in pieces(fd) if piece != b"EIO"} <= {True}
            wait_for(lambda: told(fd, 4096, 0) == b"EIO", 60, "the reader is told")
        finally:
            os.close(fd)
        assert mount.run("cache", "--cache-dir", mount.cache, "list").returncode == 0
        assert is_right_for_ever(kaggle, mount)


@pytest.mark.parametrize("verify", ["complete", "first"])
def test_with_the_others_nobody_comes_to_the_end(
    verify: str, kaggle: Kaggle, tmp_path: Path
) -> None:
    with mounted(kaggle, tmp_path, verify) as mount:
        path = mount.path / FILE
        fd = os.open(path, os.O_RDONLY)
        try:
            given = pieces(fd)
            assert b"EIO" == given[-1]
            if verify == "first":
                assert [b"EIO"] == given
        finally:
            os.close(fd)
        with pytest.raises(OSError, match="Input/output"):
            path.read_bytes()
        copied = subprocess.run(["cp", path, tmp_path / "copy"], capture_output=True, check=False)
        assert 0 != copied.returncode
        assert is_right_for_ever(kaggle, mount)
