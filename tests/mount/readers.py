"""Readers in processes of their own, as a mount meets them: they can be stopped at any moment."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Says when it has the file open, which it does nothing with but read. Ctrl-C ends it as it ends
# cat: a process that handles the signal itself (Python does) is held in its read by the kernel
# until that ends.
_READ = """
import hashlib, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("opening", flush=True)
with open(sys.argv[1], "rb", buffering=0) as file:
    print("reading", flush=True)
    file.seek(int(sys.argv[2]))
    content = hashlib.file_digest(file, "sha256")
print(content.hexdigest())
"""


class Reader:
    """A process that reads a file from `start` to its end."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _READ, path, str(start)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_reading(self) -> None:
        """Until it has the file open."""
        assert self._process.stdout is not None
        assert "opening\n" == self._process.stdout.readline()
        assert "reading\n" == self._process.stdout.readline()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def finish(self, deadline: float) -> tuple[int, str, str]:
        """Its exit status, the digest of what it read, and what it said of errors."""
        try:
            output, errors = self._process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        return self._process.returncode, output.split("\n")[-2], errors

    @property
    def is_done(self) -> bool:
        return self._process.poll() is not None


def digests_read(paths: Sequence[Path], deadline: float = 60.0) -> list[str]:
    """What as many processes, all at once, read of `paths`."""
    readers = [Reader(path) for path in paths]
    found = []
    for reader in readers:
        status, digest, errors = reader.finish(deadline)
        assert 0 == status, errors
        found.append(digest)
    return found


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
