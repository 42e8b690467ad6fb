"""The embedded registry as its users have it: `modelfs serve` in a process of its own.

Owns the process, its log and its port. Knows nothing of who asks it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from polling import wait_for

# The commands of the environment that runs the tests.
BIN = Path(sys.executable).parent
MODELFS = BIN / "modelfs"
# Starting Python takes 0.3 s on an idle machine; one with fifty processes at work has been seen to
# take 100 times that.
START = 120.0

# Straight to the server, whatever proxies the machine has.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def own_environ(home: Path, **more: str) -> dict[str, str]:
    """An environment that holds nothing of the user's: his home, his tokens, his proxies."""
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / "tmp"
    temporary.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        **more,
    }


class Served:
    """A running `modelfs serve`; a context manager that ends by asserting a clean exit."""

    def __init__(self, directory: Path, *options: str, user: str = "alice") -> None:
        self.directory = directory
        self.user = user
        self.url = ""
        self._options = options
        self._log = directory.with_name(directory.name + ".log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def token(self) -> str:
        return (self.directory / "token").read_text().strip()

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def stats(self) -> Mapping[str, Any]:
        """What the server says of itself: the bytes it took and gave, among others."""
        with _direct.open(f"{self.url}/-/stats", timeout=10) as answer:
            stats: dict[str, Any] = json.load(answer)
            return stats

    def start(self) -> None:
        command = [str(MODELFS), "serve", str(self.directory), "--port", "0", "--user", self.user]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *self._options],
                env=own_environ(self.directory.with_name(self.directory.name + ".home")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._is_ready, START, "modelfs serve is ready")

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"modelfs serve ended: {self.log}"
        if found := re.search(r"^serving .* at (http://\S+)$", self.log, re.MULTILINE):
            self.url = found[1]
        return bool(found)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            status = self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
            raise
        finally:
            self._process = None
        assert status == 0, f"modelfs serve ended with {status}: {self.log}"

    def __enter__(self) -> Served:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
