"""Manifests: whatever a registry lists, what is kept can be a directory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfs.model import File, Manifest, Traits
from modelfs.refs import Ref


def _kept(paths: Sequence[str]) -> list[str]:
    return [file.path for file in Manifest.of(File(path, 1) for path in paths).files]


def _reasons(paths: Sequence[str]) -> dict[str, str]:
    manifest = Manifest.of(File(path, 1) for path in paths)
    return {item.path: item.reason for item in manifest.rejected}


def test_files_are_sorted_by_path() -> None:
    assert ["a", "b/a", "b/b", "c"] == _kept(["c", "b/b", "a", "b/a"])


@pytest.mark.parametrize(
    ("listed", "kept", "reason"),
    [
        (["good", "../bad"], ["good"], "it means another directory"),
        (["good", "/bad"], ["good"], "it is absolute"),
        (["good", ""], ["good"], "it is empty"),
        (["good", "b\0ad"], ["good"], "it holds a control character"),
        (["good", "good"], ["good"], "it is listed twice"),
        (["a", "a/b"], ["a"], "one name is both a file and a directory"),
        (["a/b", "a"], ["a/b"], "one name is both a file and a directory"),
        (["a/b/c", "a/b"], ["a/b/c"], "one name is both a file and a directory"),
        (["good", ".modelfs/x"], ["good"], "the name .modelfs is ours"),
        (["é", "e\u0301"], ["é"], "the same text in another Unicode form is listed too"),
        (["é/a", "e\u0301/b"], ["é/a"], "the same text in another Unicode form is listed too"),
    ],
)
def test_what_no_directory_can_hold_is_rejected(
    listed: list[str], kept: list[str], reason: str
) -> None:
    assert kept == _kept(listed)
    assert [reason] == list(_reasons(listed).values())


def test_a_negative_size_is_rejected() -> None:
    manifest = Manifest.of([File("a", -1), File("b", 0)])
    assert ["b"] == [file.path for file in manifest.files]
    assert ["its size is negative: -1"] == [item.reason for item in manifest.rejected]


@given(st.lists(st.text("ab/.é\0", max_size=6), max_size=12))
def test_kept_and_rejected_are_all_that_was_listed(paths: list[str]) -> None:
    manifest = Manifest.of(File(path, 1) for path in paths)
    told = [file.path for file in manifest.files] + [item.path for item in manifest.rejected]
    assert sorted(paths) == sorted(told)
    kept = {file.path for file in manifest.files}
    parents = {
        path.rsplit("/", count)[0] for path in kept for count in range(1, path.count("/") + 1)
    }
    assert not kept & parents


def test_traits_tell_the_documents_of_a_level() -> None:
    traits = Traits("x", ("owner", "version"), (True, True), (("o.json",), ("NOTES",)))
    assert () == traits.documents_of(Ref())
    assert ("o.json",) == traits.documents_of(Ref(("a",)))
    assert ("NOTES",) == traits.documents_of(Ref(("a", "1")))
    assert traits.is_version(Ref(("a", "1")))
