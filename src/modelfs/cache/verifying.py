"""Reads everything in a cache again, and says what is not what it should be.

Complete contents are hashed; what is incomplete is compared block by block with the checksums in
its map; the logs of what registries told, line by line with theirs. What is wrong is dropped, so
that it is fetched again: a file by its name, which leaves it to who has it open; a block by its
record; a line by emptying it. Works while others use the directory: what they bring or drop
meanwhile is no finding. Last uses stay as they are. No state; its threads share only numbers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelfs.cache import digestlog, locks
from modelfs.cache.blockmap import BLOCK, BlockMap, block_count, checksum
from modelfs.cache.directory import FILE, Directory, entries, inode_of
from modelfs.cache.keys import Check, is_key, size_of
from modelfs.cache.mapfiles import MAP
from modelfs.cache.store import PART, Store
from modelfs.model import Digests

# Hashing is what takes time, and lets other threads go on.
_MOST_THREADS = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a content, in words, and how many bytes of it are of no use.

    Or with what was told of contents: `key` is the path of the log then.
    """

    key: str
    what: str
    lost: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading all contents again found. `unproven`: nobody ever told what these should be."""

    checked: int
    size: int
    faults: tuple[Fault, ...]
    unproven: tuple[str, ...]


class _Gone(Exception):
    """Dropped, or finished, by somebody meanwhile."""


class Verifier:
    """Looks through one cache. `about` tells what is known of the bytes of a key.

    `progress` is given the number of bytes that have been read since it was last called.
    """

    def __init__(
        self,
        directory: Directory,
        store: Store,
        about: Callable[[str], Digests],
        *,
        is_dry: bool,
        progress: Callable[[int], None],
    ) -> None:
        self._directory = directory
        self._store = store
        self._about = about
        self._is_dry = is_dry
        self._progress = progress

    def run(self) -> Verification:
        places = [
            (shard, name)
            for shard in self._directory.shards()
            for name, _ in entries(shard)
            if is_key(name.removesuffix(PART))
        ]
        checked, size = 0, 0
        faults: list[Fault] = []
        unproven: list[str] = []
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
            for key, found, read in threads.map(lambda place: self._look(*place), places):
                if read is None:
                    continue
                checked += 1
                size += read
                faults += found
                if not found and not self._is_provable(key):
                    unproven.append(key)
        faults += [
            Fault(f"digests/{name}", what, 0)
            for name, what in digestlog.damaged(self._directory.digests, is_dry=self._is_dry)
        ]
        return Verification(checked, size, tuple(faults), tuple(unproven))

    def _is_provable(self, key: str) -> bool:
        return bool(Check.strongest(self._about(key)).expected)

    def _look(self, place: Path, name: str) -> tuple[str, list[Fault], int | None]:
        """What is wrong with a file, and how much of it was read; None if it is gone."""
        key, is_part = name.removesuffix(PART), name.endswith(PART)
        try:
            with self._opened(place, name) as (shard, fd):
                if fd is None:
                    return key, [self._unusable(place, name, "it is not a plain file", 0)], 0
                if place.name != key[key.index("-") + 1 :][:2]:
                    return key, [self._unusable(place, name, "it is not where it belongs", 0)], 0
                look = self._partial if is_part else self._complete
                return key, *look(shard, fd, key)
        except _Gone:
            return key, [], None
        except OSError as exc:
            return key, [Fault(key, f"it cannot be read: {exc.strerror}", size_of(key))], 0

    @contextmanager
    def _opened(self, place: Path, name: str) -> Iterator[tuple[int, int | None]]:
        """The directory and the file, which nobody evicts meanwhile; None for what is no file."""
        try:
            shard = os.open(place, os.O_DIRECTORY | os.O_RDONLY | FILE)
        except FileNotFoundError as exc:
            raise _Gone from exc
        fd = None
        try:
            try:
                found = os.stat(name, dir_fd=shard, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    fd = _open(name, shard, is_written=name.endswith(PART))
            except FileNotFoundError as exc:
                raise _Gone from exc
            if fd is not None:
                is_held = locks.mark_used(fd)
                if not is_held or inode_of(name, shard) != os.fstat(fd).st_ino:
                    raise _Gone
            yield shard, fd
        finally:
            if fd is not None:
                os.close(fd)
            os.close(shard)

    def _complete(self, _shard: int, fd: int, key: str) -> tuple[list[Fault], int]:
        found, size = os.fstat(fd), size_of(key)
        if found.st_size != size:
            return [self._drop(fd, key, f"its size is {found.st_size}, not {size}")], 0
        check = Check.strongest(self._about(key))
        value = self._hash(fd, size, check)
        if not check.expected and not self._store.is_finished(key):
            return [self._drop(fd, key, "it was written to, and has no digest")], size
        if check.accepts(value):
            return [], size
        return [self._drop(fd, key, f"its {check.name} is {value}")], size

    def _partial(self, shard: int, fd: int, key: str) -> tuple[list[Fault], int]:
        found, size = os.fstat(fd), size_of(key)
        if found.st_size == 0 and size:
            return [], 0  # just being made
        if found.st_size != size:
            return [self._drop(fd, key, f"its size is {found.st_size}, not {size}")], 0
        try:
            map_fd = os.open(key + MAP, os.O_RDWR | FILE, dir_fd=shard)
        except FileNotFoundError:
            if inode_of(key + PART, shard) != found.st_ino:
                raise _Gone from None
            if not found.st_blocks:
                return [], 0
            return [self._drop(fd, key, "its map is missing")], 0
        try:
            block_map = BlockMap(map_fd, size)
            if not block_map.is_sound():
                return [self._drop(fd, key, "its map is damaged")], 0
            return self._blocks(fd, key, block_map)
        finally:
            os.close(map_fd)

    def _blocks(self, fd: int, key: str, block_map: BlockMap) -> tuple[list[Fault], int]:
        size, read, here = size_of(key), 0, 0
        faults = []
        for block in range(block_count(size)):
            what, length = self._block(fd, size, block_map, block)
            read += length
            here += bool(length) and not what
            if what:
                faults.append(
                    Fault(key, f"block {block}: {what}", min(BLOCK, size - block * BLOCK))
                )
        check = Check.strongest(self._about(key))
        if here == block_count(size) and check.expected:
            value = self._hash(fd, size, check)
            if not check.accepts(value):
                faults.append(self._drop(fd, key, f"its {check.name} is {value}"))
        return faults, read

    def _block(self, fd: int, size: int, block_map: BlockMap, block: int) -> tuple[str, int]:
        """What is wrong with a block, and how much was read."""
        what, length = _examined(fd, size, block_map, block)
        self._progress(length)
        if not what or not locks.claim_block(fd, block):
            return "", length  # who holds it is writing it
        try:
            what, _ = _examined(fd, size, block_map, block)
            if what and not self._is_dry:
                block_map.forget(block)
        finally:
            locks.release_block(fd, block)
        return what, length

    def _hash(self, fd: int, size: int, check: Check) -> str:
        hasher = check.hasher()
        for at in range(0, size, BLOCK):
            data = os.pread(fd, min(BLOCK, size - at), at)
            hasher.update(data)
            self._progress(len(data))
        return hasher.hexdigest()

    def _drop(self, fd: int, key: str, what: str) -> Fault:
        if not self._is_dry:
            self._store.drop(key, os.fstat(fd).st_ino)
        return Fault(key, what, size_of(key))

    def _unusable(self, place: Path, name: str, what: str, lost: int) -> Fault:
        if not self._is_dry and not (place / name).is_dir():
            (place / name).unlink(missing_ok=True)
        return Fault(name.removesuffix(PART), what, lost)


def _examined(fd: int, size: int, block_map: BlockMap, block: int) -> tuple[str, int]:
    expected = block_map.recorded(block)
    if expected is None:
        return ("" if block_map.is_blank(block, block + 1) else "its record is damaged"), 0
    data = os.pread(fd, min(BLOCK, size - block * BLOCK), block * BLOCK)
    return ("" if checksum(data) == expected else "it differs from its checksum"), len(data)


def _open(name: str, shard: int, *, is_written: bool) -> int:
    """Without a trace in the time of its last use, where the file is ours."""
    flags = FILE | (os.O_RDWR if is_written else os.O_RDONLY)
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=shard)
    except PermissionError:
        return os.open(name, flags, dir_fd=shard)
