"""Pure parts: what to evict, what keys and maps look like, which lines of a log count."""

from __future__ import annotations

from pathlib import Path

import pytest

from cache_sources import content, digests
from modelfs.cache.blockmap import BLOCK, BlockMap, blank, block_count, checksum, runs
from modelfs.cache.digestlog import DigestLog, Known
from modelfs.cache.evict import Stored, excess, victims, with_slack
from modelfs.cache.keys import (
    Check,
    content_key,
    digests_of,
    disagreement,
    is_key,
    legible,
    private_key,
    seal_of,
    size_of,
)
from modelfs.model import Digests

MD5, SHA256 = "0" * 32, "a" * 64


@pytest.mark.parametrize(
    ("used", "wanted", "budget", "free", "floor", "expected"),
    [
        (0, 10, 100, 1000, 0, 0),
        (90, 10, 100, 1000, 0, 0),
        (95, 10, 100, 1000, 0, 5),
        (0, 10, 100, 15, 10, 5),
        (95, 10, 100, 5, 10, 15),
        (0, 10, 0, 1000, 0, 10),
    ],
)
def test_excess(used: int, wanted: int, budget: int, free: int, floor: int, expected: int) -> None:
    assert expected == excess(used=used, wanted=wanted, budget=budget, free=free, floor=floor)


@pytest.mark.parametrize(
    ("kept", "size", "expected"),
    [
        (frozenset(), 0, []),
        (frozenset(), 1, ["cold", "warm", "hot"]),
        (frozenset({"cold"}), 1, ["warm", "hot"]),
        (frozenset({"cold", "warm", "hot"}), 1, []),
    ],
)
def test_victims_are_the_longest_unused(
    kept: frozenset[str], size: int, expected: list[str]
) -> None:
    stored = [
        Stored("hot", 10, 30.0, True),
        Stored("cold", 10, 10.0, True),
        Stored("warm", 10, 20.0, False),
        Stored("empty", 0, 1.0, False),
    ]
    assert expected == [item.key for item in victims(stored, kept, size)]


def test_slack_is_a_share_of_the_budget_and_bounded() -> None:
    assert 10 + 5 == with_slack(10, 100)
    assert 10 + (1 << 30) == with_slack(10, 1 << 50)


def test_keys_name_the_strongest_digest() -> None:
    assert f"sha256-{SHA256}-5" == content_key(Digests(md5=MD5, sha256=SHA256), 5)
    assert f"md5-{MD5}-5" == content_key(Digests(md5=MD5, crc32c="0" * 8), 5)
    assert "" == content_key(Digests(crc32c="0" * 8), 5)
    for key in (f"md5-{MD5}-5", f"sha256-{SHA256}-5", private_key("registry/a/b", 5)):
        assert is_key(key)
        assert 5 == size_of(key)
    assert Digests(md5=MD5) == digests_of(f"md5-{MD5}-5")
    assert Digests() == digests_of(private_key("x", 5))


@pytest.mark.parametrize(
    "name", ["", "md5-", f"md5-{MD5}", f"md5-{MD5}-05", f"md5-{MD5}-5.part", "../x", "sha256-x-1"]
)
def test_other_names_are_no_keys(name: str) -> None:
    assert not is_key(name)


@pytest.mark.parametrize("value", ["../../etc/passwd", "0" * 31, "g" * 32, "0" * 32 + "\n", " "])
def test_digests_that_are_none_are_not_used(value: str) -> None:
    assert Digests() == legible(Digests(md5=value, crc32c=value, sha256=value))


def test_digests_are_lower_case() -> None:
    assert "ab" * 16 == legible(Digests(md5="AB" * 16)).md5


def test_disagreement_needs_two_that_differ() -> None:
    assert "" == disagreement(Digests(md5=MD5), Digests(sha256=SHA256))
    assert "" == disagreement(Digests(md5=MD5), Digests(md5=MD5))
    assert "md5" == disagreement(Digests(md5=MD5), Digests(md5="1" * 32))


