"""What a mount can hold: files of a terabyte, many that are open, little memory for each that is.

docs/reliability.md has the figures. What a file takes is told where LIMITS_FILES asks for many:
with a few the mount itself is most of it.
"""

from __future__ import annotations

import io
import json
import mmap
import os
import random
import resource
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from modelfs.mount.records import GAUGES
from mount.conftest import Mount, Simulate
from mounting import Mounted
from polling import wait_for
from sims.content import Instance, Model, Version, plant
from sims.raw import Request, Script, head

MIB, TIB = 1 << 20, 1 << 40
OPEN = 1000
# Requests at once, of the largest size.
READS = 96
# From here on what is gained says something of each of them.
TELLING = 10_000
FILES = int(os.environ.get("LIMITS_FILES", "1000"))
VERSION = "alice/limits/other/it/1"


class Sparse(bytes):
    """A file of a terabyte, of which every eight bytes say where they are."""

    def __len__(self) -> int:
        return TIB

    def piece(self, start: int, stop: int) -> bytes:
        first = start // 8
        words = b"".join(n.to_bytes(8, "big") for n in range(first, -(-stop // 8)))
        return words[start - 8 * first : stop - 8 * first]


def sparse(request: Request, content: bytes) -> Script:
    assert isinstance(content, Sparse)
    assert request.range is not None
    start, stop = request.range
    fields = {
        "Content-Length": str(stop - start),
        "Content-Range": f"bytes {start}-{stop - 1}/{TIB}",
        "ETag": '"always-the-same"',
    }
    return [head(206, fields), content.piece(start, stop)]


def test_a_file_of_a_terabyte_is_opened_and_read_at_its_end(
    simulate: Simulate, mounted: Mount
) -> None:
    huge = Sparse()
    model = Model("alice", "limits", (Instance("other", "it", (Version({"huge": huge}),)),))
    kaggle = simulate(model)
    kaggle.storage = sparse
    mount = mounted(kaggle)
    path = mount.path / VERSION / "huge"
    assert os.stat(path).st_size == TIB
    before = rss(mount)
    with path.open("rb", buffering=0) as file:
        for place in (TIB - 10, TIB // 2, 0, TIB - MIB):
            assert huge.piece(place, min(place + 1000, TIB)) == os.pread(file.fileno(), 1000, place)
        assert b"" == os.pread(file.fileno(), 10, TIB)
    fetched = sum(
        stop - start
        for request in kaggle.fetched
        if request.range
        for start, stop in [request.range]
    )
    assert fetched < 64 * MIB
    # A byte for each of its four million blocks, and what is read.
    assert rss(mount) - before < 64 * MIB
    used = sum(
        found.st_blocks * 512
        for found in map(os.stat, (mount.cache / "blocks/objects").glob("*/*"))
    )
    assert used < 128 * MIB


@pytest.fixture
def many(mounted: Mount, tmp_path: Path) -> Mounted:
    """A mount of a version with `FILES` files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n in range(FILES):
            archive.writestr(name_of(n), b"%d" % n)
    version = Version({"archive.zip": buffer.getvalue()})
    plant(tmp_path / "registry", [Model("alice", "limits", (Instance("other", "it", (version,)),))])
    return mounted(tmp_path / "registry")


def name_of(number: int) -> str:
    return f"{number % 7}/part-{number:06}.bin"


@pytest.mark.slow
@pytest.mark.timeout(600)  # that many files are made first, and removed
def test_a_listed_file_takes_little_memory_and_a_thousand_are_open_at_once(many: Mounted) -> None:
    top = many.path / VERSION
    assert os.listdir(many.path / "alice/limits/other/it")
    before = rss(many)
    assert FILES == sum(len(os.listdir(top / str(n))) for n in range(7))
    assert all(os.stat(top / name_of(n)).st_size for n in range(OPEN))
    each = (rss(many) - before) / FILES
    print(f"{each:.0f} bytes for each of {FILES} files that were listed")
    assert FILES < TELLING or each < 3000

    before = rss(many)
    with opened([top / name_of(n) for n in range(OPEN)]) as files:
        assert [b"%d" % n for n in range(OPEN)] == [os.pread(fd, 100, 0) for fd in files]
        each = (rss(many) - before) / OPEN
        print(f"{each:.0f} bytes for each of {OPEN} files that are open")
        assert gauges(many)["open"] == OPEN
        assert each < 32_000
    wait_for(lambda: gauges(many)["open"] == gauges(many)["files"] == 0, 30)


@pytest.mark.slow
def test_answers_to_many_large_reads_take_little_memory(simulate: Simulate, mounted: Mount) -> None:
    """All at once: what is there for one of them is spliced, or read into its request's memory."""
    content = random.Random(5).randbytes(READS * MIB)
    model = Model("alice", "limits", (Instance("other", "it", (Version({"f": content}),)),))
    mount = mounted(simulate(model), "--buffer-memory", "8MiB", "--passthrough", "off")
    path = mount.path / VERSION / "f"
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        assert content[:MIB] == read_directly(file, 0)
        before = rss(mount)
        with ThreadPoolExecutor(READS) as pool:
            for _ in range(2):  # to be fetched first, and then at once
                found = pool.map(lambda n: read_directly(file, n * MIB), range(READS))
                assert all(content[n * MIB : (n + 1) * MIB] == data for n, data in enumerate(found))
    finally:
        os.close(file)
    most = rss(mount, "VmHWM") - before
    print(f"{most >> 20} MiB more for {READS} reads of 1 MiB at once")
    assert most < READS * MIB // 2


def read_directly(file: int, offset: int) -> bytes:
    """A MiB, asked for in one request: past the kernel's own memory."""
    with mmap.mmap(-1, MIB) as pages:
        assert MIB == os.preadv(file, [pages], offset)
        return pages[:]


@contextmanager
def opened(paths: list[Path]) -> Iterator[list[int]]:
    """Descriptors of them all at once."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
        files = []
        for path in paths:
            files.append(os.open(path, os.O_RDONLY))
            stack.callback(os.close, files[-1])
        yield files


def gauges(mount: Mounted) -> dict[str, int]:
    found: dict[str, int] = json.loads(os.getxattr(mount.path, GAUGES))
    return found


def rss(mount: Mounted, what: str = "VmRSS") -> int:
    """The memory of a mount's process; with VmHWM the most that it has had."""
    lines = Path(f"/proc/{mount.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(what))
