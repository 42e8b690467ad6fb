"""The first moments of a mount."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from mounting import is_mounted
from serving import MODELFS, own_environ


def test_the_first_request_of_a_mount_is_answered(sample: Path, tmp_path: Path) -> None:
    """It comes before the mount says that it serves, while it still talks to libfuse.

    Several times, since what may go wrong depends on which thread is first.
    """
    for number in range(6):
        path = tmp_path / f"mnt-{number}"
        path.mkdir()
        mount = subprocess.Popen(
            [MODELFS, "mount", path, "--registry", f"local:{sample}", "--foreground"],
            env=own_environ(tmp_path / "home"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            end = time.monotonic() + 30
            while not is_mounted(path):
                assert mount.poll() is None
                assert time.monotonic() < end
            assert "alice" in os.listdir(path)
        finally:
            mount.terminate()
            assert 0 == mount.wait(20)
        assert not is_mounted(path)
