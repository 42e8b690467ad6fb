"""The same thing done three ways: by the official client, by our commands, and by file operations.

Each way has a registry of its own that began as the others did, so that what they hold afterwards
can be compared.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clients.official import Official, Ran
from mounting import Mounted
from published import held
from serving import MODELFS, Served, own_environ
from sims.content import Instance, Model, Version, plant

BASE = "alice/bert/pytorch/base"
CONTENT = (
    Model(
        "alice",
        "bert",
        (
            Instance(
                "pytorch",
                "base",
                (
                    Version(
                        {"w": b"one" * 2000, "sub/config.json": b'{"a": 1}', "empty": b""}, "1"
                    ),
                    Version({"w": b"two"}, "the second"),
                    Version({"w": b"three", "x": b"x"}, "the third"),
                ),
                overview="An overview",
                usage="# Usage",
                license="MIT",
            ),
            Instance("jax", "small", (Version({"w": b"small"}, "only one"),)),
            Instance("jax", "doomed", (Version({"w": b"1"}), Version({"w": b"2"}))),
        ),
        title="BERT",
        subtitle="of tests",
        description="# What it is",
        is_private=True,
    ),
    Model("alice", "doomed", (Instance("onnx", "it", (Version({"f": b"f"}),)),), title="Doomed"),
    Model("google", "gemma", (Instance("pytorch", "7b", (Version({"a": b"a"}),) * 2),)),
)


@dataclass(frozen=True)
class Ours:
    """Runs `modelfs models …` as `Official` runs `kaggle models …`."""

    registry: str
    token: str
    home: Path

    def run(self, *words: str | Path, typed: str = "", cwd: Path | None = None) -> Ran:
        """`modelfs models *words`, whatever it ends with; never with a traceback."""
        environ = own_environ(self.home, MODELFS_REGISTRY=self.registry, MODELFS_TOKEN=self.token)
        done = subprocess.run(
            [str(MODELFS), "models", *map(str, words)],
            check=False,
            env=environ,
            cwd=cwd or self.home,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str | Path, typed: str = "", cwd: Path | None = None) -> str:
        ran = self.run(*words, typed=typed, cwd=cwd)
        assert ran.status == 0, f"modelfs models {words}: {ran.stdout}{ran.stderr}"
        return ran.stdout


@dataclass(frozen=True)
class Ways:
    """The three ways. What each works on is below `folder`."""

    official: Official
    ours: Ours
    mount: Path
    registries: Mapping[str, Path]
    folder: Path

    def both(self, *words: str | Path, typed: str = "") -> tuple[str, str]:
        """What the official client and ours print for the same words, made comparable."""
        with ThreadPoolExecutor() as pool:
            said = [pool.submit(way.ok, *words, typed=typed) for way in (self.official, self.ours)]
        official, ours = (comparable(future.result()) for future in said)
        return official, ours

    def shell(self, command: str) -> str:
        """What a shell prints that works in the mount."""
        done = subprocess.run(
            ["bash", "-ec", command],
            check=False,
            cwd=self.mount,
            env=own_environ(self.folder / "shell"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (0, "") == (done.returncode, done.stderr), done
        return done.stdout

    def holding(self, *refs: str) -> dict[str, Any]:
        """What all three registries hold of `refs`, which is asserted to be the same."""
        official, ours, mounted = (holdings(self.registries[way], refs) for way in self.registries)
        assert official == ours
        assert official == mounted
        return official


@contextmanager
def three_ways(folder: Path) -> Iterator[Ways]:
    """The three ways, each with its own copy of CONTENT."""
    registries = {way: folder / way for way in ("official", "ours", "mounted")}
    for directory in registries.values():
        plant(directory, CONTENT)
    with ExitStack() as stack:
        first = stack.enter_context(Served(registries["official"]))
        second = stack.enter_context(Served(registries["ours"]))
        mount = Mounted(folder / "m", f"local:{registries['mounted']}", "--allow-delete")
        yield Ways(
            Official("current", first.url, folder / "alice", first.user, first.token),
            Ours(f"kaggle+{second.url}", second.token, folder / "home"),
            stack.enter_context(mount).path,
            registries,
            folder,
        )


def holdings(directory: Path, refs: Sequence[str]) -> dict[str, Any]:
    """What a registry has at `refs`, models or instances, and below: metadata, files and notes."""
    found: dict[str, Any] = {}
    with held(directory) as registry:
        pending = list(refs)
        while pending:
            ref = pending.pop()
            depth = ref.count("/") + 1
            owner = ref.split("/")[0]
            if depth == 2 and ref.split("/")[1] not in registry.names(owner):
                continue
            if depth in (2, 4):
                found[ref] = registry.metadata(ref)
            if depth == 5:
                found[ref] = (registry.files(ref), registry.notes(ref))
            else:
                pending += [f"{ref}/{name}" for name in registry.names(ref)]
    return found


def is_told(official: Any, ours: Any) -> bool:
    """Whether ours says all that the official client says, which leaves out what is empty."""
    if isinstance(official, dict):
        return all(is_told(value, ours[key]) for key, value in official.items())
    if isinstance(official, list):
        return all(map(is_told, official, ours)) and len(official) == len(ours)
    return bool(official == ours)


def comparable(text: str) -> str:
    """`text` without what differs between two registries: addresses and moments."""
    text = re.sub(r"https?://[^/\s\"]+", "http://registry", text)
    return re.sub(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "MOMENT", text)
