"""What was seen once costs nothing again: neither the registry nor our process is asked."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mount.conftest import Mount, Simulate
from mounting import Mounted
from sims.content import BERT, Instance, Model, Version, plant

COUNT = 200
FILES = {f"{n:03}": b"%d" % n for n in range(COUNT)}
MODEL = Model("alice", "many", (Instance("other", "it", (Version(FILES),)),))
VERSION = "alice/many/other/it/1"
BASE = "alice/bert/pytorch/base"


def asked(mount: Mounted) -> int:
    """How many times the mount's process has read from anything: once per request of the kernel."""
    counters = Path(f"/proc/{mount.pid}/io").read_text()
    return int(re.findall(r"^syscr: (\d+)$", counters, re.MULTILINE)[0])


@contextmanager
def at_most(requests: int, mount: Mounted) -> Iterator[None]:
    before = asked(mount)
    yield
    assert asked(mount) - before <= requests


def listing(directory: Path) -> str:
    command = ["ls", "-lR", "--color=never", directory]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_second_listing_of_a_version_stays_in_the_kernel(
    mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    mount = mounted(tmp_path / "registry")
    first = listing(mount.path / VERSION)
    assert COUNT == first.count("-r--r--r--")
    # Directories are opened each time; the levels above are looked up again after a second.
    with at_most(40, mount):
        assert first == listing(mount.path / VERSION)


def test_a_second_stat_stays_in_the_kernel(mounted: Mount, tmp_path: Path) -> None:
    plant(tmp_path / "registry", [MODEL])
    top = os.open((mount := mounted(tmp_path / "registry")).path / VERSION, os.O_RDONLY)
    for name in FILES:
        os.stat(name, dir_fd=top)
    with at_most(5, mount):
        for name in FILES:
            os.stat(name, dir_fd=top)
    os.close(top)


def test_a_name_that_is_not_in_a_version_is_asked_for_once(mounted: Mount, tmp_path: Path) -> None:
    # Python looks for dozens of names that are not there with every import.
    plant(tmp_path / "registry", [MODEL])
    mount = mounted(tmp_path / "registry")
    missing = mount.path / VERSION / "missing"
    assert not missing.exists()
    with at_most(30, mount):
        for _ in range(200):
            assert not missing.exists()


def test_the_second_read_stays_in_the_kernel(mounted: Mount, tmp_path: Path) -> None:
    content = os.urandom(8 << 20)
    instance = Instance("other", "it", (Version({"w": content}),))
    plant(tmp_path / "registry", [Model("alice", "one", (instance,))])
    mount = mounted(tmp_path / "registry")
    path = mount.path / "alice/one/other/it/1/w"
    assert content == path.read_bytes()
    with at_most(20, mount):
        assert content == path.read_bytes()


def test_what_is_known_is_not_asked_for_again(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(BERT)
    mount = mounted(kaggle)
    first = listing(mount.path / "alice/bert")
    content = (mount.path / BASE / "1/weights.bin").read_bytes()
    kaggle.clear()
    assert first == listing(mount.path / "alice/bert")
    assert content == (mount.path / BASE / "1/weights.bin").read_bytes()
    for _ in range(10):
        os.stat(mount.path / BASE / "1/config.json")
        assert not (mount.path / BASE / "1/missing").exists()
    assert {} == dict(kaggle.calls())


def test_looking_does_not_download(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(BERT)
    mount = mounted(kaggle)
    listing(mount.path / "alice/bert")
    for name in os.listdir(mount.path / BASE / "1"):
        os.listxattr(mount.path / BASE / "1" / name)
    assert 0 == kaggle.calls()["GET"]
    assert 0 == kaggle.calls()["DownloadModelInstanceVersion"]


def test_a_file_is_not_asked_for_before_it_is_read(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(BERT)
    mount = mounted(kaggle)
    with (mount.path / BASE / "1/weights.bin").open("rb", buffering=0) as file:
        assert 0 == kaggle.calls()["GET"]
        file.read(1)
        assert 0 < kaggle.calls()["GET"]
