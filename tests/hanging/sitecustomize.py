"""Hangs whoever asks how full a disk is, as a deadlock would, while there is a file HANGING_WHILE.

Python imports a module of this name before anything else; with this directory on its path, it is
this one.
"""

from __future__ import annotations

import os
import time

if "HANGING_WHILE" in os.environ:
    _statvfs = os.statvfs

    def _hang(path: object) -> os.statvfs_result:
        while os.path.exists(os.environ["HANGING_WHILE"]):
            time.sleep(0.1)
        return _statvfs(path)  # type: ignore[arg-type]

    os.statvfs = _hang  # type: ignore[assignment]
