"""What one run must not pay for because another ran before it, or none did.

What was written is on its way to the disk for half a minute, and keeps it and a processor busy. A
virtual machine may have given back the memory that nobody used: its host then provides each page
when it is first written to, which makes a file in memory ten times as slow to write, whoever does.
And ext4 looks, for minutes, past each of the files that were just removed when it makes a new one:
after a thousand of them, that takes ten times as long.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
from pathlib import Path

# Of Linux 5.14: every page is there when it returns. Python has no name for it yet.
_POPULATE_WRITE = 23


def calm(size: int) -> None:
    """Bring to the disk what was written, and have memory for `size` bytes, if so much is free."""
    os.sync()
    # What is in use is not to be pushed out.
    size = min(size, os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE // 2)
    if size < mmap.PAGESIZE:
        return
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        try:
            memory.madvise(_POPULATE_WRITE)
        except (OSError, ValueError):
            for at in range(0, size, mmap.PAGESIZE):
                memory[at] = 1


def spread(folder: Path) -> None:
    """Have ext4 make what lies in `folder` where the last run, now removed, did not lie."""
    if shutil.which("chattr"):
        subprocess.run(["chattr", "+T", folder], check=False, stderr=subprocess.DEVNULL)


def discard(folder: Path) -> None:
    """Give back what the files in `folder` occupy; they stay, empty, until the end of all runs."""
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name)
            if path.is_file() and not path.is_symlink():
                os.truncate(path, 0)
