"""A client of WriftAI's protocol, the official one or ours, in a process of its own.

Owns the process and its environment. A call is a line to `wriftai_driver.py`, and its answer one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from clients.official import CLIENTS
from serving import Served, own_environ

_DRIVER = Path(__file__).with_name("wriftai_driver.py")

# In the order of their names in .clients; ours is in the environment that runs the tests.
OFFICIAL, OLD, OURS = "wriftai", "wriftai-old", "ours"


@dataclass
class Refused(Exception):
    """A call that raised: the classes of what it raised, the HTTP status if there was one."""

    kinds: tuple[str, ...]
    status: int | None
    text: str


class Session:
    """Somebody's client, at a registry of ours; a context manager."""

    def __init__(self, which: str, served: Served, home: Path, token: str | None = None) -> None:
        self._which = which
        self._environ = own_environ(home, WRIFTAI_API_BASE_URL=f"{served.url}/v1")
        self._environ["WRIFTAI_ACCESS_TOKEN"] = served.token if token is None else token
        self._process: subprocess.Popen[str] | None = None
        # "sync" or "async": whose methods are called.
        self.mode = "sync"

    def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        """What `client.<name>(…)` gave; raises Refused if it raised."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        call = json.dumps([self.mode, name, arguments, options])
        self._process.stdin.write(f"{call}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the client ended: {self._process.wait(10)}"
        answer = json.loads(line)
        if error := answer.get("error"):
            raise Refused(tuple(error["kinds"]), error["status"], error["text"])
        return answer["result"]

    def refused(self, name: str, *arguments: Any, **options: Any) -> Refused:
        """How `client.<name>(…)` fails."""
        with pytest.raises(Refused) as caught:
            self(name, *arguments, **options)
        return caught.value

    def __enter__(self) -> Session:
        program, module = CLIENTS / self._which / "bin" / "python", "wriftai"
        if self._which == OURS:
            program, module = Path(sys.executable), "modelfs.wriftai"
        if not program.exists():
            pytest.skip(f"no {self._which} in .clients: run scripts/clients")
        self._process = subprocess.Popen(
            [program, _DRIVER, module],
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        # It ends with what it reads.
        self._process.communicate(timeout=30)
        assert 0 == self._process.returncode
