"""The official Kaggle clients, unmodified, each call a process of its own.

Owns how they are made to talk to a registry of ours: their environment variables, and a home that
is not the user's. They know of localhost's port 80 and the real service only; any other port is
reached by naming it as their HTTP proxy.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from serving import own_environ

CLIENTS = Path(__file__).parents[2] / ".clients"
# A client waits without limit for a server that does not answer.
DEADLINE = 100.0

_CALL = """
import json, sys
import kagglehub
function, arguments, options = json.loads(sys.argv[1])
result = getattr(kagglehub, function)(*arguments, **options)
print()
print(json.dumps(result))
"""


class Failed(Exception):
    """A kagglehub call that raised; the text is its standard error."""


@dataclass(frozen=True)
class Ran:
    """A command that ended: its exit status and what it said."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Official:
    """One user's kaggle and kagglehub of one generation, talking to the server at `url`."""

    generation: str
    url: str
    home: Path
    user: str
    token: str
    # "key": user name and key, the old way; "token": an access token, which the CLI introspects.
    credentials: str = "key"

    def through(self, url: str) -> Official:
        """The same clients, talking to another address of the same server."""
        return replace(self, url=url)

    def kaggle(self, *words: str | Path, typed: str = "", cwd: Path | None = None) -> Ran:
        """Run `kaggle models …`, with `typed` as what the user types, whatever it ends with."""
        command = [self._program("kaggle"), "models", *map(str, words)]
        done = self._run(command, typed, cwd)
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str | Path, typed: str = "", cwd: Path | None = None) -> str:
        """Run `kaggle models …`; what it printed, with exit status 0 asserted."""
        ran = self.kaggle(*words, typed=typed, cwd=cwd)
        assert ran.status == 0, f"kaggle models {words}: {ran.stdout}{ran.stderr}"
        assert "Traceback" not in ran.stderr, ran.stderr
        return ran.stdout

    def rows(self, *words: str) -> list[dict[str, str]]:
        """The rows that a list command prints as CSV, without the line of the next page's token."""
        return self.page(*words)[0]

    def page(self, *words: str) -> tuple[list[dict[str, str]], str]:
        """The rows of one page and the token of the next; an empty token is the last page."""
        lines = self.ok(*words, "--csv").splitlines()
        token = ""
        if lines and lines[0].startswith("Next Page Token = "):
            token = lines.pop(0).removeprefix("Next Page Token = ")
        if lines and lines[0].startswith("No "):
            return [], token
        return list(csv.DictReader(io.StringIO("\n".join(lines)))), token

    def pages(self, *words: str) -> list[dict[str, str]]:
        """All rows, asked for one by one."""
        rows, token = self.page(*words, "--page-size", "1")
        while token:
            assert len(rows) < 100, "paging does not end"
            more, token = self.page(*words, "--page-size", "1", "--page-token", token)
            rows += more
        return rows

    def hub(self, function: str, *arguments: Any, **options: Any) -> Any:
        """Call a function of kagglehub; raises Failed if it raises."""
        call = json.dumps([function, arguments, options], default=str)
        done = self._run([self._program("python"), "-c", _CALL, call])
        if done.returncode:
            raise Failed(done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def login(self, *typed: str) -> str:
        """What kagglehub says when a person logs in, typing `typed`, and then asks who he is."""
        code = "import kagglehub; kagglehub.login(); kagglehub.whoami()"
        # Without a terminal, getpass warns that it cannot hide what is typed.
        command = [self._program("python"), "-W", "ignore", "-c", code]
        done = self._run(command, "".join(f"{line}\n" for line in typed))
        return done.stdout + done.stderr

    def upload(self, handle: str, folder: Path, **options: Any) -> None:
        self.hub("model_upload", handle, folder, **options)

    def download(self, handle: str, **options: Any) -> Path:
        """The folder (or file, with `path`) that kagglehub put the model in."""
        return Path(self.hub("model_download", handle, **options))

    def _program(self, name: str) -> str:
        return str(CLIENTS / self.generation / "bin" / name)

    def _run(
        self, command: list[str], typed: str = "", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        if not Path(command[0]).exists():
            pytest.skip(f"no {self.generation} clients in .clients: run scripts/clients")
        environ = own_environ(
            self.home,
            KAGGLE_API_ENVIRONMENT="LOCALHOST",
            HTTP_PROXY=self.url,
            # kagglehub up to 0.3.13 has a setting of its own.
            KAGGLE_API_ENDPOINT=self.url,
            KAGGLEHUB_CACHE=str(self.home / "hub"),
        )
        if self.credentials == "key":
            environ |= {"KAGGLE_USERNAME": self.user, "KAGGLE_KEY": self.token}
        else:
            environ |= {"KAGGLE_API_TOKEN": self.token}
        return subprocess.run(
            command,
            check=False,
            env=environ,
            cwd=cwd or self.home,
            input=typed,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`: its relative path and content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write `files` below `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write_model(folder: Path, **values: Any) -> Path:
    """A folder with the metadata file that `kaggle models create` reads."""
    content = {
        "ownerSlug": "alice",
        "title": "A model",
        "subtitle": "",
        "isPrivate": True,
        "description": "# Summary",
        "publishTime": "",
        "provenanceSources": "",
        **values,
    }
    return make_files(folder, {"model-metadata.json": json.dumps(content).encode()})


def write_instance(folder: Path, **values: Any) -> Path:
    """A folder with the metadata file that `kaggle models instances create` reads."""
    content = {
        "ownerSlug": "alice",
        "framework": "pyTorch",
        "overview": "An overview",
        "usage": "# Usage",
        "licenseName": "Apache 2.0",
        "fineTunable": False,
        "trainingData": [],
        "modelInstanceType": "Unspecified",
        "baseModelInstanceId": 0,
        "externalBaseModelUrl": "",
        **values,
    }
    return make_files(folder, {"model-instance-metadata.json": json.dumps(content).encode()})
