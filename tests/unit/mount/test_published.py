"""Versions as the kernel is told of them, and what it knows of them (layouts: linux/fuse.h)."""

from __future__ import annotations

import errno
import os
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelfs.fs.tree import Place
from modelfs.fs.versions import VersionTree
from modelfs.model import Document, File, Manifest
from modelfs.mount import wire
from modelfs.mount.overlay import SILENCE, Overlay
from modelfs.mount.passthrough import Choice, Passthrough
from modelfs.mount.published import FOREVER, NOTHING, OURS, Look, Nodes
from modelfs.mount.wire import Op
from modelfs.refs import Ref
from modelfs.registry.base import Registry
from sims.memory import Memory

REGISTRY = Memory({})
REF = Ref.parse("alice/bert/pytorch/base/1")
ODD = ("ordinary", "with space", "größer 🤗", "x" * 255, "é" * 127, os.fsdecode(b"\xff\xfe"))
TIME = 1_700_000_000.0
LOOK = Look(uid=7, gid=8, umask=0o022)
TOP = 5  # what libfuse calls the version's directory
_PLUS = struct.Struct("=QQQQIIQQQQQQIIIIIIIIIIQQII")


@dataclass(frozen=True)
class Told:
    """What the kernel reads of one entry."""

    name: str
    node: int
    ino: int
    size: int
    mode: int
    mtime: float
    end: int


