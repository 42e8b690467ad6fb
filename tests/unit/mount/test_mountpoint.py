"""Names of mounts and processes need not be UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from modelfs.mount import mountpoint
from modelfs.mount.records import Serving

# As anybody may call himself.
_NAMED = r"""
import ctypes, sys
ctypes.CDLL(None).prctl(15, b"\xff\xfe", 0, 0, 0)
print(flush=True)
sys.stdin.read()
"""


def test_what_is_not_mounted_under_any_name_is_unmounted(tmp_path: Path) -> None:
    mountpoint.unmount(tmp_path / os.fsdecode(b"caf\xe9"))


def test_a_note_may_be_of_a_process_of_any_name(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _NAMED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not Serving(tmp_path, process.pid, 0.0, (), None).is_alive
