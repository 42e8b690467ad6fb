"""What is remembered of digests has a bound in memory, and none on disk."""

from __future__ import annotations

import hashlib
import os
import threading
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


def test_what_is_forgotten_is_forgotten_by_all_however_slow_the_disk_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DigestLog(tmp_path, lambda fd: None)
    name = hashlib.sha256(b"file").hexdigest()
    write, begun, passed = os.write, threading.Event(), threading.Event()

    def slow(fd: int, data: bytes) -> int:
        if not begun.is_set():  # the first one; the other may come before it, if it can
            begun.set()
            passed.wait(0.3)
        else:
            passed.set()
        return write(fd, data)

    monkeypatch.setattr(os, "write", slow)
    adding = threading.Thread(target=log.add, args=(name, Known(7, Digests(md5="f" * 32))))
    adding.start()
    assert begun.wait(30)
    log.forget(name)
    adding.join(30)
    assert log.find(name, 7) is None
    assert DigestLog(tmp_path, lambda fd: None).find(name, 7) is None
