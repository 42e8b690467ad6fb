"""Versions of many files: all of them are listed, all of them can be read."""

from __future__ import annotations

import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mount.conftest import Mount, Serve
from mounting import Mounted
from sims.content import Instance, Model, Version, plant

MANY = "alice/many/jax/files/1"
COUNT = 10_001


@pytest.mark.parametrize(("version", "count"), [(1, 26), (2, 51), (3, 501)])
def test_every_file_of_a_version_is_listed_and_read(
    shown: Mounted, version: int, count: int
) -> None:
    directory = shown.path / "alice/paged/jax/files" / str(version)
    expected = [f"part-{n:05}.bin" for n in range(count)]
    assert expected == sorted(os.listdir(directory))

    def read(name: str) -> bytes:
        return (directory / name).read_bytes()

    with ThreadPoolExecutor(8) as threads:
        contents = list(threads.map(read, expected))
    assert [f"{count} {n}".encode() for n in range(count)] == contents


@pytest.mark.slow
@pytest.mark.timeout(300)  # 4 ms a file, then all are removed; others use the machine too
def test_ten_thousand_files_are_listed_and_read(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    contents = {f"{n % 7}/part-{n:05}.bin": b"%d" % n for n in range(COUNT)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    # An archive of that name is unpacked, which is how clients send so many.
    version = Version({"archive.zip": buffer.getvalue()})
    plant(tmp_path / "registry", [Model("alice", "many", (Instance("jax", "files", (version,)),))])

    top = mounted(serve()).path / MANY
    sizes = {
        str(Path(directory, name).relative_to(top)): os.stat(Path(directory, name)).st_size
        for directory, _, names in os.walk(top)
        for name in names
    }
    assert {name: len(content) for name, content in contents.items()} == sizes

    def read(name: str) -> bytes:
        return (top / name).read_bytes()

    # Not all of them, as that is a minute of what other tests have seen.
    some = {name: content for n, (name, content) in enumerate(contents.items()) if n % 9 == 0}
    with ThreadPoolExecutor(8) as threads:
        assert some == dict(zip(some, threads.map(read, some), strict=True))
