"""Bytes, by every way that programs ask for them."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from mount.conftest import Mount, Serve, spec_of
from mounting import Mounted
from serving import Served
from sims.content import Instance, Model, Version, plant

MIB = 1 << 20
_RANDOM = random.Random(1)
_BLOCK = _RANDOM.randbytes(MIB)
# Sizes around those of pages, requests and blocks.
SIZES = (0, 1, 4095, 4096, 4097, 131_071, 131_073, MIB - 1, MIB, MIB + 1, 5 * MIB + 77)
FILES = {f"size-{size}": _RANDOM.randbytes(size) for size in SIZES}
TREE = {"a.txt": b"one needle\n", "sub/b.txt": b"hay\n", "sub/deep/c.txt": b"a needle too\n"}
LARGE = 300
MODEL = Model(
    "alice",
    "bytes",
    (
        Instance("other", "sizes", (Version(FILES, "of all sizes"),)),
        Instance("other", "tree", (Version(TREE),)),
        Instance("other", "large", (Version({"large.bin": _BLOCK * LARGE}),)),
    ),
)


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The model in a mount; served, since a page fault of ours may need another process."""
    folder = tmp_path_factory.mktemp("bytes")
    plant(folder / "registry", [MODEL])
    with ExitStack() as stack:
        spec, token = spec_of(stack.enter_context(Served(folder / "registry")))
        mount = stack.enter_context(Mounted(folder / "mount", spec, token=token))
        yield mount.path / "alice/bytes/other"


@pytest.fixture(scope="module")
def sizes(top: Path) -> Path:
    return top / "sizes/1"


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_read_whole(sizes: Path, size: int) -> None:
    path = sizes / f"size-{size}"
    assert size == path.stat().st_size
    assert FILES[path.name] == path.read_bytes()


@pytest.mark.parametrize("size", SIZES)
def test_any_range_of_a_file_is_read(sizes: Path, size: int) -> None:
    expected = FILES[f"size-{size}"]
    ranges = random.Random(size)
    with (sizes / f"size-{size}").open("rb", buffering=0) as file:
        for _ in range(50):
            start = ranges.randint(0, size + 10)
            length = ranges.choice((1, 100, 4096, 200_000, 2 * MIB))
            assert expected[start : start + length] == os.pread(file.fileno(), length, start)
        assert b"" == os.pread(file.fileno(), 10, size)
        assert size == file.seek(0, os.SEEK_END)


def test_a_file_is_mapped(sizes: Path) -> None:
    for access in (mmap.ACCESS_READ, mmap.ACCESS_COPY):
        with (
            (sizes / f"size-{5 * MIB + 77}").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=access) as mapped,
        ):
            assert FILES[f"size-{5 * MIB + 77}"] == mapped[:]


def test_a_file_is_sent(sizes: Path, tmp_path: Path) -> None:
    name = f"size-{MIB + 1}"
    with (sizes / name).open("rb") as source, (tmp_path / "copy").open("wb") as target:
        sent = 0
        while count := os.sendfile(target.fileno(), source.fileno(), sent, 4 * MIB):
            sent += count
    assert FILES[name] == (tmp_path / "copy").read_bytes()


def test_an_open_file_is_read_by_many_threads_at_once(sizes: Path) -> None:
    name = f"size-{5 * MIB + 77}"
    expected = FILES[name]
    with (sizes / name).open("rb", buffering=0) as file, ThreadPoolExecutor(16) as threads:

        def read(start: int) -> bool:
            return expected[start : start + 70_000] == os.pread(file.fileno(), 70_000, start)

        assert all(threads.map(read, random.Random(2).choices(range(len(expected)), k=400)))


def test_a_tree_is_copied(top: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", top / "tree/1", tmp_path / "copy"], check=True, timeout=30)
    assert TREE == files_below(tmp_path / "copy")


def test_a_tree_is_packed(top: Path, tmp_path: Path) -> None:
    packed = tmp_path / "tree.tar"
    subprocess.run(["tar", "-cf", packed, "-C", top / "tree/1", "."], check=True, timeout=30)
    with tarfile.open(packed) as tar:
        found = {
            member.name.removeprefix("./"): tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar
            if member.isfile()
        }
    assert TREE == found


def test_a_tree_is_searched(top: Path) -> None:
    done = subprocess.run(
        ["grep", "-rl", "needle", "."],
        cwd=top / "tree",
        capture_output=True,
        text=True,
        timeout=30,
    )
    # Once by its number; grep does not follow `latest`.
    assert ["./1/a.txt", "./1/sub/deep/c.txt"] == sorted(done.stdout.splitlines())
    assert "" == done.stderr


def test_a_large_file_is_read_at_random_and_in_order(top: Path) -> None:
    places = random.Random(3)
    with (top / "large/1/large.bin").open("rb", buffering=0) as file:
        assert LARGE * MIB == os.fstat(file.fileno()).st_size
        for _ in range(20):
            at = places.randrange(LARGE * MIB - 5000)
            expected = (_BLOCK * 2)[at % MIB : at % MIB + 5000]
            assert expected == os.pread(file.fileno(), 5000, at)
        for number in range(LARGE):
            assert _BLOCK == os.pread(file.fileno(), MIB, number * MIB), number
        assert b"" == os.pread(file.fileno(), 1, LARGE * MIB)


def test_a_short_look_into_a_large_file_does_not_bring_it(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    instance = Instance("other", "it", (Version({"large": _BLOCK * 40}),))
    plant(tmp_path / "registry", [Model("alice", "one", (instance,))])
    served = serve()
    with (mounted(served).path / "alice/one/other/it/1/large").open("rb", buffering=0) as file:
        assert _BLOCK[:16] == os.pread(file.fileno(), 16, 20 * MIB)
    assert served.stats()["bytes_served"] <= 2 * MIB


def files_below(top: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()
    }
