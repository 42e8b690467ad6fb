"""Several processes on one cache directory, and processes that are killed."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cache_process
from cache_sources import FakeSource, content, digests
from modelfs.cache import fetching
from modelfs.cache.blockmap import BLOCK
from modelfs.model import Digests
from polling import wait_for

WAIT = 30.0


def start(directory: Path, data: Path, log: Path, pause: float, *more: str) -> subprocess.Popen:
    command = [sys.executable, cache_process.__file__, directory, data, log, str(128 << 10)]
    return subprocess.Popen(
        [*map(str, command), str(pause), *more], stdout=subprocess.PIPE, text=True
    )


def delivered(log: Path) -> int:
    return sum(int(line) for line in log.read_text().split()) if log.exists() else 0


@pytest.mark.parametrize("known", [["known"], []])
def test_eight_processes_fetch_each_byte_once(tmp_path: Path, known: list[str]) -> None:
    data = content(24 * BLOCK + 77)
    path, log = tmp_path / "data", tmp_path / "log"
    path.write_bytes(data)
    running = [start(tmp_path / "cache", path, log, 0.01, *known) for _ in range(8)]
    printed = [process.communicate(timeout=WAIT)[0].strip() for process in running]
    assert [0] * 8 == [process.returncode for process in running]
    assert [hashlib.sha256(data).hexdigest()] * 8 == printed
    assert len(data) == delivered(log)


@pytest.mark.parametrize("is_random", [False, True])
def test_kill_at_any_moment_loses_nothing_and_serves_nothing_wrong(
    tmp_path: Path, is_random: bool, make_cache
) -> None:
    data = content(16 * BLOCK + 5)
    path, log = tmp_path / "data", tmp_path / "log"
    path.write_bytes(data)
    directory = tmp_path / "cache"
    rng = random.Random(1)
    killed = 0
    for round_ in range(8):
        before = delivered(log)
        process = start(directory, path, log, 0.002)
        wanted = rng.randrange(0, 4 * BLOCK) if is_random else round_ * BLOCK // 2
        wait_for(lambda: delivered(log) > before + wanted or process.poll() is not None)  # noqa: B023
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate(timeout=WAIT)
    assert killed >= 3
    source = FakeSource(data, digests(data, "md5"))
    with make_cache(directory=directory).open("file", len(data), Digests(), source) as file:
        got = b"".join(
            file.read(offset, BLOCK) or file.fetch(offset, BLOCK).result(WAIT)
            for offset in range(0, len(data), BLOCK)
        )
        assert data == got
    # What a killed process had in hand is fetched again: at most a block per worker and kill.
    assert delivered(log) + source.delivered <= len(data) + killed * 4 * BLOCK


def test_a_process_that_is_stopped_holds_nobody_up(
    tmp_path: Path, make_cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FOREIGN_PATIENCE", 0.2)
    data = content(8 * BLOCK)
    path, log = tmp_path / "data", tmp_path / "log"
    path.write_bytes(data)
    source = FakeSource(data, digests(data, "md5"))
    process = start(tmp_path / "cache", path, log, 0.2, "known")
    wait_for(lambda: delivered(log) > 0)
    process.send_signal(signal.SIGSTOP)
    try:
        cache = make_cache(directory=tmp_path / "cache")
        with cache.open("file", len(data), source.told, source) as file:
            assert data == file.fetch(0, len(data)).result(WAIT)
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


def test_a_process_that_dies_hands_its_blocks_over(tmp_path: Path, make_cache) -> None:
    data = content(8 * BLOCK)
    path, log = tmp_path / "data", tmp_path / "log"
    path.write_bytes(data)
    source = FakeSource(data, digests(data, "md5"))
    process = start(tmp_path / "cache", path, log, 1.0, "known")
    wait_for(lambda: delivered(log) > 0)
    cache = make_cache(directory=tmp_path / "cache")
    with cache.open("file", len(data), source.told, source) as file:
        future = file.fetch(0, len(data))
        process.kill()
        process.communicate(timeout=WAIT)
        assert data == future.result(WAIT)
