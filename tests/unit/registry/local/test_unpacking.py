"""Uploaded archives become directories; hostile ones become errors."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from modelfs.errors import InvalidName, TooLarge
from modelfs.registry.local import Store, unpacking
from unit.registry.local.filling import BASE, Filling, zipped


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def test_a_zip_becomes_the_directory_it_was_made_of(fill: Filling, store: Store) -> None:
    fill.instance(
        {"top.txt": b"t", "sub.zip": zipped({"a.txt": b"a", "deep/": b"", "deep/b": b"b"})}
    )
    assert ["sub/a.txt", "sub/deep/b", "top.txt"] == fill.paths()
    record = store.file(*BASE, 1, "sub/deep/b")
    assert b"b" == store.blob_path(record.sha256).read_bytes()


def test_a_tar_becomes_the_directory_it_was_made_of(fill: Filling) -> None:
    deep = member("deep", tarfile.DIRTYPE)
    data = tarred((deep, b""), (member("./a.txt"), b"a"), (member("deep/ü"), b"b"))
    fill.instance({"sub.tar": data})
    assert ["sub/a.txt", "sub/deep/ü"] == fill.paths()


def test_the_archive_of_a_whole_version_is_unpacked_into_it(fill: Filling) -> None:
    fill.instance({"archive.zip": zipped({f"f{i}": b"" for i in range(60)} | {"d/x": b"x"})})
    assert ["d/x", *sorted(f"f{i}" for i in range(60))] == fill.paths()


def test_an_archive_below_the_top_is_a_file(fill: Filling) -> None:
    fill.instance({"d/weights.zip": zipped({"a": b"a"})})
    assert ["d/weights.zip"] == fill.paths()


@pytest.mark.parametrize("name", ["w.zip", "w.tar"])
@pytest.mark.parametrize("data", [b"", b"no archive at all" * 100])
def test_what_only_looks_like_an_archive_is_a_file(fill: Filling, name: str, data: bytes) -> None:
    fill.instance({name: data})
    assert [name] == fill.paths()


def test_an_encrypted_zip_is_a_file(fill: Filling) -> None:
    data = bytearray(zipped({"a": b"a"}))
    data[6] |= 1  # the flag in the local header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    fill.instance({"w.zip": bytes(data)})
    assert ["w.zip"] == fill.paths()


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a//b", "a/./b", "a\nb"])
def test_a_member_that_would_leave_the_directory_is_refused(
    fill: Filling, store: Store, path: str
) -> None:
    with pytest.raises(InvalidName, match="member cannot be a file"):
        fill.instance({"sub.zip": zipped({path: b"x"})})
    bundle = fill.bundle({"sub.tar": tarred((member(path), b"x"))})
    with pytest.raises(InvalidName, match="member cannot be a file"):
        store.create_instance(*BASE, bundle=bundle, fields={})
    assert () == store.instances("alice", "bert").items


@pytest.mark.parametrize(
    "info",
    [
        member("l", tarfile.SYMTYPE, "/etc/passwd"),
        member("l", tarfile.LNKTYPE, "a"),
        member("l", tarfile.CHRTYPE),
        member("l", tarfile.FIFOTYPE),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(fill: Filling, info: tarfile.TarInfo) -> None:
    with pytest.raises(InvalidName, match="not a plain file"):
        fill.instance({"sub.tar": tarred((member("a"), b"a"), (info, b""))})


def test_a_link_in_a_zip_is_refused(fill: Filling) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("l")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InvalidName, match="not a plain file"):
        fill.instance({"sub.zip": buffer.getvalue()})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_listed_twice_is_refused(fill: Filling) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(InvalidName, match="twice"):
        fill.instance({"sub.zip": buffer.getvalue()})


def test_an_archive_that_clashes_with_a_file_is_refused(fill: Filling) -> None:
    with pytest.raises(InvalidName, match="both a file and a directory"):
        fill.instance({"sub": b"file", "sub.zip": zipped({"a": b"a"})})


def test_a_bomb_is_refused_and_leaves_nothing(
    fill: Filling, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "_ALWAYS", 1000)
    bomb = zipped({"zeros": bytes(3_000_000)})
    with pytest.raises(TooLarge):
        fill.instance({"sub.zip": bomb})
    assert [] == list((directory / "tmp").iterdir())


def test_too_many_members_are_refused(fill: Filling, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MEMBERS", 3)
    with pytest.raises(TooLarge):
        fill.instance({"sub.zip": zipped({str(i): b"" for i in range(4)})})


def test_a_damaged_archive_is_refused(fill: Filling) -> None:
    data = bytearray(zipped({"a": bytes(range(256)) * 40}))
    data[60:80] = bytes(20)
    with pytest.raises(InvalidName, match="damaged"):
        fill.instance({"sub.zip": bytes(data)})
