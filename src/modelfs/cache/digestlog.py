"""What registries told about files: their digests, remembered between runs.

Some registries give a file's digest only with its bytes. A line per file, in one of 256 append-only
logs, with a checksum of its own: a line that is torn or was changed is not there. What is lost here
is learned again. Each log is read once, then only its tail, as long as there is room in memory for
what it says; one lock guards what was read, and is held for reading and for adding to it.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from modelfs.cache import locks
from modelfs.cache.directory import FILE
from modelfs.cache.keys import legible
from modelfs.model import Digests


@dataclass(frozen=True, slots=True)
class Known:
    """A file's size and digests; `seen` is the sha256 that its bytes had when they came."""

    size: int
    told: Digests
    seen: str = ""


# Of files that are remembered in memory, some 600 bytes each.
_MOST = 50_000

_LOG = re.compile("[0-9a-f]{2}")

# For a line that another process is writing: one system call.
_WRITING = 0.05

# No file has it, so a line that says it is found by nobody.
_NO_SIZE = -1


class _Shard:
    __slots__ = ("known", "position")

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}
        self.position = 0


class DigestLog:
    """The logs in one directory. Never raises OSError: what cannot be read is not known."""

    def __init__(self, directory: Path, share: Callable[[int], None]) -> None:
        self._logs = f"{directory}/"
        # Gives a new file to those the cache is for.
        self._share = share
        self._shards: dict[str, _Shard] = {}
        self._lock = threading.Lock()

    def find(self, name: str, size: int) -> Known | None:
        """What is known of the file with that hash of its identity, if it still has that size."""
        with self._lock:
            shard = self._shard(name)
            known = shard.known.get(name)
            if known is None or known.size != size:
                self._read_tail(name[:2], shard)
                known = shard.known.get(name)
        return known if known is not None and known.size == size else None

    def add(self, name: str, known: Known) -> None:
        """Remember; a later line replaces an earlier one."""
        with self._lock:
            remembered = self._shard(name).known
            if remembered.get(name) == known:
                return
            remembered[name] = known
            self._make_room()
            # In the same order for others: what is forgotten here is forgotten there.
            self._append(name, known)

    def _append(self, name: str, known: Known) -> None:
        try:
            fd = self._open(name[:2])
        except OSError:
            return
        try:
            # The line break in front ends a line that a crash cut.
            os.write(fd, b"\n" + _line(name, known))
        except OSError:
            pass
        finally:
            os.close(fd)

    def forget(self, name: str) -> None:
        """What was told of the file may have been wrong: it is asked for again."""
        with self._lock:
            known = self._shard(name).known.get(name)
        if known is not None and known.size >= 0:
            self.add(name, Known(_NO_SIZE, Digests()))

    def claim(self, name: str) -> Claim | None:
        """The right to find out about a file, until closed; None if another process has it."""
        try:
            fd = self._open(name[:2])
        except OSError:
            return Claim(None)
        # One byte per file, as far apart as hashes are; sixty bits, to stay a file offset.
        if locks.try_lock(fd, int(name[:15], 16)):
            return Claim(fd)
        os.close(fd)
        return None

    def _shard(self, name: str) -> _Shard:
        """The log of a file, as the last one that was used."""
        shard = self._shards.pop(name[:2], None)
        if shard is None:
            shard = _Shard()
        self._shards[name[:2]] = shard
        return shard

    def _make_room(self) -> None:
        """More is remembered: forget the logs that were used longest ago."""
        total = sum(len(each.known) for each in self._shards.values())
        while total > _MOST and len(self._shards) > 1:
            total -= len(self._shards.pop(next(iter(self._shards))).known)

    def _open(self, shard: str) -> int:
        flags = os.O_CREAT | os.O_APPEND | os.O_RDWR | FILE
        fd = os.open(self._logs + shard, flags, 0o600)
        if os.fstat(fd).st_size == 0:
            try:
                self._share(fd)
            except PermissionError:  # made by another user just now, who does the same
                pass
        return fd

    def _read_tail(self, name: str, shard: _Shard) -> None:
        path = self._logs + name
        try:
            if os.lstat(path).st_size == shard.position:
                return
            fd = os.open(path, os.O_RDONLY | FILE)
        except OSError:
            return
        try:
            size = os.fstat(fd).st_size
            if size < shard.position:  # started anew by somebody
                shard.position = 0
            data = os.pread(fd, size - shard.position, shard.position)
        except OSError:
            return
        finally:
            os.close(fd)
        data = data[: data.rfind(b"\n") + 1]
        shard.position += len(data)
        for line in data.splitlines():
            if parsed := _parse(line):
                shard.known[parsed[0]] = parsed[1]
        self._make_room()


def damaged(directory: Path, *, is_dry: bool) -> Iterator[tuple[str, str]]:
    """The logs with lines that nobody can have written, and what is wrong; the others stay.

    Unless `is_dry` such lines become empty ones, of the same length: who adds to the log meanwhile,
    or has read it, loses nothing.
    """
    try:
        names = sorted(name for name in os.listdir(directory) if _LOG.fullmatch(name))
    except FileNotFoundError:
        return
    for name in names:
        try:
            fd = os.open(directory / name, (os.O_RDONLY if is_dry else os.O_RDWR) | FILE)
        except OSError as exc:
            yield name, f"it cannot be read: {exc.strerror}"
            continue
        try:
            if count := _blank(fd, is_dry=is_dry):
                yield name, f"lines that are damaged: {count}"
        except OSError as exc:
            yield name, f"it cannot be read: {exc.strerror}"
        finally:
            os.close(fd)


def _blank(fd: int, *, is_dry: bool) -> int:
    """How many lines are damaged."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    if not data.endswith(b"\n"):  # cut by a crash, or being written
        time.sleep(_WRITING)
        data = os.pread(fd, os.fstat(fd).st_size, 0)
    count = at = 0
    for line in data.split(b"\n"):
        # By its sum alone: what a newer program says in its lines is not for us to judge.
        if line and not _is_whole(line):
            count += 1
            if not is_dry:
                os.pwrite(fd, b"\n" * len(line), at)
        at += len(line) + 1
    return count


class Claim:
    """A right that ends with its context, or with the process."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _line(name: str, known: Known) -> bytes:
    told = known.told
    fields = (name, str(known.size), told.md5, told.crc32c, told.sha256, known.seen)
    text = " ".join(field or "-" for field in fields).encode()
    return b"%s %08x\n" % (text, google_crc32c.value(text))


def _is_whole(line: bytes) -> bool:
    text, _, crc = line.rpartition(b" ")
    return b"%08x" % google_crc32c.value(text) == crc


def _parse(line: bytes) -> tuple[str, Known] | None:
    if not _is_whole(line):
        return None
    text = line.rpartition(b" ")[0]
    try:
        name, size, *rest = text.decode("ascii").split(" ")
        md5, crc32c, sha256, seen = ("" if field == "-" else field for field in rest)
        return name, Known(int(size), legible(Digests(md5, crc32c, sha256)), seen)
    except ValueError:
        return None
