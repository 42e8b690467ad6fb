"""Registries, mounts and shells as in the other tests, and another user of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import registry as registry
from cli.conftest import shell as shell
from mount.conftest import ending as ending
from mount.conftest import mounted as mounted
from mount.conftest import serve as serve
from mount.conftest import simulate as simulate

NOBODY = 65534

AsNobody = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def as_nobody(tmp_path: Path) -> AsNobody:
    """`as_nobody(*words)` runs a command as another user, who may enter the test's folder."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv")
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and path.is_relative_to("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)

    def run(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
        change = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        return subprocess.run([*change, *words], check=False, capture_output=True, timeout=20)

    return run
