"""Archives of whole versions: the same bytes for ever."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import threading
from pathlib import Path

import pytest

from modelfs.errors import Corrupt, NotFound
from modelfs.registry.local import Store
from unit.registry.local.filling import BASE, NOW, Clock, Filling


def test_an_archive_holds_the_version_and_nothing_of_the_moment(
    store: Store, fill: Filling
) -> None:
    long = "x" * 200
    version = fill.instance({"b": b"bee", "a/ü": b"", f"d/{long}": b"deep"}).version
    assert version
    path = store.archive(version)
    with tarfile.open(path, "r:gz") as archive:
        members = archive.getmembers()
        assert ["a/ü", "b", f"d/{long}"] == [member.name for member in members]
        assert {(int(NOW), 0, 0, "", "", 0o644)} == {
            (m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members
        }
        bee = archive.extractfile("b")
        assert bee
        assert b"bee" == bee.read()
    head = path.read_bytes()[:10]
    assert (b"\x1f\x8b", 0, bytes(4)) == (head[:2], head[3], head[4:8]), "no name, no time"


def test_an_archive_s_record_tells_its_digests(store: Store, fill: Filling) -> None:
    version = fill.instance({"w": b"w" * 5000}).version
    assert version
    record = store.archive_record(version)
    data = store.archive(version).read_bytes()
    assert ("bert.tar.gz", len(data)) == (record.path, record.size)
    assert hashlib.md5(data).hexdigest() == record.md5
    assert hashlib.sha256(data).hexdigest() == record.sha256


def test_an_archive_is_built_once_and_again_the_same(
    store: Store, fill: Filling, directory: Path, clock: Clock
) -> None:
    version = fill.instance({"w": b"w" * 5000, "v": bytes(70_000)}).version
    assert version
    first = store.archive(version)
    inode, data = first.stat().st_ino, first.read_bytes()
    assert inode == store.archive(version).stat().st_ino
    first.unlink()
    clock.now += 1000
    assert data == store.archive(version).read_bytes()
    assert [] == list((directory / "tmp").iterdir())


def test_an_empty_version_has_an_empty_archive(store: Store, fill: Filling) -> None:
    version = fill.instance({}).version
    assert version
    with tarfile.open(store.archive(version), "r:gz") as archive:
        assert [] == archive.getnames()


def test_many_who_ask_at_once_get_one_archive(store: Store, fill: Filling) -> None:
    version = fill.instance({"w": bytes(3_000_000)}).version
    assert version
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(store.archive(version).read_bytes()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert 6 == len(found)
    assert 1 == len(set(found))
    assert 3_000_000 < len(gzip.decompress(found[0]))


def test_damaged_content_makes_no_archive(store: Store, fill: Filling, directory: Path) -> None:
    version = fill.instance({"w": b"weights"}).version
    assert version
    blob = store.blob_path(store.file(*BASE, 1, "w").sha256)
    blob.chmod(0o600)
    blob.write_bytes(b"wei")
    with pytest.raises(Corrupt):
        store.archive(version)
    assert [] == [*(directory / "tmp").iterdir(), *(directory / "archives").iterdir()]


def test_a_deleted_version_has_no_archive(store: Store, fill: Filling) -> None:
    version = fill.instance({"w": b"w"}).version
    assert version
    store.delete_version(*BASE, 1)
    with pytest.raises(NotFound):
        store.archive(version)
