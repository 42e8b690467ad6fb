"""The mount's process dies at any moment: no wrong byte, no hang, and the same command mounts."""

from __future__ import annotations

import errno
import os
import random
import signal
from pathlib import Path

import pytest

from mount.conftest import Mount, Serve
from mount.readers import Reader, digest_of
from polling import wait_for
from sims.content import Instance, Model, Version, plant

POINTS = int(os.environ.get("CRASH_POINTS", "12"))
# For a reader to be told, and whatever else is to happen soon, on a machine that has much to do.
PATIENCE = 60.0
SIZE = 3 << 20
_RANDOM = random.Random(10)
FILES = {f"{number:02}": _RANDOM.randbytes(SIZE) for number in range(POINTS)}
MODEL = Model("alice", "crash", (Instance("other", "it", (Version(FILES),)),))
VERSION = "alice/crash/other/it/1"
# What a reader is told of a mount whose process is gone.
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_mount_that_is_killed_while_it_reads_gives_the_right_bytes_afterwards(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    served = serve()
    mount = mounted(served)
    version = mount.path / VERSION
    for number, (name, content) in enumerate(FILES.items()):
        reader = Reader(version / name)
        before = served.stats()["bytes_served"]
        # Later and later in the download, up to the moments after its end.
        enough = before + SIZE * number // (POINTS - 1)
        wait_for(lambda enough=enough: served.stats()["bytes_served"] >= enough, PATIENCE)
        mount.kill()
        status, digest, errors = reader.finish(PATIENCE)
        assert status == 1 or digest == digest_of(content), errors

        mount.start()
        assert content == (version / name).read_bytes(), f"killed at {number}"
    mount.kill()
    mount.start()
    before = served.stats()["bytes_served"]
    for name, content in FILES.items():
        assert content == (version / name).read_bytes()
    assert before == served.stats()["bytes_served"]


def test_who_uses_a_mount_that_has_died_is_told_at_once(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [MODEL])
    mount = mounted(serve(), "--no-watchdog")  # which would free the mountpoint
    version = mount.path / VERSION
    fd = os.open(version / "00", os.O_RDONLY)
    assert FILES["00"][:10] == os.read(fd, 10)
    mount.kill()
    for use in (
        lambda: os.pread(fd, 10, SIZE - 10),
        lambda: os.listdir(version),
        lambda: os.statvfs(mount.path),
        lambda: (version / "01").read_bytes(),
    ):
        with pytest.raises(OSError) as caught:
            use()
        assert caught.value.errno in GONE
    mount.start()
    with pytest.raises(OSError):
        os.pread(fd, 10, SIZE - 10)
    os.close(fd)  # nothing was written: nobody has to be asked
    assert FILES["00"] == (version / "00").read_bytes()


def test_a_stopped_mount_goes_on(serve: Serve, mounted: Mount, tmp_path: Path) -> None:
    plant(tmp_path / "registry", [MODEL])
    mount = mounted(serve())
    reader = Reader(mount.path / VERSION / "00")
    os.kill(mount.pid, signal.SIGSTOP)
    os.kill(mount.pid, signal.SIGCONT)
    assert (0, digest_of(FILES["00"]), "") == reader.finish(PATIENCE)
