"""What is in a draft, and what of it is sent."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelfs.errors import InvalidName, TooLarge, WrongState
from modelfs.fs.journal import Item, Journal, Phase, Stamp
from modelfs.fs.junk import is_junk
from modelfs.fs.sealing import hashed, survey
from modelfs.fs.staging import remove_tree
from modelfs.model import Digests, Document
from modelfs.refs import Ref


@pytest.mark.parametrize(
    "path",
    ["a", "a.bin", ".hidden", "dir/.env", "git/x", ".gitignore", ".gitattributes", "a~b", "49131"],
)
def test_ordinary_names_are_no_junk(path: str) -> None:
    assert not is_junk(path)


@pytest.mark.parametrize(
    "path",
    ["d/.DS_Store", "._a", "x~", ".git/config", "a/.x.swp", "PUBLISH_FAILED.txt", ".modelfs"],
)
def test_junk_is_junk_at_any_depth(path: str) -> None:
    assert is_junk(path)
    assert is_junk(f"deep/{path}")


def test_what_is_removed_while_it_is_listed_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "PUBLISH_FAILED.txt").touch()
    (tmp_path / "a").touch()
    scandir = os.scandir

    @contextmanager
    def late(path: str | Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(path) as entries:
            found = list(entries)
        (tmp_path / "PUBLISH_FAILED.txt").unlink()
        yield iter(found)

    monkeypatch.setattr(os, "scandir", late)
    assert ["a"] == [item.path for item in survey(tmp_path, ()).items]


def test_a_survey_finds_files_documents_and_what_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "hollow").mkdir()
    for path in ("b", "d/a", "d/e/NOTES", "NOTES", "x~"):
        (tmp_path / path).write_text(path)
    found = survey(tmp_path, ("NOTES",))
    assert ["b", "d/a", "d/e/NOTES"] == [item.path for item in found.items]
    assert [b"NOTES"] == [document.content for document in found.documents]
    assert ("hollow/", "x~") == found.ignored


def test_a_tree_deeper_than_the_stack_is_surveyed(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 50
    path = "/".join("d" * depth)
    for stop in range(1, len(path) + 1, 2):
        (tmp_path / path[:stop]).mkdir()
    (tmp_path / path / "f").write_bytes(b"x")
    assert [f"{path}/f"] == [item.path for item in survey(tmp_path, ()).items]
    remove_tree(tmp_path / "d")


def test_a_path_that_no_version_can_have_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "/".join(["n" * 200] * 16)
    directory.mkdir(parents=True)
    (directory / "f").write_bytes(b"")
    with pytest.raises(InvalidName, match="longer than"):
        survey(tmp_path, ())


def test_notes_without_end_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "NOTES").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TooLarge):
        survey(tmp_path, ("NOTES",))


def item_of(path: Path) -> Item:
    return Item(path.name, Stamp.of(path.stat()))


@pytest.mark.parametrize("size", [0, 1, 1000, 5000])
def test_a_file_is_hashed_in_pieces(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * 20
    path = tmp_path / "f"
    path.write_bytes(data[:size])
    expected = Digests(
        md5=hashlib.md5(data[:size]).hexdigest(), sha256=hashlib.sha256(data[:size]).hexdigest()
    )
    buffer = memoryview(bytearray(1000))
    assert expected == hashed(path, item_of(path), buffer, lambda: False)


@pytest.mark.parametrize("change", ["bytes", "times", "other file", "link", "gone"])
def test_a_file_that_is_not_what_it_was_is_not_hashed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"before")
    os.utime(path, ns=(0, 0))
    item = item_of(path)
    if change == "bytes":
        path.write_bytes(b"after.")
        os.utime(path, ns=(0, 0))
    elif change == "times":
        os.utime(path, ns=(0, 1))
    else:
        path.rename(tmp_path / "old")
        if change == "other file":
            path.write_bytes(b"before")
        elif change == "link":
            path.symlink_to("old")
    with pytest.raises(WrongState, match=r"^f "):
        hashed(tmp_path / item.path, item, memoryview(bytearray(10)), lambda: False)


def test_a_journal_comes_back_as_it_was() -> None:
    ref = Ref(("alice", "bert"))
    item = Item("a", Stamp(1, 2, 3, 4), Digests(md5="m", sha256="s"), "session", "token")
    journal = Journal(
        Phase.CREATING,
        "boot",
        "reason",
        {"a": item},
        (Document("NOTES", b"\xff\n"),),
        ((ref, (Document("model.json", b"{}"),)),),
        ("x~",),
        ("1", "2"),
        ref.child("3"),
        True,
    )
    assert journal == Journal.load(journal.dump())


@pytest.mark.parametrize(
    "value", [{}, {"phase": "creating"}, {"format": 1}, {"format": 1, "phase": "unheard of"}]
)
def test_what_is_no_journal_is_an_empty_one(value: dict[str, object]) -> None:
    assert Journal() == Journal.load(value)


@pytest.mark.parametrize("field", sorted(Journal().dump().keys() - {"format"}))
@pytest.mark.parametrize("value", [None, 5, "a//b", [], ["x"], {"a": 1}])
def test_a_journal_with_a_damaged_field_is_read(field: str, value: object) -> None:
    assert isinstance(Journal.load(Journal().dump() | {field: value}), Journal)


@pytest.mark.parametrize("layout", [0, 3, "1", None])
def test_a_journal_of_another_version_is_not_taken_for_none(layout: object) -> None:
    with pytest.raises(WrongState, match="another version of modelfs"):
        Journal.load(Journal(Phase.CREATING).dump() | {"format": layout})
