"""A process of its own that reads a file through a cache: for tests that kill it or share with it.

Usage: python cache_process.py DIRECTORY DATA LOG PIECE PAUSE [known]

Bytes come from the file DATA, each answer waits PAUSE seconds per block, and every block that is
delivered is appended to LOG. Prints the sha256 of what it has read.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from pathlib import Path

from cache_sources import FakeBody, FakeSource, digests
from modelfs.cache import BlockCache

DEADLINE = 60.0


class LoggedSource(FakeSource):
    """Writes down what it delivers, for all processes in one file."""

    def __init__(self, data: bytes, log: Path, pause: float) -> None:
        super().__init__(data, digests(data, "md5"))
        self._log_fd = os.open(log, os.O_APPEND | os.O_WRONLY | os.O_CREAT)
        self._pause = pause

    def __call__(self, start: int, stop: int) -> FakeBody:
        time.sleep(self._pause)
        return super().__call__(start, stop)

    def deliver(self, size: int) -> None:
        super().deliver(size)
        os.write(self._log_fd, f"{size}\n".encode())
        time.sleep(self._pause)


def main() -> None:
    directory, data_path, log, piece, pause = sys.argv[1:6]
    data = Path(data_path).read_bytes()
    source = LoggedSource(data, Path(log), float(pause))
    cache = BlockCache(Path(directory), budget=1 << 40, floor=0, workers=4)
    cache.start()
    known = source.told if "known" in sys.argv else type(source.told)()
    hasher = hashlib.sha256()
    with cache.open("file", len(data), known, source) as file:
        for offset in range(0, len(data), int(piece)):
            found = file.read(offset, int(piece))
            if found is None:
                found = file.fetch(offset, int(piece)).result(DEADLINE)
            hasher.update(found)
    cache.stop()
    print(hasher.hexdigest())


if __name__ == "__main__":
    main()
