"""What the registry of the benchmarks holds, put there by its engine, past the wire.

Contents are random bytes, the same in every run, so that nothing on the way can compress them.
"""

from __future__ import annotations

import io
import json
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
# The single file of a version; what is in it is called `tensor_name`, and is so large.
FILE, TENSOR = "model.safetensors", 4 << 20
_OPENED = 4 << 10
_SPARSE = 5 << 30
# Long ago, so that the version is not one that the registry may still be unpacking.
_MOMENT = 1_700_000_000.0


@dataclass(frozen=True)
class Sizes:
    """How large the single files are, and how many files the versions with many have."""

    large: int = 1 << 28
    # What is also packed and unpacked.
    medium: int = 1 << 27
    many: tuple[int, ...] = (1_000, 10_000, 100_000)
    # Small files that are read.
    opened: int = 2_000
    # What is written: eight files of this size, or this many of 10 KB.
    part: int = 32 << 20
    parts: int = 300

    def of(self, slug: str) -> int:
        """The size of the one file of a version that has one."""
        return {"large": self.large, "medium": self.medium, "eighth": self.large // 8}[slug]

    @classmethod
    def small(cls) -> Sizes:
        return cls(64 << 20, 16 << 20, (100, 1_000), 200, 2 << 20, 50)

    @classmethod
    def full(cls) -> Sizes:
        """1 GiB of everything that is large: a quarter of an hour, and more."""
        return cls(1 << 30, 1 << 30, opened=10_000, part=128 << 20, parts=1_000)


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
    """Make the version that `slug` names.

    `large`, `medium` and `eighth` have one file, `sparse` one that is larger than anybody would
    read; `many-N` has N files of a few bytes, `files-N` N different ones of 4 KiB.
    """
    blobs = Blobs(directory / BLOBS, directory / TEMPORARY)
    kind, _, count = slug.partition("-")
    if kind == "many":
        found = _many(blobs, int(count))
    elif kind == "files":
        found = _opened(blobs, int(count))
    elif kind == "sparse":
        found = [_sparse(blobs)]
    else:
        found = [_tensors(blobs, sizes.of(kind))]
    _publish(directory, slug, found)
    return Planted(slug, {file.path: file for file in found}, blobs)


def tensor_name(number: int) -> str:
    return f"layer.{number:05}.weight"


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
    """`begin`, and then `size` random bytes."""

    def __init__(self, seed: int, size: int, begin: bytes = b"") -> None:
        self._random = random.Random(seed)
        self._begin = begin
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        if self._begin:
            begin, self._begin = self._begin, b""
            return begin
        size = min(size, self._left)
        self._left -= size
        return self._random.randbytes(size)


def _tensors(blobs: Blobs, size: int) -> File:
    """A file in the format safetensors: tensors of one size, one after the other."""
    tensors = {
        tensor_name(number): {
            "dtype": "F32",
            "shape": [TENSOR // 4],
            "data_offsets": [number * TENSOR, (number + 1) * TENSOR],
        }
        for number in range(size // TENSOR)
    }
    text = json.dumps(tensors).encode()
    text += b" " * (-len(text) % 8)
    begin = len(text).to_bytes(8, "little") + text
    noise = _Noise(0, len(tensors) * TENSOR, begin)
    total = len(begin) + len(tensors) * TENSOR
    return File(FILE, total, digests=_kept(blobs, noise, total))


def _sparse(blobs: Blobs) -> File:
    """A file of 5 GiB that takes no room. Nobody reads it to its end, so its digests are none."""
    digests = Digests(md5="5a" * 16, crc32c="5a" * 4, sha256="5a" * 32)
    path = blobs.path(digests.sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(_SPARSE)
    return File(FILE, _SPARSE, digests=digests)


def _opened(blobs: Blobs, count: int) -> list[File]:
    return [
        File(
            f"part-{number // _PER_DIRECTORY:03}/file-{number:06}.bin",
            _OPENED,
            digests=_kept(blobs, _Noise(number + 1, _OPENED), _OPENED),
        )
        for number in range(count)
    ]


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
    with blobs.arriving() as arrivals:
        return arrivals.add(noise, size)[1]


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
