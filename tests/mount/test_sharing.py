"""Many who want the same bytes at once: each byte is downloaded once, all get the right ones."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mount.conftest import Mount, Serve
from mount.readers import digest_of, digests_read
from sims.content import Instance, Model, Version, plant

SIZE = 24 << 20
CONTENT = random.Random(4).randbytes(SIZE)
SMALL = {f"{n:02}": b"%d" % n * 1000 for n in range(40)}
MODEL = Model(
    "alice",
    "shared",
    (Instance("other", "it", (Version({"w": CONTENT}), Version({"w": CONTENT, **SMALL}))),),
)
FILE = "alice/shared/other/it/1/w"
SECOND = "alice/shared/other/it/2"


def test_eight_processes_that_read_one_file_download_each_byte_once(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    served = serve()
    mount = mounted(served)
    assert [digest_of(CONTENT)] * 8 == digests_read([mount.path / FILE] * 8)
    assert SIZE == served.stats()["bytes_served"]


def test_two_mounts_of_one_cache_download_each_byte_once(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    served = serve()
    one = mounted(served, name="one", cache=tmp_path / "cache")
    two = mounted(served, name="two", cache=tmp_path / "cache")
    paths = [one.path / FILE, two.path / FILE] * 3
    assert [digest_of(CONTENT)] * 6 == digests_read(paths)
    assert SIZE == served.stats()["bytes_served"]


def test_two_mounts_of_one_cache_share_small_files(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    served = serve()
    mounts = [mounted(served, name=name, cache=tmp_path / "cache") for name in ("one", "two")]
    wanted = [(mount.path / SECOND / name, name) for name in SMALL for mount in mounts]
    with ThreadPoolExecutor(8) as threads:
        for name, content in threads.map(lambda item: (item[1], item[0].read_bytes()), wanted):
            assert SMALL[name] == content
    assert sum(map(len, SMALL.values())) == served.stats()["bytes_served"]


def test_a_mount_uses_what_another_one_has_downloaded(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    served = serve()
    one = mounted(served, name="one", cache=tmp_path / "cache")
    assert CONTENT == (one.path / FILE).read_bytes()
    two = mounted(served, name="two", cache=tmp_path / "cache")
    assert CONTENT == (two.path / FILE).read_bytes()
    assert SIZE == served.stats()["bytes_served"]


def test_readers_of_different_places_get_each_their_own(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    served = serve()
    path = mounted(served).path / FILE
    places = random.Random(5).choices(range(SIZE - 100_000), k=200)

    def is_right(start: int) -> bool:
        fd = os.open(path, os.O_RDONLY)
        try:
            return CONTENT[start : start + 100_000] == os.pread(fd, 100_000, start)
        finally:
            os.close(fd)

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(is_right, places))
    assert served.stats()["bytes_served"] <= SIZE
