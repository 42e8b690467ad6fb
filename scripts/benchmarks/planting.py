"""What the registry of the benchmarks holds, put there by its engine, past the wire.

Contents are random bytes, the same in every run, so that nothing on the way can compress them.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelfs.model import Digests, File
from modelfs.registry.local import Store
from modelfs.registry.local.blobs import Blobs
from modelfs.registry.local.database import Database
from modelfs.registry.local.reader import BLOBS, DATABASE, TEMPORARY
from modelfs.registry.local.writing import insert_instance, insert_version

OWNER, MODEL, FRAMEWORK = "bench", "model", "pytorch"

# Files in one directory of the versions with many; more is rare in models, and `ls` sorts.
_PER_DIRECTORY = 1000
# As many different small contents; what a small file holds matters to no case.
_CONTENTS = 64
# Long ago, so that the version is not one that the registry may still be unpacking.
_MOMENT = 1_700_000_000.0


@dataclass(frozen=True)
class Sizes:
    """How large the single files are, and how many files the versions with many have."""

    large: int = 1 << 29
    # What is also packed and unpacked.
    medium: int = 1 << 28
    many: tuple[int, ...] = (1_000, 10_000, 100_000)
    # What is written: eight files of this size, or this many of 10 KB.
    part: int = 32 << 20
    parts: int = 1_000

    @classmethod
    def small(cls) -> Sizes:
        return cls(64 << 20, 16 << 20, (100, 1_000, 10_000), 2 << 20, 100)

    @classmethod
    def full(cls) -> Sizes:
        """1 GiB of everything that is large: too much for five minutes."""
        return cls(1 << 30, 1 << 30, part=128 << 20)


@dataclass(frozen=True)
class Planted:
    """A version: its files by path, and where the registry keeps the bytes of each."""

    slug: str
    files: Mapping[str, File]
    _blobs: Blobs

    def native(self, path: str) -> Path:
        """The bytes of a file as an ordinary file."""
        return self._blobs.path(self.files[path].digests.sha256)


def plant(directory: Path, slug: str, sizes: Sizes) -> Planted:
    """Make the version that `slug` names: `large`, `medium`, `eight` or `many-N` of small files."""
    blobs = Blobs(directory / BLOBS, directory / TEMPORARY)
    kind, _, count = slug.partition("-")
    if kind == "many":
        found = _many(blobs, int(count))
    elif kind == "eight":
        found = [_one(blobs, sizes.part, f"part-{seed}.bin", seed) for seed in range(8)]
    else:
        found = [_one(blobs, sizes.large if kind == "large" else sizes.medium)]
    _publish(directory, slug, found)
    return Planted(slug, {file.path: file for file in found}, blobs)


def newest(directory: Path, slug: str) -> tuple[int, dict[str, str]]:
    """The number of the instance's newest version, and the sha256 of each of its files by path."""
    store = Store(directory)
    try:
        versions = store.all_versions(OWNER, MODEL, FRAMEWORK, slug)
        version = max(versions, key=lambda version: version.number)
        return version.number, {file.path: file.sha256 for file in store.all_files(version)}
    finally:
        store.stop()


class _Noise(io.RawIOBase):
    """`size` random bytes."""

    def __init__(self, seed: int, size: int) -> None:
        self._random = random.Random(seed)
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        size = min(size, self._left)
        self._left -= size
        return self._random.randbytes(size)


def _one(blobs: Blobs, size: int, name: str = "weights.bin", seed: int = 0) -> File:
    return File(name, size, digests=_kept(blobs, _Noise(seed, size), size))


def _many(blobs: Blobs, count: int) -> list[File]:
    known = [_kept(blobs, _Noise(size, size), size) for size in range(1, _CONTENTS + 1)]
    return [
        File(
            f"part-{number // _PER_DIRECTORY:03}/file-{number:06}.bin",
            number % _CONTENTS + 1,
            digests=known[number % _CONTENTS],
        )
        for number in range(count)
    ]


def _kept(blobs: Blobs, noise: _Noise, size: int) -> Digests:
    return blobs.add(noise, size)[1]


def _publish(directory: Path, slug: str, files: list[File]) -> None:
    store = Store(directory, clock=lambda: _MOMENT)
    database = Database(directory / DATABASE)
    try:
        known = {(model.owner, model.slug) for model in store.models(owner=OWNER).items}
        if not known:
            store.create_model(OWNER, MODEL, title="Benchmarks", is_private=False)
        parent = store.model(OWNER, MODEL)
        fields: dict[str, object] = {"license_name": "Apache 2.0"}
        with database.write() as connection:
            number = insert_instance(connection, parent, FRAMEWORK, slug, fields, _MOMENT)
            insert_version(connection, number, files, "", _MOMENT)
    finally:
        database.close()
        store.stop()
