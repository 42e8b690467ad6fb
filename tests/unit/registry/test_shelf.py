"""The shelf: damaged, missing and foreign documents count as absent."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from modelfs.model import Digests, File, Manifest
from modelfs.refs import Ref
from modelfs.registry import plain
from modelfs.registry.shelf import Shelf, find_damaged, shelf_for

REF = Ref.parse("alice/bert")
VALUE = {"names": ["größer", None, 1.5], "half": "\udc80"}


def only_file(directory: Path) -> Path:
    (path,) = (path for path in directory.rglob("*") if path.is_file())
    return path


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    Shelf(tmp_path).write("children", REF, VALUE)
    assert VALUE == Shelf(tmp_path).read("children", REF)
    assert None is Shelf(tmp_path).read("stat", REF)
    assert None is Shelf(tmp_path).read("children", REF.parent)


@pytest.mark.parametrize(
    ("mode", "directories", "files"),
    [(0o2775, 0o2775, 0o664), (0o770, 0o770, 0o660), (0o755, 0o700, 0o600), (None, 0o700, 0o600)],
)
def test_a_shelf_for_a_group_has_documents_for_the_group(
    tmp_path: Path, mode: int | None, directories: int, files: int
) -> None:
    top = tmp_path / "metadata"
    if mode is not None:
        top.mkdir()
        top.chmod(mode)
    before = os.umask(0o027)
    try:
        shelf_for(tmp_path, "a registry").write("children", REF, VALUE)
    finally:
        os.umask(before)
    found = [path.stat().st_mode for path in top.rglob("*")]
    assert 5 == len(found)
    assert {directories} == {stat.S_IMODE(each) for each in found if stat.S_ISDIR(each)}
    assert {files} == {stat.S_IMODE(each) for each in found if stat.S_ISREG(each)}


def test_a_damaged_document_is_absent(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.write("children", REF, VALUE)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole + b"x", whole[:70] + b"\x00" + whole[71:], b"\xff" * 99):
        path.write_bytes(damaged)
        assert None is shelf.read("children", REF)
    shelf.write("children", REF, VALUE)
    assert VALUE == shelf.read("children", REF)


def test_a_document_of_another_name_is_absent(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.write("children", REF, VALUE)
    path = only_file(tmp_path)
    path.rename(path.with_name("stat.json"))
    assert None is shelf.read("stat", REF)


def test_every_damaged_document_is_found_and_removed(tmp_path: Path) -> None:
    shelf = shelf_for(tmp_path, "kaggle")
    shelf.write("children", REF, VALUE)
    shelf.write("stat", REF, 1)
    shelf.write("stat", REF.parent, 1)
    path, other, above = sorted(
        (path for path in tmp_path.rglob("*.json") if path.stem != "registry"),
        key=lambda path: (path.stem, -len(path.parts)),
    )
    newer = path.with_name("listing.json")  # of a kind that this program does not know
    newer.write_bytes(b"newer")
    whole = path.read_bytes()
    assert [] == find_damaged(tmp_path, is_dry=False)
    found = [str(path.relative_to(tmp_path))]
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        assert found == find_damaged(tmp_path, is_dry=True), place
    for data in (b"", whole[:-1], whole + b"\n", bytes(len(whole))):
        path.write_bytes(data)
        assert found == find_damaged(tmp_path, is_dry=True)
    path.write_bytes(whole)
    one, two = other.read_bytes(), above.read_bytes()
    other.write_bytes(two)
    above.write_bytes(one)
    expected = sorted(str(each.relative_to(tmp_path)) for each in (other, above))
    assert expected == find_damaged(tmp_path, is_dry=True)
    assert expected == find_damaged(tmp_path, is_dry=False)
    assert [] == find_damaged(tmp_path, is_dry=True)
    assert VALUE == shelf.read("children", REF)
    assert None is shelf.read("stat", REF)
    assert b"newer" == newer.read_bytes()


def test_what_a_killed_process_has_begun_to_write_is_found_and_removed(tmp_path: Path) -> None:
    shelf = shelf_for(tmp_path, "kaggle")
    shelf.write("stat", REF, 1)
    (path,) = tmp_path.rglob("stat.json")
    left, busy = path.with_name(".new-left"), path.with_name(".new-busy")
    left.write_bytes(b"half")
    os.utime(left, (1_000_000_000, 1_000_000_000))
    busy.write_bytes(b"half")
    assert [str(left.relative_to(tmp_path))] == find_damaged(tmp_path, is_dry=False)
    assert (False, True) == (left.exists(), busy.exists())
    assert 1 == shelf.read("stat", REF)


def test_documents_of_another_version_are_understood_or_absent(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    manifest = Manifest((File("a", 3, 1.5, Digests(md5="0" * 32)),))
    value = plain.MANIFEST.dump(manifest)
    shelf.write("manifest", REF, value | {"signature": {"by": "somebody"}})
    assert manifest == plain.loaded(plain.MANIFEST, shelf.read("manifest", REF))
    longer = value | {"files": [[*file, "more"] for file in value["files"]]}
    for other in (longer, [value], {"files": value["files"]}, "text", 7):
        shelf.write("manifest", REF, other)
        assert None is plain.loaded(plain.MANIFEST, shelf.read("manifest", REF))


def test_registries_do_not_share(tmp_path: Path) -> None:
    shelf_for(tmp_path, "kaggle").write("stat", REF, 1)
    assert None is shelf_for(tmp_path, "kaggle+http://127.0.0.1:1").read("stat", REF)
    assert 1 == shelf_for(tmp_path, "kaggle").read("stat", REF)


def test_dropping_a_ref_drops_what_is_below(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    for ref in (REF.parent, REF, REF.child("jax")):
        shelf.write("children", ref, 1)
    shelf.drop(REF)
    assert [1, None, None] == [
        shelf.read("children", ref) for ref in (REF.parent, REF, REF.child("jax"))
    ]


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    Shelf(tmp_path / "new").write("children", REF, 1)
    path = only_file(tmp_path)
    assert 0o600 == path.stat().st_mode & 0o777
    assert 0o700 == path.parent.stat().st_mode & 0o777


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, ".", "..", "a\nb"])
def test_any_name_makes_a_file(tmp_path: Path, name: str) -> None:
    shelf = Shelf(tmp_path)
    shelf.write("stat", Ref(("alice", name)), 1)
    assert 1 == shelf.read("stat", Ref(("alice", name)))


def test_a_disk_that_refuses_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shelf = Shelf(tmp_path / "file" / "below")
    shelf.write("stat", REF, 1)
    assert None is shelf.read("stat", REF)


def test_writers_at_once_leave_one_whole_document(tmp_path: Path) -> None:
    values = [[n] * 1000 for n in range(8)]
    threads = [
        threading.Thread(target=Shelf(tmp_path).write, args=("stat", REF, value))
        for value in values
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert Shelf(tmp_path).read("stat", REF) in values
    only_file(tmp_path)
