"""Ways of reading that both sides of a case share, and of forgetting what was read before."""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Skipped

PIECE = 1 << 20


def in_order(path: Path) -> float:
    """Seconds to read all of a file, a piece after the other, as `cat` and `cp` do."""
    buffer = memoryview(bytearray(PIECE))
    begin = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - begin


def whole(path: Path) -> float:
    """Seconds to read all of a file into memory that was not used before, as loaders do."""
    begin = time.perf_counter()
    path.read_bytes()
    return time.perf_counter() - begin


def first_byte(path: Path) -> tuple[float, bytes]:
    """Seconds until a program has the first byte of a file; and the byte."""
    begin = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        found = file.read(1)
    return time.perf_counter() - begin, found


def tensors(path: Path, *, is_shuffled: bool = False) -> float:
    """Seconds to load every tensor of a file, as a model is loaded: the library maps the file."""
    safetensors = _library("safetensors")
    begin = time.perf_counter()
    with safetensors.safe_open(path, framework="numpy") as file:
        names = sorted(file.keys())
        if is_shuffled:
            random.Random(1).shuffle(names)
        for name in names:
            file.get_tensor(name)
    return time.perf_counter() - begin


def one_tensor(path: Path, name: str) -> bytes:
    with _library("safetensors").safe_open(path, framework="numpy") as file:
        return bytes(file.get_tensor(name).tobytes())


def pages(path: Path) -> float:
    """Seconds to touch every page of a file that numpy has mapped, one after the other."""
    numpy = _library("numpy")
    begin = time.perf_counter()
    mapped = numpy.memmap(path, mode="r", dtype=numpy.uint8)
    int(mapped[:: os.sysconf("SC_PAGESIZE")].sum(dtype=numpy.int64))
    del mapped
    return time.perf_counter() - begin


def each(paths: Sequence[str]) -> float:
    """Seconds to open, read up to 4 KiB of, and close one file after the other."""
    begin = time.perf_counter()
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.read(fd, 4096)
        os.close(fd)
    return time.perf_counter() - begin


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise Skipped(f"{name} is not installed (scripts/setup server,bench)") from exc


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def forget(path: Path) -> None:
    """Drop the kernel's pages of one file; on a mount the daemon's own file keeps its pages."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    except OSError:
        pass  # a mount has nothing to write
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def expect(found: object, expected: object) -> None:
    """Raise unless what one side read or wrote is what it should be."""
    if found != expected:
        raise RuntimeError(
            f"what came of it is wrong: {str(found)[:200]}, not {str(expected)[:200]}"
        )
