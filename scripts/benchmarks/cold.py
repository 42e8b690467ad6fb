"""The cases of what is in no cache but the server's: all of a file, its first byte, one tensor."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import mounts, reading, rivals
from benchmarks.calm import discard
from benchmarks.measure import Case, Pair
from benchmarks.planting import FILE, TENSOR, Sizes, tensor_name
from benchmarks.reading import expect
from benchmarks.stage import Stage

_LARGE, _MEDIUM, _SPARSE = "large", "medium", "sparse"
# What is far away: seconds for each request, bytes a second for each connection.
DELAY, _RATE = 0.02, 50e6
# One tensor may cost so much more than itself and the file's header.
_BESIDE = 2 << 20
# Nothing has come for so long: nothing more is coming.
_QUIET, _DEADLINE = 0.3, 60.0


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases of this module, in the order of the table."""
    far = (DELAY, _RATE)
    cold, distant = "read a file nobody has read", "read it from 20 ms and 50 MB/s away"
    one, eight = "curl of its address", "8 curls, a range each"
    listed, got = "first byte of a listed file", "one ranged GET"
    # In the cache, as pages of the mount, and twice for kagglehub, which unpacks.
    fresh = 3 * sizes.large
    sparse, asked = "first byte of 5 GiB, 20 ms away", "requests until there is that byte"
    return [
        *(
            Case(name, what, rival, set_up, bar, rounds, fresh=fresh)
            for name, what, rival, set_up, bar, rounds in (
                ("cold-curl", cold, one, partial(_curled, 1, ()), None, 2),
                ("cold-curl-8", cold, eight, partial(_curled, 8, ()), 0.85, 3),
                ("cold-rclone", cold, "rclone mount, cold", _rcloned, 1.0, 3),
                ("cold-kagglehub", cold, "kagglehub.model_download, read", _downloaded, 1.0, 2),
                ("far-curl-8", distant, eight, partial(_curled, 8, far), 0.9, 3),
                ("far-curl", distant, one, partial(_curled, 1, far), 4.0, 2),
            )
        ),
        Case("first-byte", listed, got, partial(_first_byte, Path.stat)),
        Case(
            "first-byte-new",
            "first byte by path, new mount",
            got,
            partial(_first_byte, lambda _: None),
        ),
        Case("first-byte-far", sparse, got, _first_far),
        Case("first-byte-requests", asked, got, _first_requests, 0.5, 2, "requests"),
        Case("one-tensor", "load one tensor of many", "it + header + 2 MiB", _tensor, 1, 2, "MiB"),
    ]


# All of a file.


@contextmanager
def _curled(ranges: int, away: tuple[float, ...], stage: Stage) -> Iterator[Pair]:
    file = stage.planted(_LARGE).files[FILE]
    registry = mounts.distant(stage, *away) if away else stage.url
    url = rivals.address(stage, _LARGE, FILE, registry)
    seen: dict[str, str] = {}

    def rival() -> float:
        folder = stage.fresh("curl")
        seconds = rivals.curl(url, file.size, ranges, folder)
        if "rival" not in seen:
            hasher = hashlib.sha256()
            for piece in sorted(folder.iterdir()):
                hasher.update(piece.read_bytes())
            seen["rival"] = hasher.hexdigest()
        discard(folder)
        return seconds

    ours = partial(_ours, stage, _LARGE, registry, seen)
    yield Pair(ours, rival, lambda: expect(set(seen.values()), {file.digests.sha256}))


@contextmanager
def _rcloned(stage: Stage) -> Iterator[Pair]:
    file = stage.planted(_LARGE).files[FILE]
    seen: dict[str, str] = {}

    def rival() -> float:
        with mounts.rclone(stage, _LARGE) as path:
            return _read_all(path / FILE, "rival", seen)

    ours = partial(_ours, stage, _LARGE, stage.url, seen)
    yield Pair(ours, rival, lambda: expect(set(seen.values()), {file.digests.sha256}))


