"""The rivals that are programs of their own: curl and kagglehub, told to get what we get."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

from benchmarks.measure import Skipped
from benchmarks.planting import FRAMEWORK, MODEL, OWNER
from benchmarks.stage import Stage

_DEADLINE = 300.0

_KAGGLEHUB = """
import json, sys, time
import kagglehub
begin = time.perf_counter()
path = kagglehub.model_download(*sys.argv[1:])
print(json.dumps([time.perf_counter() - begin, path]))
"""


def address(stage: Stage, slug: str, path: str) -> str:
    """The signed address of a file's bytes, as the registry gives it to every client."""
    registry = urlsplit(stage.url)
    connection = http.client.HTTPConnection(str(registry.netloc), timeout=_DEADLINE)
    try:
        version = f"{OWNER}/{MODEL}/{FRAMEWORK}/{slug}/1"
        connection.request("GET", f"/api/v1/models/{version}/download/{quote(path)}")
        answer = connection.getresponse()
        answer.read()
        location = answer.getheader("Location")
    finally:
        connection.close()
    if not location:
        raise RuntimeError(f"the registry gave no address but status {answer.status}")
    return location


def first_byte(url: str) -> tuple[float, bytes]:
    """Seconds for one ranged GET of one byte, over a new connection; and the byte."""
    parts = urlsplit(url)
    begin = time.perf_counter()
    connection = http.client.HTTPConnection(str(parts.netloc), timeout=_DEADLINE)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Range": "bytes=0-0"})
        answer = connection.getresponse().read()
        return time.perf_counter() - begin, answer
    finally:
        connection.close()


def curl(url: str, size: int, ranges: int, folder: Path) -> float:
    """Seconds for curl, or that many at once, to write all of a file into pieces of `folder`."""
    if not shutil.which("curl"):
        raise Skipped("there is no curl")
    length = -(-size // ranges)
    begin = time.perf_counter()
    running = [
        subprocess.Popen(
            [
                *("curl", "--silent", "--show-error", "--fail", "--noproxy", "*"),
                *("--range", f"{start}-{min(start + length, size) - 1}"),
                *("--output", folder / f"{start:020}", url),
            ]
        )
        for start in range(0, size, length)
    ]
    statuses = [process.wait(_DEADLINE) for process in running]
    seconds = time.perf_counter() - begin
    if any(statuses):
        raise RuntimeError(f"curl ended with {statuses}")
    return seconds


class Kagglehub:
    """The official package, unmodified, in the environment that scripts/clients makes."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._python = stage.root / ".clients" / "current" / "bin" / "python"
        if not self._python.exists():
            command = [str(stage.root / "scripts" / "clients"), "current"]
            if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
                raise Skipped("scripts/clients could not install kagglehub")

    def download(self, slug: str, cache: Path) -> tuple[float, Path]:
        """Seconds of `kagglehub.model_download` of a version, and the folder it made."""
        environ = {
            **self._stage.environ,
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": self._stage.url,
            "KAGGLE_USERNAME": "bench",
            "KAGGLE_KEY": "any",
            "KAGGLEHUB_CACHE": str(cache),
        }
        handle = f"{OWNER}/{MODEL}/pyTorch/{slug}/1"
        done = subprocess.run(
            [self._python, "-c", _KAGGLEHUB, handle],
            env=environ,
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"kagglehub failed: {done.stderr}")
        seconds, path = json.loads(done.stdout.splitlines()[-1])
        return seconds, Path(path)
