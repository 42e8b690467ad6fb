"""Dies at every step of a cache that is filled and emptied at once, and looks what is left.

Run as a script with an empty directory and a number: at each so many-th step, a forked child that
reads files through a cache with room for half of them dies just before it (a file opened for
writing, written to, cut, renamed or removed, a lock taken or given back). What it drops meanwhile
another process may have open, which reads its files all the while and must not see a wrong byte.
Afterwards nothing in the cache is wrong or left over, every file is right, and the cache is not
larger than it may be. Prints the number of deaths, and of those while a content was being dropped;
or the first fault, and exits 1.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

from cache_sources import FakeSource, content, digests
from forked import WRONG, begin, changes, status
from modelfs.cache import BlockCache, store
from modelfs.cache.blockmap import BLOCK
from modelfs.cache.keys import is_key
from modelfs.model import Digests

# Of several blocks, of one, and one whose digest is not told.
SIZES = {"a": 3 * BLOCK, "b": 3 * BLOCK + 5, "c": 2 * BLOCK, "small": 5000, "untold": 2 * BLOCK}
DATA = {name: content(size, seed) for seed, (name, size) in enumerate(SIZES.items())}
BUDGET = 7 * BLOCK
WAIT = 60.0

_EVENTS = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.utime", "fcntl.fcntl"}
_DIED, _DIED_DROPPING = 9, 8


class Death:
    """Ends the process, as SIGKILL does, just before its n-th step."""

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._lock = threading.RLock()
        self._pwrite = os.pwrite
        os.pwrite = self._write  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def _write(self, fd: int, data: memoryview, offset: int) -> int:
        self._step(_DIED)
        return self._pwrite(fd, data, offset)

    def _audit(self, name: str, arguments: tuple[object, ...]) -> None:
        if not changes(_EVENTS, name, arguments):
            return
        is_dropping = name == "os.remove" and is_key(Path(str(arguments[0])).stem)
        self._step(_DIED_DROPPING if is_dropping else _DIED)

    def _step(self, code: int) -> None:
        with self._lock:
            self._left -= 1
            if not self._left:
                os._exit(code)


def started(directory: Path) -> BlockCache:
    cache = BlockCache(directory, budget=BUDGET, floor=0, workers=2)
    cache.start()
    return cache


def source_of(name: str) -> FakeSource:
    return FakeSource(DATA[name], Digests() if name == "untold" else digests(DATA[name], "md5"))


def read(cache: BlockCache, name: str) -> None:
    """All of a file, in pieces; every byte has to be right."""
    source, data = source_of(name), DATA[name]
    with cache.open(name, len(data), source.told, source) as file:
        for offset in range(0, len(data), BLOCK // 2):
            piece = file.read(offset, BLOCK // 2)
            if piece is None:
                piece = file.fetch(offset, BLOCK // 2).result(WAIT)
            assert data[offset : offset + BLOCK // 2] == piece, name


def live(directory: Path, steps: int) -> None:
    """Read files, of which not all have room, some of them open meanwhile."""
    cache = started(directory)
    Death(steps)
    source = source_of("a")
    with cache.open("a", SIZES["a"], source.told, source) as file:
        for name in ("b", "small", "c", "untold", "b", "c"):
            assert DATA["a"][BLOCK : BLOCK + 10] == file.fetch(BLOCK, 10).result(WAIT)
            read(cache, name)
            cache.settle(WAIT)
    cache.evict(1 << 40)
    cache.stop()


def watch(directory: Path, ready: int, end: int) -> None:
    """Read what another process fetches and drops, until told to end."""
    cache = started(directory)
    os.set_blocking(end, False)
    first = source_of("c")
    with cache.open("c", SIZES["c"], first.told, first) as file:
        assert DATA["c"][:10] == file.fetch(0, 10).result(WAIT)
        os.write(ready, b"+")
        while _is_silent(end):
            for name in ("small", "b"):
                read(cache, name)
            assert DATA["c"][BLOCK:] == file.fetch(BLOCK, BLOCK).result(WAIT)
    cache.stop()


def _is_silent(pipe: int) -> bool:
    try:
        return bool(os.read(pipe, 1))
    except BlockingIOError:
        return True


def check(directory: Path) -> None:
    """All is right, nothing is left over, and it is not too much."""
    store._LEFTOVER_AGE = -1.0  # swept at once
    cache = started(directory)
    cache.sweep()
    names = {path.name for path in (directory / "objects").rglob("*") if path.is_file()}
    for name in names:
        key, _, suffix = name.partition(".")
        assert is_key(key), name
        assert suffix in ("", "part", "map"), name
        assert suffix != "map" or f"{key}.part" in names, name
    assert () == cache.verify(is_dry=True).faults
    for name in SIZES:
        read(cache, name)
    assert cache.settle(WAIT)
    usage = cache.usage()
    assert usage.used <= BUDGET, usage
    cache.stop()


def die(directory: Path, steps: int) -> int:
    """How a child ended that had so many steps; exits if anything is wrong then."""
    ready, told = os.pipe()
    end, ended = os.pipe()

    def watched() -> None:
        os.close(ended)
        watch(directory, told, end)

    watcher = begin(watched)
    os.close(told)
    os.read(ready, 1)
    code = status(begin(partial(live, directory, steps)))
    for fd in (ready, end, ended):
        os.close(fd)
    codes = [code, status(watcher), status(begin(partial(check, directory)))]
    if code == WRONG or any(codes[1:]):
        sys.exit(f"after a death at step {steps}: {codes}")
    return code


def main(root: Path, every: int) -> None:
    deaths = dropping = 0
    step = 1
    while True:
        directory = root / str(step)
        code = die(directory, step)
        if not code:
            break
        deaths += 1
        dropping += code == _DIED_DROPPING
        shutil.rmtree(directory)
        step += every
    print(deaths, dropping)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