@pytest.mark.parametrize("name", ["md5", "sha256", "crc32c"])
def test_checks_compute_what_registries_tell(name: str) -> None:
    data = content(100_000)
    check = Check.strongest(digests(data, name))
    hasher = check.hasher()
    for start in range(0, len(data), 777):
        hasher.update(data[start : start + 777])
    assert check.accepts(hasher.hexdigest())
    assert not check.accepts("0")


def test_seals_lie_in_the_past_and_differ() -> None:
    seals = {seal_of(f"md5-{MD5}-{size}") for size in range(1000)}
    assert 1000 == len(seals)
    assert max(seals) < 1 << 30


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [([], []), ([3], [(3, 4)]), ([0, 1, 2], [(0, 3)]), ([0, 2, 3, 9], [(0, 1), (2, 4), (9, 10)])],
)
def test_runs(blocks: list[int], expected: list[tuple[int, int]]) -> None:
    assert expected == list(runs(blocks))


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (BLOCK, 1), (BLOCK + 1, 2)])
def test_block_count(size: int, count: int) -> None:
    assert count == block_count(size)


@pytest.fixture
def block_map(tmp_path: Path) -> BlockMap:
    path = tmp_path / "map"
    path.write_bytes(blank(10 * BLOCK))
    with path.open("r+b") as file:
        yield BlockMap(file.fileno(), 10 * BLOCK)


def test_a_map_remembers_blocks(block_map: BlockMap) -> None:
    assert block_map.is_sound()
    assert [] == block_map.recorded_blocks()
    for block, crc in ((0, 0), (9, 0xFFFFFFFF), (5, checksum(b"x"))):
        assert block_map.recorded(block) is None
        block_map.record(block, (crc,))
        assert crc == block_map.recorded(block)
    assert [0, 5, 9] == block_map.recorded_blocks()


def test_a_map_of_another_file_is_not_sound(block_map: BlockMap) -> None:
    assert not BlockMap(block_map.fd, 10 * BLOCK - 1).is_sound()
    assert not BlockMap(block_map.fd, 9 * BLOCK).is_sound()


@pytest.fixture
def log(tmp_path: Path) -> DigestLog:
    return DigestLog(tmp_path, lambda fd: None)


NAME = "ab" * 32


def test_a_log_remembers_for_others_and_later(log: DigestLog, tmp_path: Path) -> None:
    known = Known(5, Digests(md5=MD5, crc32c="0" * 8), SHA256)
    other = DigestLog(tmp_path, lambda fd: None)
    assert other.find(NAME, 5) is None
    log.add(NAME, known)
    assert known == log.find(NAME, 5) == other.find(NAME, 5)
    assert log.find(NAME, 6) is None
    assert log.find("ab" + "0" * 62, 5) is None


def test_later_lines_win_and_equal_ones_are_not_repeated(log: DigestLog, tmp_path: Path) -> None:
    log.add(NAME, Known(5, Digests(md5=MD5)))
    size = (tmp_path / "ab").stat().st_size
    log.add(NAME, Known(5, Digests(md5=MD5)))
    assert size == (tmp_path / "ab").stat().st_size
    log.add(NAME, Known(6, Digests(md5=MD5)))
    assert Known(6, Digests(md5=MD5)) == DigestLog(tmp_path, lambda fd: None).find(NAME, 6)


def test_a_torn_line_costs_itself_only(log: DigestLog, tmp_path: Path) -> None:
    log.add(NAME, Known(5, Digests(md5=MD5)))
    path = tmp_path / "ab"
    path.write_bytes(path.read_bytes()[:-5])
    other = DigestLog(tmp_path, lambda fd: None)
    assert other.find(NAME, 5) is None
    second = "ab" + "1" * 62
    other.add(second, Known(7, Digests()))
    assert Known(7, Digests()) == DigestLog(tmp_path, lambda fd: None).find(second, 7)


def test_one_claim_at_a_time_finds_out_about_a_file(log: DigestLog, tmp_path: Path) -> None:
    other = DigestLog(tmp_path, lambda fd: None)
    claim = log.claim(NAME)
    assert claim is not None
    with claim:
        assert other.claim(NAME) is None
        free = other.claim("ab" + "0" * 62)
        assert free is not None
        free.close()
    again = other.claim(NAME)
    assert again is not None
    again.close()
