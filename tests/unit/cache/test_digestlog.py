"""What is remembered of digests has a bound in memory, and none on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from modelfs.cache import digestlog
from modelfs.cache.digestlog import DigestLog, Known
from modelfs.model import Digests


def test_logs_used_longest_ago_make_room_and_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digestlog, "_MOST", 50)
    log = DigestLog(tmp_path, lambda fd: None)
    names = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(400)]
    for size, name in enumerate(names):
        log.add(name, Known(size, Digests(md5=name[:32])))
    assert sum(len(shard.known) for shard in log._shards.values()) <= 51
    for size, name in enumerate(names):
        found = log.find(name, size)
        assert found is not None
        assert name[:32] == found.told.md5
    assert log.find(names[0], 1) is None
