"""What a path means, on a registry in memory that counts what it is asked."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from modelfs.bodies import Body
from modelfs.errors import NotFound
from modelfs.fs.nodes import Kind, Node, Origin, inode
from modelfs.fs.tree import UNINDEXED, Tree
from modelfs.model import (
    Account,
    Digests,
    Document,
    Entry,
    File,
    Item,
    Manifest,
    Page,
    Query,
    Traits,
)
from modelfs.refs import Ref

FILES = (
    File("config.json", 2, 100.0, Digests(sha256="aa", md5="bb")),
    File("weights/model.bin", 1 << 20, None, Digests(sha256="cc")),
)


class Memory:
    """A registry of two levels, `model/version`, that counts its calls."""

    traits = Traits("memory", ("model", "version"), (True, True), (("model.json",), ("NOTES",)))

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.versions = ["1", "2", "10"]
        self.manifests = Manifest.of(FILES, [Document("NOTES", b"better\n")], 50.0)

    def account(self) -> Account:
        return Account()

    def canonical(self, ref: Ref) -> Ref:
        return Ref(tuple(part.lower() for part in ref.parts))

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        self.calls["children"] += 1
        if not ref.parts:
            return (Entry("bert", 40.0),)
        if ref.name != "bert":
            raise NotFound(str(ref))
        return tuple(Entry(name) for name in self.versions)

    def stat(self, ref: Ref) -> Entry:
        self.calls["stat"] += 1
        for entry in self.children(ref.parent):
            if entry.name == ref.name:
                return entry
        raise NotFound(str(ref))

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        self.calls["documents"] += 1
        return (Document("model.json", b"{}\n"),)

    def manifest(self, ref: Ref) -> Manifest:
        self.calls["manifest"] += 1
        self.stat(ref)
        return self.manifests

    def item(self, ref: Ref) -> Item:
        return Item(ref)

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        return Page()

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.fixture
def registry() -> Memory:
    return Memory()


@pytest.fixture
def tree(registry: Memory) -> Tree:
    return Tree({"": registry}, cached=_half, clock=lambda: 7.0)


def _half(origin: Origin) -> int:
    return origin.file.size // 2


def _node(tree: Tree, path: str) -> Node:
    return tree.node(tree.place(path))


def _names(tree: Tree, path: str) -> dict[str, int]:
    return {name: kind for name, kind, _ in tree.listing(tree.place(path))}


def test_levels_are_directories_with_their_documents(tree: Tree) -> None:
    assert {"bert": Kind.DIRECTORY} == _names(tree, "/")
    expected = {
        "1": Kind.DIRECTORY,
        "2": Kind.DIRECTORY,
        "10": Kind.DIRECTORY,
        "model.json": Kind.FILE,
        "latest": Kind.LINK,
    }
    assert expected == _names(tree, "/bert")


def test_latest_is_a_link_to_the_highest_number(tree: Tree) -> None:
    node = _node(tree, "/bert/latest")
    assert (Kind.LINK, b"10") == (node.kind, node.content)
    assert not node.is_fixed


def test_without_a_version_there_is_no_latest(tree: Tree, registry: Memory) -> None:
    registry.versions = []
    assert {"model.json": Kind.FILE} == _names(tree, "/bert")
    with pytest.raises(NotFound):
        _node(tree, "/bert/latest")


def test_a_version_holds_its_files_and_documents(tree: Tree) -> None:
    assert {
        "config.json": Kind.FILE,
        "weights": Kind.DIRECTORY,
        "NOTES": Kind.FILE,
    } == _names(tree, "/bert/2")
    assert {"model.bin": Kind.FILE} == _names(tree, "/bert/2/weights")
    assert b"better\n" == _node(tree, "/bert/2/NOTES").content


def test_a_file_has_the_times_and_sizes_of_the_registry(tree: Tree) -> None:
    node = _node(tree, "/bert/2/config.json")
    assert (2, 100.0, True) == (node.size, node.mtime, node.is_fixed)
    assert 50.0 == _node(tree, "/bert/2/weights/model.bin").mtime


def test_a_real_file_wins_over_a_document(tree: Tree, registry: Memory) -> None:
    registry.manifests = Manifest.of([File("NOTES", 5)], [Document("NOTES", b"x")])
    node = _node(tree, "/bert/2/NOTES")
    assert node.origin is not None
    assert 5 == node.size


@pytest.mark.parametrize(
    "path",
    ["/gpt", "/bert/3", "/bert/2/none", "/bert/2/weights/none", "/bert/2/config.json/x", "/x/y/z"],
)
def test_what_is_not_there_is_not_found(tree: Tree, path: str) -> None:
    with pytest.raises(NotFound):
        _node(tree, path)


@pytest.mark.parametrize("name", [".git", ".Trash-1000", "desktop.ini", "x" * 256])
def test_nobody_is_asked_for_names_no_registry_has(tree: Tree, registry: Memory, name: str) -> None:
    with pytest.raises(NotFound):
        _node(tree, f"/{name}")
    assert not registry.calls


def test_a_version_is_listed_once_for_all_its_files(tree: Tree, registry: Memory) -> None:
    for file in FILES * 3:
        _node(tree, f"/bert/2/{file.path}")
    assert 1 == registry.calls["manifest"]


def test_the_hidden_directory_is_there_and_not_listed(tree: Tree) -> None:
    assert ".modelfs" not in _names(tree, "/bert/2")
    assert Kind.DIRECTORY == _node(tree, "/bert/2/.modelfs").kind
    names = _names(tree, "/bert/2/.modelfs")
    assert {"status.json", "manifest.json", "SHA256SUMS"} == set(names)
    sums = _node(tree, "/bert/2/.modelfs/SHA256SUMS").content
    assert b"aa  config.json\ncc  weights/model.bin\n" == sums
    status = json.loads(_node(tree, "/bert/2/.modelfs/status.json").content or b"")
    assert "published" == status["state"]
    assert status["bytes"] == 2 * status["cached_bytes"]
    manifest = json.loads(_node(tree, "/bert/2/.modelfs/manifest.json").content or b"")
    assert ["config.json", "weights/model.bin"] == [file["path"] for file in manifest["files"]]


def test_every_spelling_is_one_directory(tree: Tree) -> None:
    assert _node(tree, "/BERT/2/config.json").ino == _node(tree, "/bert/2/config.json").ino


def test_inode_numbers_do_not_depend_on_the_run(tree: Tree) -> None:
    again = Tree({"": Memory()}, cached=_half)
    assert _node(again, "/bert/2/config.json").ino == _node(tree, "/bert/2/config.json").ino
    assert 2 < inode("anything") < 1 << 63


def test_several_registries_have_their_names_first(registry: Memory) -> None:
    tree = Tree({"a": registry, "b": Memory()}, cached=_half)
    assert {"a": Kind.DIRECTORY, "b": Kind.DIRECTORY} == _names(tree, "/")
    assert {"bert": Kind.DIRECTORY} == _names(tree, "/a")
    assert 2 == _node(tree, "/b/bert/1/config.json").size
    with pytest.raises(NotFound):
        _node(tree, "/c")


def test_indexers_are_told_to_stay_out(registry: Memory) -> None:
    """By name alone, at the top alone, and nobody is asked."""
    for tree in (Tree({"": registry}, cached=_half), Tree({"a": registry}, cached=_half)):
        assert not UNINDEXED & set(_names(tree, "/"))
        registry.calls.clear()
        for name in UNINDEXED:
            assert (Kind.FILE, b"") == (
                _node(tree, f"/{name}").kind,
                _node(tree, f"/{name}").content,
            )
        assert not registry.calls
    with pytest.raises(NotFound):
        _node(tree, "/a/.nomedia")
