"""Lock files: the same text for the same content, several writers, and what is no lock file."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from modelfs.errors import Error, Usage
from modelfs.model import Digests, File
from modelfs.refs import Ref
from modelfs.registry import lockfile
from modelfs.registry.lockfile import Lock, Locked, Section

BASE = Ref.parse("alice/bert/pytorch/base")
A = File("a", 1, digests=Digests(sha256="0" * 64))
B = File("größe/b", 0)
ONE = Locked((A, B), 1_700_000_000.25)


def locked(*numbers: int, latest: int = 0, held: Locked = ONE) -> Lock:
    section = Section(
        {BASE: str(latest)} if latest else {}, {BASE.child(str(n)): held for n in numbers}
    )
    return Lock({"kaggle": section})


def test_a_lock_is_what_its_text_says() -> None:
    lock = replace(locked(1, 2, 10, latest=10), is_recording=True)
    assert lock == lockfile.parse(lock.text())
    assert Lock({"kaggle": Section()}) == lockfile.parse(Lock({"kaggle": Section()}).text())


def test_the_text_is_json_with_a_line_per_file_in_one_order() -> None:
    text = locked(10, 9, latest=10).text()
    lines = [line.strip() for line in text.splitlines()]
    assert f'"a": {{"size": 1, "sha256": "{"0" * 64}"}},' in lines
    assert '"größe/b": {"size": 0}' in lines
    assert '"published": "2023-11-14T22:13:20.250000Z",' in lines
    assert text.index("base/9") < text.index("base/10")
    assert text == locked(9, 10, latest=10).text()
    json.loads(text)


def test_what_is_locked_stays_and_digests_are_added() -> None:
    blank = Locked((replace(A, digests=Digests()), B))
    other = Locked((replace(A, size=7, digests=Digests(md5="1" * 32)), B))
    joined = locked(1, held=blank).joined(locked(1, 2, held=other)).section("kaggle")
    assert {BASE.child("1"), BASE.child("2")} == set(joined.versions)
    (a, _) = joined.versions[BASE.child("1")].files
    assert (1, "1" * 32) == (a.size, a.digests.md5)


def test_nothing_later_than_what_is_latest_is_added() -> None:
    first, second = locked(3, latest=3), locked(4, latest=4)
    assert {BASE.child("3")} == set(first.joined(second).section("kaggle").versions)
    assert {BASE: "3"} == first.joined(second).section("kaggle").latest
    # One that was used before is the latest, whatever an older listing said.
    assert {BASE: "4"} == locked(4).joined(first).section("kaggle").latest


DAMAGED = {
    "nothing": "",
    "another JSON": "{}",
    "a list": "[]",
    "a merge that failed": "<<<<<<< HEAD\n" + locked(1).text(),
    "a file twice": locked(1).text().replace('"größe/b": ', '"a": '),
    "a path that leads out": locked(1).text().replace('"a":', '"../a":'),
    "a size that is none": locked(1).text().replace('"size": 0', '"size": -1'),
    "a digest that is none": locked(1).text().replace("0" * 64, "0" * 63),
    "a time that is none": locked(1).text().replace("2023-11-14", "2023-14-14"),
    "a latest that is not locked": locked(1, latest=1).text().replace('"1"', '"2"'),
    "later than latest": locked(1, 2, latest=2).text().replace('"2"', '"1"'),
    "a newer one": locked(1).text().replace('_lock": 1', '_lock": 2'),
    "no registries": '{"modelfs_lock": 1}',
    "cut": locked(1).text()[:-40],
    "deep": '{"modelfs_lock": ' + "[" * 100_000,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_no_lock_file_is(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(DAMAGED[kind])
    with pytest.raises(Usage) as caught:
        lockfile.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Usage):
        lockfile.read(path)


def test_every_changed_byte_is_noticed_or_makes_another_lock(tmp_path: Path) -> None:
    text = locked(1, latest=1).text()
    for place in range(len(text)):
        for char in ("x", " ", "9", ""):
            changed = text[:place] + char + text[place + 1 :]
            try:
                lock = lockfile.parse(changed)
            except Usage:
                continue
            assert lock == lockfile.parse(lock.text())


def test_a_lock_file_is_made_once_and_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lockfile.create(path, locked(1))
    assert not lockfile.create(path, locked(2))
    assert locked(1) == lockfile.read(path)
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    lockfile.write(link, locked(2))
    assert link.is_symlink()
    assert locked(2) == lockfile.read(path)
    assert 0o640 == path.stat().st_mode & 0o777
    assert {"lock", "link"} == set(os.listdir(tmp_path))


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lockfile.create(path, locked())

    def add(numbers: range) -> None:
        for number in numbers:
            lockfile.change(path, lambda lock, number=number: lock.joined(locked(number)))  # type: ignore[misc]

    threads = [threading.Thread(target=add, args=(range(n, 60, 6),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 60 == len(lockfile.read(path).section("kaggle").versions)
    assert ["lock"] == os.listdir(tmp_path)


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot write the lock file"):
        lockfile.write(tmp_path / "no" / "lock", locked())
    with pytest.raises(Error, match="cannot write the lock file"):
        lockfile.change(tmp_path / "none", lambda lock: lock)
