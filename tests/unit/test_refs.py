"""Names: what they are made of and what they can never be."""

from __future__ import annotations

import pytest

from modelfs.errors import InvalidName
from modelfs.refs import PATH_MAX, Ref, file_path_fault, is_never_a_slug, name_fault


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("/", ()),
        ("alice", ("alice",)),
        ("/alice/bert/", ("alice", "bert")),
        ("alice/bert/pyTorch/base/3", ("alice", "bert", "pyTorch", "base", "3")),
    ],
)
def test_a_ref_has_a_part_per_level(text: str, parts: tuple[str, ...]) -> None:
    assert parts == Ref.parse(text).parts


@pytest.mark.parametrize("text", ["a//b", "a/../b", "./a", "a\0b", "a/b\nc", "x" * 256, "\udcff"])
def test_a_ref_of_impossible_parts_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match="not a name"):
        Ref.parse(text)


def test_a_ref_knows_its_place() -> None:
    ref = Ref.parse("alice/bert/pytorch")
    assert 3 == ref.depth
    assert "pytorch" == ref.name
    assert Ref.parse("alice/bert") == ref.parent
    assert Ref.parse("alice/bert/pytorch/base") == ref.child("base")
    assert ["", "alice", "alice/bert"] == [str(above) for above in ref.ancestors()]
    assert Ref() == Ref().parent


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, " ", "a b", "…", "-", "...", "~"])
def test_odd_names_are_names(name: str) -> None:
    assert "" == name_fault(name)


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("a/b.bin", ""),
        ("/etc/passwd", "it is absolute"),
        ("../a", "it means another directory"),
        ("a/./b", "it means another directory"),
        ("a//b", "it is empty"),
        ("a/", "it is empty"),
        ("", "it is empty"),
        ("a\x1bb", "it holds a control character"),
        ("é" * 128, "it is longer than 255 bytes"),
        ("/".join(["x" * 200] * 20), f"it is longer than {PATH_MAX} bytes"),
    ],
)
def test_a_path_in_a_version_stays_in_it(path: str, fault: str) -> None:
    assert fault == file_path_fault(path)


def test_what_operating_systems_ask_for_is_no_slug() -> None:
    assert all(map(is_never_a_slug, [".git", ".Trash-1000", "desktop.ini", ".modelfs"]))
    assert not is_never_a_slug("bert")