@contextmanager
def _downloaded(stage: Stage) -> Iterator[Pair]:
    file = stage.planted(_MEDIUM).files[FILE]
    official = rivals.Official(stage)
    seen: dict[str, str] = {}

    def rival() -> float:
        cache = stage.fresh("kagglehub")
        seconds, path = official.download(_MEDIUM, cache)
        seconds += _read_all(path / FILE, "rival", seen)
        discard(cache)
        return seconds

    rival()  # the server packs a version when it is first asked for; only the first one waits
    ours = partial(_ours, stage, _MEDIUM, stage.url, seen)
    yield Pair(ours, rival, lambda: expect(set(seen.values()), {file.digests.sha256}))


def _ours(stage: Stage, slug: str, url: str, seen: dict[str, str]) -> float:
    """A reader from the front in a new mount, to the last byte."""
    with stage.mount(url=url) as mount:
        return _read_all(mount.version(slug) / FILE, "ours", seen)


def _read_all(path: Path, side: str, seen: dict[str, str]) -> float:
    path.stat()
    seconds = reading.in_order(path)
    if side not in seen:
        seen[side] = reading.sha256(path)
    return seconds


# The first byte.


@contextmanager
def _first_byte(before: Callable[[Path], object], stage: Stage) -> Iterator[Pair]:
    with stage.planted(_LARGE).native(FILE).open("rb") as file:
        expected = file.read(1)

    def ours() -> float:
        with stage.mount() as mount:
            path = mount.version(_LARGE) / FILE
            before(path)
            return _right(reading.first_byte(path), expected)

    url = rivals.address(stage, _LARGE, FILE)
    yield Pair(ours, lambda: _right(rivals.first_byte(url), expected))


@contextmanager
def _first_far(stage: Stage) -> Iterator[Pair]:
    """The first byte of a file that is large and far away, but known by name."""
    stage.planted(_SPARSE)
    far = mounts.distant(stage, DELAY)
    url = rivals.address(stage, _SPARSE, FILE, far)

    def ours() -> float:
        with stage.mount(url=far) as mount:
            path = mount.version(_SPARSE) / FILE
            path.stat()
            return _right(reading.first_byte(path), b"\0")

    yield Pair(ours, lambda: _right(rivals.first_byte(url), b"\0"))


@contextmanager
def _first_requests(stage: Stage) -> Iterator[Pair]:
    """The same, counted: what was asked when the byte was there."""
    stage.planted(_SPARSE)
    far = mounts.distant(stage, DELAY)
    url = rivals.address(stage, _SPARSE, FILE, far)

    def counted(run: Callable[[], object]) -> float:
        before = rivals.counts(far)["requests"]
        run()
        return float(rivals.counts(far)["requests"] - before)

    def ours() -> float:
        with stage.mount(url=far) as mount:
            path = mount.version(_SPARSE) / FILE
            path.stat()
            return counted(lambda: reading.first_byte(path))

    yield Pair(ours, lambda: counted(lambda: rivals.first_byte(url)))


def _right(measured: tuple[float, bytes], expected: bytes) -> float:
    seconds, found = measured
    expect(found, expected)
    return seconds


# A part of a file.


@contextmanager
def _tensor(stage: Stage) -> Iterator[Pair]:
    """MiB that are downloaded for one tensor in the middle, and those that may be."""
    planted = stage.planted(_LARGE)
    number = planted.files[FILE].size // TENSOR // 2
    near = mounts.distant(stage)
    with planted.native(FILE).open("rb") as file:
        header = 8 + int.from_bytes(file.read(8), "little")
        file.seek(header + number * TENSOR)
        expected = file.read(TENSOR)

    def ours() -> float:
        with stage.mount(url=near) as mount:
            path = mount.version(_LARGE) / FILE
            path.stat()
            before = rivals.counts(near)["bytes"]
            expect(reading.one_tensor(path, tensor_name(number)) == expected, True)
            return (_settled(near) - before) / (1 << 20)

    yield Pair(ours, lambda: (header + TENSOR + _BESIDE) / (1 << 20))


def _settled(url: str) -> int:
    """The bytes that were sent, once no more are."""
    end = time.monotonic() + _DEADLINE
    last, since = -1, time.monotonic()
    while time.monotonic() < end:
        sent = rivals.counts(url)["bytes"]
        if sent != last:
            last, since = sent, time.monotonic()
        elif time.monotonic() - since > _QUIET:
            return sent
        time.sleep(0.02)
    raise RuntimeError("a download does not end")
