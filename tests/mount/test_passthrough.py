"""Cached files that the kernel reads itself: right bytes, one way at a time, nothing left."""

from __future__ import annotations

import logging
import mmap
import os
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modelfs.errors import Unsupported
from modelfs.mount.passthrough import Choice, Passthrough
from mounting import Mounted
from polling import wait_for
from sims.content import Instance, Model, Version, plant

CONTENT = random.Random(5).randbytes(3 << 20)
SMALL = b"small"
MODEL = Model(
    "alice", "m", (Instance("pytorch", "b", (Version({"big": CONTENT, "small": SMALL}),)),)
)
Mount = Callable[..., Mounted]


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    plant(tmp_path / "registry", [MODEL])
    return tmp_path / "registry"


def _version(mount: Mounted) -> Path:
    return mount.path / "alice/m/pytorch/b/1"


def _is_stopped(pid: int) -> bool:
    """Whether the last thread of a process has heard of the signal; on a busy machine it waits."""
    states = (task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/stat"))
    return all(state.rpartition(")")[2].split()[0] == "T" for state in states)


def _is_passed_through(mount: Mounted, path: Path, expected: bytes) -> bool:
    """Whether `path`, once open, can be read and closed while the daemon is stopped."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    seen: list[bytes] = []

    def read() -> None:
        seen.append(os.pread(fd, len(expected), 0))
        os.close(fd)

    reader = threading.Thread(target=read)
    os.kill(mount.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: _is_stopped(mount.pid))
        reader.start()
        reader.join(1.0)
        is_alone = not reader.is_alive()
    finally:
        os.kill(mount.pid, signal.SIGCONT)
        reader.join(30.0)
    return is_alone and seen == [expected]


@pytest.fixture
def mount(mounted: Mount, registry: Path) -> Mounted:
    """A mount with both files in its cache; skips where the kernel does not pass through."""
    mount = mounted(registry, "-v")
    for name, content in (("big", CONTENT), ("small", SMALL)):
        assert content == (_version(mount) / name).read_bytes()
    (_version(mount) / "big").read_bytes()
    if "reads are served without passthrough" in mount.log:
        pytest.skip("this kernel, or this user, has no FUSE passthrough")
    return mount


@pytest.mark.parametrize(("name", "content"), [("big", CONTENT), ("small", SMALL)])
def test_a_cached_file_is_read_without_the_daemon(
    mount: Mounted, name: str, content: bytes
) -> None:
    # The kernel tells of a close later: until then the file goes the way that it went.
    path = _version(mount) / name
    wait_for(lambda: _is_passed_through(mount, path, content), 20.0)


def test_a_passed_through_file_is_mapped(mount: Mounted) -> None:
    with (_version(mount) / "big").open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        assert CONTENT == view[:]
        view.close()


def test_all_who_have_a_file_open_read_it_in_the_way_of_the_first(
    mounted: Mount, registry: Path
) -> None:
    mount = mounted(registry)
    path = _version(mount) / "big"
    stored = mount.cache / "blocks/objects"
    with path.open("rb") as first:
        assert CONTENT == first.read()
        wait_for(lambda: not list(stored.glob("*/*.part")), 20.0, "it is verified")
        with path.open("rb") as second:
            assert CONTENT == second.read()
        assert CONTENT[:10] == os.pread(first.fileno(), 10, 0)


def test_a_passed_through_file_is_opened_by_several(mount: Mounted) -> None:
    path = _version(mount) / "big"
    wait_for(lambda: _is_passed_through(mount, path, CONTENT), 20.0)
    with path.open("rb") as first, path.open("rb") as second:
        assert CONTENT == first.read() == second.read()


def test_ten_thousand_opens_leave_nothing_behind(mount: Mounted) -> None:
    path = _version(mount) / "small"
    descriptors = len(os.listdir(f"/proc/{mount.pid}/fd"))
    for _ in range(10_000):
        fd = os.open(path, os.O_RDONLY)
        assert SMALL == os.read(fd, 10)
        os.close(fd)
    wait_for(lambda: len(os.listdir(f"/proc/{mount.pid}/fd")) <= descriptors + 2)


def test_an_open_file_outlives_its_place_in_the_cache(mount: Mounted) -> None:
    with (_version(mount) / "big").open("rb") as file:
        for stored in (mount.cache / "blocks/objects").glob("*/*"):
            stored.unlink()
        assert CONTENT == file.read()
    assert CONTENT == (_version(mount) / "big").read_bytes()


def test_a_mount_without_passthrough_serves_every_read(mounted: Mount, registry: Path) -> None:
    mount = mounted(registry, "--passthrough", "off")
    path = _version(mount) / "small"
    assert SMALL == path.read_bytes()
    assert not _is_passed_through(mount, path, SMALL)
    assert "without passthrough" not in mount.log


def test_a_mount_that_insists_on_passthrough_has_it(
    mount: Mounted, mounted: Mount, registry: Path
) -> None:
    other = mounted(registry, "--passthrough", "on", name="other")
    path = _version(other) / "small"
    assert SMALL == path.read_bytes()
    wait_for(lambda: _is_passed_through(other, path, SMALL), 20.0)


def test_a_kernel_without_passthrough_is_told_of_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Passthrough(Choice.AUTO, tmp_path).start(-1, is_offered=False)
    assert [
        "reads are served without passthrough: the kernel has none: Linux 6.9 and later do"
    ] == caplog.messages
    with pytest.raises(Unsupported, match="cannot be passed through: the kernel has none"):
        Passthrough(Choice.ON, tmp_path).start(-1, is_offered=False)


def test_a_kernel_that_offers_passthrough_and_refuses_it_is_told_of_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with open(os.devnull) as refusing:
        auto = Passthrough(Choice.AUTO, tmp_path)
        auto.start(refusing.fileno(), is_offered=True)
        assert 1 == len(caplog.messages)
        with open(os.devnull) as offered:
            assert 0 == auto.opened(1, offered.fileno())
        auto.released(1)
        with pytest.raises(Unsupported, match="reads cannot be passed through: "):
            Passthrough(Choice.ON, tmp_path).start(refusing.fileno(), is_offered=True)
