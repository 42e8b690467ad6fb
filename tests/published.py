"""Drafts on a mount, and what the registry holds afterwards, read past the mount."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelfs.model import NOTES
from modelfs.refs import Ref
from modelfs.registry.base import Registry
from modelfs.registry.local import LocalRegistry
from polling import wait_for

# The instance of the sample that drafts are made in: three versions are published.
BASE = "alice/bert/pytorch/base"
# Seconds of quiet, for mounts of tests: longer than a program pauses on a busy machine.
SETTLE = 0.5
# From asking for a version until it is there, on a busy machine.
PUBLISHING = 90.0


def status(draft: Path) -> dict[str, Any]:
    """What `.modelfs/status.json` says."""
    told: dict[str, Any] = json.loads((draft / ".modelfs/status.json").read_text())
    return told


def state(draft: Path) -> str:
    """The state of a draft, which may be a version by now."""
    return str(status(draft)["state"])


def settled(draft: Path, expected: str = "published") -> dict[str, Any]:
    """Wait until a draft is published, or has failed; its status, in which `version` is that."""

    def ended() -> dict[str, Any] | None:
        try:
            told = status(draft)
        except FileNotFoundError:  # between the draft and the version
            return None
        return told if told["state"] in ("published", "failed") else None

    told = wait_for(ended, PUBLISHING, f"{draft} is published or has failed")
    assert expected == told["state"], told
    return {"version": told["ref"], **told}


class Holdings:
    """What a registry holds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def names(self, text: str) -> list[str]:
        return [entry.name for entry in self._registry.children(Ref.parse(text))]

    def files(self, text: str) -> dict[str, bytes]:
        """The content of every file of a version."""
        ref = Ref.parse(text)
        found = {}
        for file in self._registry.manifest(ref).files:
            buffer = bytearray(file.size)
            count = 0
            with self._registry.open(ref, file, 0, file.size) as body:
                while count < file.size:
                    count += body.readinto(memoryview(buffer)[count:])
            found[file.path] = bytes(buffer)
        return found

    def notes(self, text: str) -> str:
        documents = self._registry.manifest(Ref.parse(text)).documents
        return next((d.content.decode().strip() for d in documents if d.name == NOTES), "")

    def metadata(self, text: str) -> dict[str, Any]:
        (document,) = self._registry.documents(Ref.parse(text))
        told: dict[str, Any] = json.loads(document.content)
        return told


@contextmanager
def held(directory: Path) -> Iterator[Holdings]:
    """What is in a directory of the embedded registry, asked for anew."""
    registry = LocalRegistry(directory)
    try:
        yield Holdings(registry)
    finally:
        registry.close()
