"""The rivals that are programs of their own: curl, kaggle and kagglehub, told to do what we do."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

from benchmarks.measure import Skipped
from benchmarks.planting import FRAMEWORK, MODEL, OWNER
from benchmarks.stage import Stage

_DEADLINE = 300.0

_LIST = "/v1/models.ModelApiService/ListModelInstanceVersionFiles"
# As many as a mount asks for.
_PAGE = 200

# Calls the function of kagglehub that the first word names with the others.
_KAGGLEHUB = """
import json, sys, time
import kagglehub
begin = time.perf_counter()
result = getattr(kagglehub, sys.argv[1])(*sys.argv[2:])
print(json.dumps([time.perf_counter() - begin, result]))
"""


def address(stage: Stage, slug: str, path: str, url: str = "") -> str:
    """The signed address of a file's bytes, as the registry (at `url`) gives it to every client."""
    registry = urlsplit(url or stage.url)
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


def pages(stage: Stage, slug: str) -> float:
    """Seconds that the registry takes to tell all files of a version, page by page."""
    registry = urlsplit(stage.url)
    message = {
        "ownerSlug": OWNER,
        "modelSlug": MODEL,
        "framework": FRAMEWORK,
        "instanceSlug": slug,
        "versionNumber": 1,
        "pageSize": _PAGE,
    }
    token, seconds = "", 0.0
    connection = http.client.HTTPConnection(str(registry.netloc), timeout=_DEADLINE)
    try:
        while True:
            body = json.dumps({**message, "pageToken": token})
            begin = time.perf_counter()
            connection.request("POST", _LIST, body, {"Content-Type": "application/json"})
            answer = connection.getresponse().read()
            seconds += time.perf_counter() - begin
            token = json.loads(answer).get("nextPageToken", "")
            if not token:
                return seconds
    finally:
        connection.close()


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


def counts(url: str) -> dict[str, int]:
    """What a distant server (mounts.py) was asked for and has sent: requests, bytes."""
    with urllib.request.urlopen(f"{url}/.counts", timeout=_DEADLINE) as answer:
        return cast(dict[str, int], json.load(answer))


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


class Official:
    """The official clients, unmodified, in the environment that scripts/clients makes."""

    def __init__(self, stage: Stage, url: str = "") -> None:
        self._programs = stage.root / ".clients" / "current" / "bin"
        self._environ = {
            **stage.environ,
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": url or stage.url,
            "KAGGLE_USERNAME": "bench",
            "KAGGLE_KEY": "any",
        }
        if not self._programs.exists():
            command = [str(stage.root / "scripts" / "clients"), "current"]
            if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
                raise Skipped("scripts/clients could not install the official clients")

    def kaggle(self, *words: str | Path) -> float:
        """Seconds of a `kaggle` command, from its start to its end."""
        begin = time.perf_counter()
        self._run("kaggle", *words)
        return time.perf_counter() - begin

    def download(self, slug: str, cache: Path) -> tuple[float, Path]:
        """Seconds of `kagglehub.model_download` of a version, and the folder it made."""
        self._environ["KAGGLEHUB_CACHE"] = str(cache)
        seconds, path = self._kagglehub("model_download", f"{_instance(slug)}/1")
        return seconds, Path(path)

    def upload(self, slug: str, folder: Path) -> float:
        """Seconds of `kagglehub.model_upload` of a folder as the next version."""
        seconds, _ = self._kagglehub("model_upload", _instance(slug), folder, "", "notes")
        return seconds

    def _kagglehub(self, *words: str | Path) -> tuple[float, str]:
        seconds, result = json.loads(self._run("python", "-c", _KAGGLEHUB, *words).splitlines()[-1])
        return seconds, result

    def _run(self, program: str, *words: str | Path) -> str:
        done = subprocess.run(
            [self._programs / program, *words],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEADLINE,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")
        return done.stdout


def _instance(slug: str) -> str:
    return f"{OWNER}/{MODEL}/pyTorch/{slug}"
