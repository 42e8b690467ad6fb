"""`local:DIR`: the directory as a Registry, beside a server and without one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfs.errors import Corrupt, NotFound, Usage
from modelfs.model import Account, Digests, Entry, File
from modelfs.refs import Ref
from modelfs.registry.base import Registry
from modelfs.registry.local import Bundle, LocalRegistry, Store
from unit.registry.local.filling import BASE, NOW, Filling

VERSION = Ref((*BASE, "1"))


@pytest.fixture
def local(directory: Path) -> Iterator[Registry]:
    registry = LocalRegistry(directory)
    yield registry
    registry.close()


def read(registry: Registry, file: File, start: int, stop: int, piece: int = 1000) -> bytes:
    """The range, read in pieces of at most `piece` bytes."""
    found = b""
    buffer = bytearray(piece)
    with registry.open(VERSION, file, start, stop) as body:
        while count := body.readinto(memoryview(buffer)):
            found += buffer[:count]
    return found


def names(entries: tuple[Entry, ...] | None) -> list[str]:
    return [entry.name for entry in entries or ()]


def test_traits_say_where_and_what(local: Registry, directory: Path) -> None:
    traits = local.traits
    assert f"local:{directory.resolve()}" == traits.identity
    assert ("owner", "model", "framework", "instance", "version") == traits.levels
    assert all(traits.is_listed)
    assert not traits.is_writable
    assert Account("") == local.account()


def test_every_level_lists_what_is_there(store: Store, fill: Filling, local: Registry) -> None:
    fill.instance({"w": b"w"})
    fill.version({})
    store.create_instance("alice", "bert", "jax", "tiny", bundle=Bundle(), fields={})
    store.create_model("alice", "albert", title="")
    store.create_model("Zoe", "x", title="")
    assert ["Zoe", "alice"] == names(local.children(Ref()))
    assert ["albert", "bert"] == names(local.children(Ref(("alice",))))
    both = local.children(Ref(("alice", "bert")))
    assert ["jax", "pytorch"] == names(both)
    assert [["tiny"], ["base"]] == [names(entry.children) for entry in both]
    assert both[1].children
    assert both[1].children[0].children is None
    assert ["base"] == names(local.children(Ref(BASE[:3])))
    assert ["1", "2"] == names(local.children(Ref(BASE)))
    assert () == local.children(Ref(("Zoe", "x")))


def test_more_models_than_one_page_are_listed(store: Store, local: Registry) -> None:
    for number in range(1001):
        store.create_model("alice", f"m{number:04d}", title="")
    assert [f"m{number:04d}" for number in range(1001)] == names(local.children(Ref(("alice",))))


def test_exact_names_are_found_and_others_are_not(fill: Filling, local: Registry) -> None:
    fill.instance({"w": b"w"})
    for depth in range(1, 6):
        ref = Ref(VERSION.parts[:depth])
        assert ref.name == local.stat(ref).name
        missing = Ref((*ref.parts[:-1], "nothing"))
        with pytest.raises(NotFound):
            local.stat(missing)
        with pytest.raises(NotFound):
            local.documents(missing)
        if depth < 5:
            with pytest.raises(NotFound):
                local.children(missing)
    for number in ("0", "01", "-1", "2", "٧", "1" * 300, "1.0"):
        with pytest.raises(NotFound):
            local.manifest(Ref((*BASE, number)))
    for ref in (Ref(), Ref(BASE), VERSION.child("w")):
        with pytest.raises(NotFound):
            local.manifest(ref)
    with pytest.raises(NotFound):
        local.children(VERSION)


def test_any_spelling_of_a_framework_has_one_canonical_one(local: Registry) -> None:
    assert VERSION == local.canonical(Ref(("alice", "bert", "PyTorch", "base", "1")))
    unknown = Ref(("alice", "bert", "nothing"))
    assert unknown == local.canonical(unknown)
    assert Ref(("alice",)) == local.canonical(Ref(("alice",)))


def test_a_manifest_has_files_digests_and_notes(
    store: Store, fill: Filling, local: Registry
) -> None:
    fill.instance({"w": b"weights", "d/x": b""})
    manifest = local.manifest(VERSION)
    record = store.file(*BASE, 1, "w")
    digests = Digests(record.md5, record.crc32c, record.sha256)
    assert File("w", 7, NOW, digests) == manifest.files[1]
    assert "d/x" == manifest.files[0].path
    assert [("NOTES", b"first\n", NOW)] == [
        (document.name, document.content, document.mtime) for document in manifest.documents
    ]
    fill.version({}, notes="ends\n")
    assert b"ends\n" == local.manifest(Ref((*BASE, "2"))).documents[0].content
    fill.version({})
    assert () == local.manifest(Ref((*BASE, "3"))).documents


def test_metadata_documents_stand_at_their_levels(fill: Filling, local: Registry) -> None:
    fill.instance({}, license_name="MIT")
    (model,) = local.documents(Ref(BASE[:2]))
    assert ("model-metadata.json", NOW) == (model.name, model.mtime)
    assert "BERT" == json.loads(model.content)["title"]
    (instance,) = local.documents(Ref(BASE))
    assert "model-instance-metadata.json" == instance.name
    assert ("MIT", "pyTorch") == (
        json.loads(instance.content)["licenseName"],
        json.loads(instance.content)["framework"],
    )
    assert () == local.documents(Ref(BASE[:1])) == local.documents(Ref(BASE[:3]))
    named = [local.documents(Ref(BASE[:depth])) for depth in range(1, 5)]
    assert list(local.traits.documents[:4]) == [
        tuple(document.name for document in documents) for documents in named
    ]


def test_ranges_give_exactly_their_bytes(fill: Filling, local: Registry) -> None:
    data = os.urandom(10_000)
    fill.instance({"w": data})
    file = local.manifest(VERSION).files[0]
    for start, stop in ((0, 10_000), (0, 1), (9_999, 10_000), (123, 4567)):
        assert data[start:stop] == read(local, file, start, stop)
    with local.open(VERSION, file, 0, 1) as body:
        assert file.digests == body.digests


def test_a_file_other_than_the_listed_one_is_refused(fill: Filling, local: Registry) -> None:
    fill.instance({"w": b"weights"})
    file = local.manifest(VERSION).files[0]
    for other in (
        File("w", 6, None, file.digests),
        File("w", 7, None, Digests(sha256="0" * 64)),
    ):
        with pytest.raises(Corrupt):
            local.open(VERSION, other, 0, 1)
    with pytest.raises(NotFound):
        local.open(VERSION, File("v", 7), 0, 1)
    assert b"weights" == read(local, File("w", 7), 0, 7)


def test_a_cut_content_is_an_error_not_a_short_read(
    store: Store, fill: Filling, local: Registry
) -> None:
    fill.instance({"w": b"weights"})
    file = local.manifest(VERSION).files[0]
    blob = store.blob_path(file.digests.sha256)
    blob.chmod(0o600)
    blob.write_bytes(b"wei")
    with pytest.raises(Corrupt):
        read(local, file, 0, 7)


def test_what_a_server_writes_is_seen_at_once_and_after_it_stopped(
    store: Store, fill: Filling, local: Registry
) -> None:
    fill.instance({})
    assert ["1"] == names(local.children(Ref(BASE)))
    fill.version({})
    assert ["1", "2"] == names(local.children(Ref(BASE)))
    store.stop()
    assert ["1", "2"] == names(local.children(Ref(BASE)))


def test_a_directory_that_may_only_be_read_is_read(
    store: Store, fill: Filling, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill.instance({"w": b"w"})
    store.stop()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    before = sorted(path.name for path in directory.iterdir())
    local = LocalRegistry(directory)
    assert ["w"] == [file.path for file in local.manifest(VERSION).files]
    local.close()
    assert before == sorted(path.name for path in directory.iterdir())


def test_a_directory_that_is_no_registry_is_said_so_and_left_alone(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(Usage, match="not a registry"):
        LocalRegistry(missing).children(Ref())
    assert not missing.exists()
    with pytest.raises(Usage, match="not a registry"):
        LocalRegistry(tmp_path).stat(Ref(("alice",)))
    assert [] == list(tmp_path.iterdir())
    (tmp_path / "registry.db").touch()
    with pytest.raises(Usage, match="not a registry"):
        LocalRegistry(tmp_path).children(Ref())
    (tmp_path / "registry.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(Usage, match="not a registry"):
        LocalRegistry(tmp_path).children(Ref())
