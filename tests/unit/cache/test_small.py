"""Contents of one block: written once they are right, under their name, and hashed until sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache, fetching
from modelfs.cache.blockmap import BLOCK
from modelfs.cache.directory import Directory
from modelfs.cache.keys import content_key
from modelfs.cache.store import Store
from modelfs.errors import Corrupt, Unavailable
from polling import wait_for

WAIT = 10.0
SIZE = 1000
DATA = content(SIZE)
TOLD = digests(DATA, "md5")
KEY = content_key(TOLD, SIZE)


def files(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "objects").rglob("*") if path.is_file())


def names(directory: Path) -> list[str]:
    return [path.name for path in files(directory)]


def read(cache: BlockCache, source: FakeSource) -> bytes:
    with cache.open("f", SIZE, source.told, source) as file:
        data = file.read(0, SIZE)
        return data if data is not None else file.fetch(0, SIZE).result(WAIT)


@pytest.fixture
def kept(make_cache, directory: Path) -> Path:
    """The file of a small content that was read by a process that has ended."""
    cache = make_cache()
    assert DATA == read(cache, FakeSource(DATA, TOLD))
    cache.stop()
    (path,) = files(directory)
    return path


def test_a_small_content_is_one_file_with_its_name_at_once(
    cache: BlockCache, directory: Path
) -> None:
    with cache.open("f", SIZE, TOLD, FakeSource(DATA, TOLD)) as file:
        file.fetch(0, 10).result(WAIT)
        assert [KEY] == names(directory)
        assert cache.status("f", SIZE, TOLD).is_complete


def test_nothing_says_that_it_is_on_disk_before_it_is(
    make_cache, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Directory) -> None:
        raise OSError("the disk does not flush")

    monkeypatch.setattr(Directory, "sync", fail)
    cache = make_cache()
    assert DATA == read(cache, FakeSource(DATA, TOLD))
    cache.stop()
    here = Directory(directory)
    here.prepare()
    assert not Store(here).is_finished(KEY)
    assert [KEY] == names(directory)


@pytest.mark.parametrize("lost", [bytes(SIZE), b"", DATA[:-1] + b"?"])
def test_what_a_power_cut_took_is_fetched_again(make_cache, kept: Path, lost: bytes) -> None:
    kept.write_bytes(lost)  # breaks the seal, which a file that was not flushed does not have
    source = FakeSource(DATA, TOLD)
    assert DATA == read(make_cache(), source)
    assert SIZE == source.delivered


def test_a_file_without_a_seal_is_hashed_and_not_fetched(make_cache, kept: Path) -> None:
    kept.touch()
    source = FakeSource(DATA, TOLD)
    cache = make_cache()
    assert cache.status("f", SIZE, TOLD).is_complete
    assert not cache.status("f", SIZE, TOLD).is_verified
    assert DATA == read(cache, source)
    assert [] == source.requests
    assert cache.settle(WAIT)
    assert cache.status("f", SIZE, TOLD).is_verified


def test_what_was_touched_gets_its_seal_only_once_it_is_on_disk(
    make_cache, directory: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.touch()
    synced: list[bool] = []
    here = Directory(directory)
    here.prepare()
    monkeypatch.setattr(Directory, "sync", lambda _: synced.append(Store(here).is_finished(KEY)))
    cache = make_cache()
    assert DATA == read(cache, FakeSource(DATA, TOLD))
    assert cache.settle(WAIT)
    assert [False] == synced
    assert Store(here).is_finished(KEY)


def test_two_processes_fetch_it_once(make_cache) -> None:
    source = FakeSource(DATA, TOLD)
    source.gate.clear()
    opened = [make_cache().open("f", SIZE, TOLD, source) for _ in range(2)]
    futures = [file.fetch(0, SIZE) for file in opened]
    wait_for(lambda: source.requests)
    source.gate.set()
    assert [DATA] * 2 == [future.result(WAIT) for future in futures]
    assert SIZE == source.delivered
    for file in opened:
        file.close()


def test_two_names_in_one_process_fetch_it_once(cache: BlockCache) -> None:
    source = FakeSource(DATA, TOLD)
    source.gate.clear()
    opened = [cache.open(name, SIZE, TOLD, source) for name in "ab"]
    futures = [file.fetch(0, SIZE) for file in opened for _ in range(3)]
    wait_for(lambda: source.requests)
    source.gate.set()
    assert [DATA] * 6 == [future.result(WAIT) for future in futures]
    assert SIZE == source.delivered
    for file in opened:
        file.close()


def test_what_a_dead_process_left_is_written_over(make_cache, directory: Path) -> None:
    shard = directory / "objects" / TOLD.md5[:2]
    shard.mkdir(parents=True)
    (shard / f"{KEY}.new").write_bytes(bytes(BLOCK))
    assert DATA == read(make_cache(), FakeSource(DATA, TOLD))
    (path,) = files(directory)
    assert (KEY, DATA) == (path.name, path.read_bytes())


def test_a_process_that_holds_it_for_ever_holds_nobody_up(
    make_cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FOREIGN_PATIENCE", 0.2)
    held, free = FakeSource(DATA, TOLD), FakeSource(DATA, TOLD)
    held.gate.clear()
    with make_cache().open("f", SIZE, TOLD, held) as file:
        future = file.fetch(0, SIZE)
        wait_for(lambda: held.requests)
        assert DATA == read(make_cache(), free)
        held.gate.set()
        assert DATA == future.result(WAIT)


@pytest.mark.parametrize("fault", ["refused", "short", "wrong"])
def test_a_fetch_that_fails_leaves_nothing(cache: BlockCache, directory: Path, fault: str) -> None:
    source = FakeSource(DATA if fault != "wrong" else content(SIZE, seed=1), TOLD)
    if fault == "refused":
        source.refusal = Unavailable("no answer")
    elif fault == "short":
        source.breaks_at = 10
    with pytest.raises((Unavailable, Corrupt)):
        read(cache, source)
    wait_for(lambda: not names(directory))
    source.refusal, source.breaks_at, source.data = None, None, DATA
    assert DATA == read(cache, source)


def test_a_planted_link_is_not_written_through(make_cache, directory: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    shard = directory / "objects" / TOLD.md5[:2]
    shard.mkdir(parents=True)
    (shard / f"{KEY}.new").symlink_to(victim)
    assert DATA == read(make_cache(), FakeSource(DATA, TOLD))
    assert b"mine" == victim.read_bytes()