def entries(data: bytes | memoryview) -> Iterator[Told]:
    place = 0
    while place < len(data):
        fields = _PLUS.unpack_from(data, place)
        length = fields[-2]
        name = bytes(data[place + _PLUS.size :][:length])
        place += _PLUS.size + -(-length // 8) * 8
        assert fields[6] == fields[22]
        assert fields[-1] == fields[15] >> 12
        told = fields[0], fields[6], fields[7], fields[15], fields[9] + fields[12] / 1e9
        yield Told(os.fsdecode(name), *told, fields[23])


def version_of(files: Sequence[File], documents: Sequence[Document] = ()) -> VersionTree:
    manifest = Manifest.of(files, documents)
    return VersionTree(REGISTRY, REF, manifest, TIME)


def nodes_of(version: VersionTree) -> Nodes:
    return Nodes(version, 3, TOP, LOOK, above=99)


ODD_VERSION = version_of(
    [File(name, size) for size, name in enumerate(ODD[:-1])]
    + [File(f"deep/er/{name}", 1 << 40) for name in ODD[:-1]],
    [Document("NOTES", b"what it is")],
)


def whole(nodes: Nodes, node: int) -> list[Told]:
    """A directory, read as the kernel does."""
    found: list[Told] = []
    place = 0
    while True:
        data, _ = nodes.directory(node).entries(place, 4096)
        if not data:
            return found
        found += entries(data)
        place = found[-1].end


def test_a_directory_is_told_with_the_attributes_of_all_names() -> None:
    nodes = nodes_of(ODD_VERSION)
    dot, dots, *told = whole(nodes, TOP)
    assert [(".", 0), ("..", 0)] == [(each.name, each.node) for each in (dot, dots)]
    assert (ODD_VERSION.ino(""), 99) == (dot.ino, dots.ino)
    assert {*ODD[:-1], "deep", "NOTES"} == {each.name for each in told}
    for each in told:
        node = ODD_VERSION.node(each.name)
        assert (node.ino, node.size, node.mtime) == (each.ino, each.size, each.mtime)
        assert node.kind & ~0o022 == each.mode
    deep = next(each.node for each in told if each.name == "deep")
    (er,) = whole(nodes, deep)[2:]
    below = whole(nodes, er.node)
    assert [ODD_VERSION.ino("deep/er"), ODD_VERSION.ino("deep")] == [e.ino for e in below[:2]]
    assert set(ODD[:-1]) == {each.name for each in below[2:]}
    assert "deep/er/with space" in {nodes.path(e.node & 0xFFFFFFFF) for e in below[2:]}


def test_every_node_has_a_number_of_its_own_that_is_ours() -> None:
    nodes = nodes_of(ODD_VERSION)
    told = whole(nodes, TOP)[2:]
    told += [each for folder in told if folder.name == "deep" for each in whole(nodes, folder.node)]
    numbers = [each.node for each in told if each.node]
    assert len(numbers) == len(set(numbers))
    assert all(number & OURS for number in numbers)


def test_a_name_that_is_not_utf_8_goes_there_and_back() -> None:
    raw = VersionTree(REGISTRY, REF, Manifest((File(ODD[-1], 3),)), TIME)
    nodes = nodes_of(raw)
    (told,) = whole(nodes, TOP)[2:]
    assert ODD[-1] == told.name
    entry = nodes.directory(TOP).entry(b"\xff\xfe")
    assert entry is not None
    assert told.node == struct.unpack_from("=Q", entry)[0]


def test_a_look_up_and_an_inquiry_tell_what_the_listing_told() -> None:
    nodes = nodes_of(ODD_VERSION)
    for told in whole(nodes, TOP)[2:]:
        entry = nodes.directory(TOP).entry(os.fsencode(told.name))
        assert entry is not None
        assert (told.node, 0, FOREVER, FOREVER) == struct.unpack_from("=QQQQ", entry)
        attributes = nodes.attributes(told.node)
        assert 104 == len(attributes)
        assert FOREVER == struct.unpack_from("=Q", attributes)[0]
        assert bytes(entry[40:]) == attributes[16:]
    assert nodes.directory(TOP).entry(b"absent") is None
    assert (128, 0) == (len(NOTHING), struct.unpack_from("=Q", NOTHING)[0])


def test_a_listing_without_attributes_goes_on_where_it_ended() -> None:
    directory = nodes_of(ODD_VERSION).directory(TOP)
    found, place = [], 0
    while data := directory.names(place, 600):
        assert len(data) <= 600
        position = 0
        while position < len(data):
            _, place, length, _ = struct.unpack_from("=QQII", data, position)
            found.append(os.fsdecode(data[position + 24 :][:length]))
            position += 24 + -(-length // 8) * 8
    assert [".", "..", *ODD[:-1], "deep", "NOTES"] == sorted(
        found, key=[".", "..", *ODD[:-1], "deep", "NOTES"].index
    )


def test_a_time_before_1970_is_told() -> None:
    (entry,) = (nodes_of(version_of([File("old", 1, mtime=-1.5)])).directory(TOP).entry(b"old"),)
    assert entry is not None
    assert (-2, 500_000_000) == (*struct.unpack_from("=q", entry, 64), entry[88:92].cast("I")[0])


def test_a_name_costs_less_than_400_bytes() -> None:
    count = 20_000
    version = version_of([File(f"d{n % 20}/file-{n:08}.bin", n) for n in range(count)])
    tracemalloc.start()
    try:
        nodes = nodes_of(version)
        for folder in whole(nodes, TOP)[2:]:
            nodes.directory(folder.node).entry(b"x")
        assert tracemalloc.get_traced_memory()[0] / count < 400
    finally:
        tracemalloc.stop()


class Kernel:
    """Asks an overlay about a version, and counts what it is told as the kernel does."""

    def __init__(self, version: VersionTree, registry: Registry) -> None:
        self.calls: list[str] = []
        self.version = version
        self.overlay = Overlay(self._operation, Passthrough(Choice.OFF, Path()), wire.Reply, LOOK)
        self.place = Place(registry, REF)
        self.overlay.told(TOP, self.place)

    def _operation(self, operation: str, *args: Any) -> Any:
        self.calls.append(operation)
        assert operation == "version"
        return self.version

    def ask(self, opcode: int, node: int, body: bytes) -> Any:
        length = wire.IN_HEADER.size + len(body)
        head = wire.IN_HEADER.pack(length, opcode, 1, node, 0, 0, 0, 0)
        self.request = memoryview(bytearray(head + body + bytes(64)))
        return self.overlay.answer(opcode, node, self.request)

    def look_up(self, node: int, name: bytes) -> int:
        found = self.ask(Op.LOOKUP, node, name + b"\0")
        return int(struct.unpack_from("=Q", found)[0])

    def listing(self, node: int) -> list[Told]:
        return list(entries(self.ask(Op.READDIRPLUS, node, struct.pack("=QQI", OURS, 0, 1 << 20))))

    def forget(self, node: int, count: int) -> Any:
        return self.ask(Op.FORGET, node, struct.pack("=Q", count))

    def forget_many(self, *nodes: tuple[int, int]) -> Any:
        body = b"".join(struct.pack("=QQ", *each) for each in nodes)
        return self.ask(Op.BATCH_FORGET, 0, struct.pack("=II", len(nodes), 0) + body)

    def forgotten(self) -> list[tuple[int, int]]:
        """What libfuse is left of a BATCH_FORGET."""
        (count,) = struct.unpack_from("=I", self.request, 40)
        return list(struct.iter_unpack("=QQ", self.request[48 : 48 + 16 * count]))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel(ODD_VERSION, REGISTRY)


def test_what_the_kernel_forgets_is_forgotten(kernel: Kernel) -> None:
    node = kernel.look_up(TOP, b"ordinary")
    told = [each.node for each in kernel.listing(TOP) if each.node]
    assert node in told
    assert 2 == len(kernel.overlay)
    kernel.forget(node, 1)
    assert SILENCE is kernel.forget_many(*((each, 1) for each in told if each != node))
    assert kernel.ask(Op.GETATTR, node, bytes(16))
    kernel.forget(node, 1)
    assert 1 == len(kernel.overlay)
    with pytest.raises(OSError) as caught:
        kernel.ask(Op.GETATTR, node, bytes(16))
    assert errno.ESTALE == caught.value.errno
    kernel.forget(TOP, 1)
    assert 0 == len(kernel.overlay)


def test_who_comes_back_after_that_finds_all_again(kernel: Kernel) -> None:
    kernel.forget(kernel.look_up(TOP, b"ordinary"), 1)
    node = kernel.look_up(TOP, b"ordinary")
    assert kernel.ask(Op.GETATTR, node, bytes(16))
    assert ["version", "version"] == kernel.calls


def test_libfuse_is_left_what_is_its_own_of_a_batch(kernel: Kernel) -> None:
    node = kernel.look_up(TOP, b"ordinary")
    assert kernel.forget_many((2, 1), (node, 1), (TOP, 1), (9, 4)) is None
    assert [(2, 1), (TOP, 1), (9, 4)] == kernel.forgotten()
    assert 0 == len(kernel.overlay)


def test_a_tree_stays_while_the_kernel_knows_one_node_of_it(kernel: Kernel) -> None:
    """Also if the directory of the version is forgotten, or is something else by now."""
    node = kernel.look_up(TOP, b"ordinary")
    kernel.overlay.told(TOP, None)
    assert kernel.ask(Op.GETATTR, node, bytes(16))
    assert kernel.ask(Op.OPENDIR, TOP, bytes(8)) is None


def test_the_hidden_directory_and_the_version_itself_are_libfuses(kernel: Kernel) -> None:
    assert kernel.ask(Op.LOOKUP, TOP, b".modelfs\0") is None
    assert kernel.ask(Op.GETATTR, TOP, bytes(16)) is None
    assert kernel.ask(Op.LOOKUP, TOP + 1, b"ordinary\0") is None


def test_a_change_is_asked_of_the_version_itself(kernel: Kernel) -> None:
    node = kernel.look_up(TOP, b"deep")
    for opcode in (4, 9, 10, 11, 21, 35, 45):  # SETATTR, MKDIR, UNLINK, RMDIR, SETXATTR, …
        assert kernel.ask(opcode, node, bytes(64)) is None
        assert (TOP,) == struct.unpack_from("=Q", kernel.request, 16)
    assert kernel.ask(Op.OPEN, node, struct.pack("=II", os.O_WRONLY, 0)) is None
    assert (TOP,) == struct.unpack_from("=Q", kernel.request, 16)
    for opcode in (Op.LINK, Op.RENAME):  # into a draft, say
        assert kernel.ask(opcode, 2, struct.pack("=Q", node) + b"a\0b\0") is None
        assert (2, TOP) == (
            *struct.unpack_from("=Q", kernel.request, 16),
            *struct.unpack_from("=Q", kernel.request, 40),
        )


def test_a_version_that_may_still_grow_is_libfuses() -> None:
    manifest = Manifest((File("a", 1),), is_final=False)
    registry = REGISTRY
    kernel = Kernel(VersionTree(registry, REF, manifest, TIME), registry)
    assert kernel.ask(Op.LOOKUP, TOP, b"a\0") is None
    assert kernel.ask(Op.OPENDIR, TOP, bytes(8)) is None
