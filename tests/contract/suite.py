"""What every registry must do, whoever it is: one suite, a subclass per backend.

A subclass gives the fixture `registry`, which holds `sims.content.SAMPLE`, put there past the
registry that is tested.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from contract.every import EveryRegistry
from modelfs.errors import Corrupt, Error, InvalidName, NotFound
from modelfs.model import NOTES, Document, File, Item, Manifest, Query
from modelfs.refs import Ref
from modelfs.registry.base import Body, Registry
from sims.content import BERT, MOMENT, NAMES, ODD_NAMES, SAMPLE, Instance, Model


def ref(text: str) -> Ref:
    return Ref.parse(text)


def names(registry: Registry, text: str) -> list[str]:
    return [entry.name for entry in registry.children(ref(text))]


def file(manifest: Manifest, path: str) -> File:
    return next(item for item in manifest.files if item.path == path)


def drained(body: Body, piece: int = 1 << 16) -> bytes:
    content, buffer = bytearray(), memoryview(bytearray(piece))
    with body:
        while count := body.readinto(buffer):
            content += buffer[:count]
    return bytes(content)


def listed(registry: Registry, text: str, query: Query | None = None, size: int = 0) -> list[Item]:
    """All items of all pages below a ref."""
    found: list[Item] = []
    token, seen = "", set()
    while token not in seen:
        seen.add(token)
        page = registry.page(ref(text), query, size=size, token=token)
        assert not size or len(page.items) <= size
        found += page.items
        token = page.next_token
        if not token:
            return found
    raise AssertionError("the pages go in a circle")


def everything(models: tuple[Model, ...]) -> list[tuple[Ref, Instance, int]]:
    """Every version of the sample: its ref, its instance, its number."""
    return [
        (
            Ref((model.owner, model.slug, instance.framework, instance.slug, str(number))),
            instance,
            number,
        )
        for model in models
        for instance in model.instances
        for number in range(1, len(instance.versions) + 1)
    ]


SOME = everything((BERT, NAMES))


class RegistryContract(EveryRegistry):
    """The suite."""

    # Kaggle tells only the notes of an instance's current version.
    has_old_notes: ClassVar[bool] = True

    # Names

    def test_known_owners_are_listed(self, registry: Registry) -> None:
        assert ["alice", "bob-b"] == names(registry, "")

    def test_all_models_of_an_owner_are_listed_in_order(self, registry: Registry) -> None:
        expected = sorted(model.slug for model in SAMPLE if model.owner == "alice")
        assert expected == names(registry, "alice")
        assert ["single"] == names(registry, "bob-b")

    def test_frameworks_come_with_all_their_instances(self, registry: Registry) -> None:
        found = registry.children(ref("alice/bert"))
        assert ["jax", "pytorch", "tensorflow2"] == [entry.name for entry in found]
        assert found[1].children is not None
        assert ["base", "large", "small"] == [entry.name for entry in found[1].children]

    def test_instances_of_a_framework_are_listed(self, registry: Registry) -> None:
        assert ["base", "large", "small"] == names(registry, "alice/bert/pytorch")
        assert ["base"] == names(registry, "alice/bert/jax")

    def test_versions_are_numbers_in_order(self, registry: Registry) -> None:
        assert ["1", "2", "3"] == names(registry, "alice/bert/pytorch/base")
        expected = [str(number) for number in range(1, 13)]
        assert expected == names(registry, "alice/paged/jax/versions")

    @pytest.mark.parametrize(
        "text",
        [
            "alice",
            "alice/bert",
            "alice/bert/pytorch",
            "alice/bert/pytorch/base",
            "alice/bert/pytorch/base/2",
        ],
    )
    def test_a_name_is_found_by_looking_it_up(self, registry: Registry, text: str) -> None:
        assert ref(text).name == registry.stat(ref(text)).name

    @pytest.mark.parametrize(
        "text",
        [
            "nobody",
            "alice/nothing",
            "nobody/bert",
            "alice/bert/onnx",
            "alice/bert/nonsense",
            "alice/nothing/pytorch",
            "alice/bert/pytorch/nothing",
            "alice/bert/onnx/base",
            "alice/bert/pytorch/base/4",
            "alice/bert/pytorch/base/0",
            "alice/bert/pytorch/base/01",
            "alice/bert/pytorch/base/-1",
            "alice/bert/pytorch/base/x",
            "alice/bert/pytorch/base/٢",
            "alice/bert/pytorch/base/99999999999999999999",
            "alice/bert/pytorch/nothing/1",
            "alice/grüße",
            "alice/with space",
            "ALICE/bert",
        ],
    )
    def test_an_unknown_name_is_not_found(self, registry: Registry, text: str) -> None:
        with pytest.raises(NotFound):
            registry.stat(ref(text))

    @pytest.mark.parametrize(
        "text",
        ["nobody", "alice/nothing", "alice/bert/onnx", "alice/bert/pytorch/nothing"],
    )
    def test_the_names_below_an_unknown_name_are_not_found(
        self, registry: Registry, text: str
    ) -> None:
        with pytest.raises(NotFound):
            registry.children(ref(text))

    @pytest.mark.parametrize(
        "text",
        ["alice/bert/pytorch/base/4", "alice/bert/pytorch/nothing/1", "alice/bert/pytorch/base/01"],
    )
    def test_an_unknown_version_has_no_manifest(self, registry: Registry, text: str) -> None:
        with pytest.raises(NotFound):
            registry.manifest(ref(text))

    def test_nothing_is_listed_below_a_version(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            registry.children(ref("alice/bert/pytorch/base/1"))

    @pytest.mark.parametrize("spelled", ["pyTorch", "PyTorch", "PYTORCH", "py_torch"])
    def test_a_framework_has_one_spelling(self, registry: Registry, spelled: str) -> None:
        other = ref(f"alice/bert/{spelled}/base/1")
        assert ref("alice/bert/pytorch/base/1") == registry.canonical(other)
        assert ["base", "large", "small"] == names(registry, f"alice/bert/{spelled}")
        assert 2 == len(registry.manifest(other).files)

    def test_a_spelling_that_cannot_be_right_is_left_alone(self, registry: Registry) -> None:
        for text in ("", "alice", "alice/bert/nonsense/base", "alice/bert/pytorch/base/x"):
            assert ref(text) == registry.canonical(ref(text))

    # In its own words

    def test_a_model_tells_its_facts(self, registry: Registry) -> None:
        found = registry.item(ref("alice/bert"))
        assert ref("alice/bert") == found.ref
        told = {key: found.facts[key] for key in ("ref", "slug", "title", "subtitle", "isPrivate")}
        assert {
            "ref": "alice/bert",
            "slug": "bert",
            "title": BERT.title,
            "subtitle": BERT.subtitle,
            "isPrivate": False,
        } == told
        assert found.facts["id"]

    def test_an_instance_tells_its_facts(self, registry: Registry) -> None:
        found = registry.item(ref("alice/bert/PyTorch/base"))
        assert ref("alice/bert/pytorch/base") == found.ref
        assert ("base", "MODEL_FRAMEWORK_PY_TORCH", "MIT", 3) == tuple(
            found.facts[key] for key in ("slug", "framework", "licenseName", "versionNumber")
        )
        assert found.facts["id"]

    def test_a_version_tells_its_facts(self, registry: Registry) -> None:
        found = registry.item(ref("alice/bert/pytorch/base/2"))
        assert (ref("alice/bert/pytorch/base/2"), 2) == (found.ref, found.facts["versionNumber"])

    @pytest.mark.parametrize("text", ["alice", "alice/bert/pytorch"])
    def test_a_level_that_is_only_a_name_tells_nothing_but_that(
        self, registry: Registry, text: str
    ) -> None:
        assert Item(ref(text)) == registry.item(ref(text))

    @pytest.mark.parametrize(
        "text",
        [
            "nobody",
            "alice/nothing",
            "alice/bert/onnx",
            "alice/bert/pytorch/nothing",
            "alice/bert/pytorch/base/4",
            "alice/bert/pytorch/base/x",
        ],
    )
    def test_an_unknown_name_has_no_facts(self, registry: Registry, text: str) -> None:
        with pytest.raises(NotFound):
            registry.item(ref(text))

    @pytest.mark.parametrize("size", [0, 1, 3, 200])
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("alice", [f"alice/{model.slug}" for model in SAMPLE if model.owner == "alice"]),
            ("alice/bert", [f"alice/bert/{i.framework}/{i.slug}" for i in BERT.instances]),
            ("alice/bert/pytorch", [f"alice/bert/pytorch/{n}" for n in ("base", "large", "small")]),
            ("alice/paged/jax/versions", [f"alice/paged/jax/versions/{n}" for n in range(1, 13)]),
        ],
    )
    def test_pages_hold_everything_once(
        self, registry: Registry, text: str, expected: list[str], size: int
    ) -> None:
        found = [str(item.ref) for item in listed(registry, text, size=size)]
        assert sorted(expected) == sorted(found)

    def test_pages_of_a_version_hold_its_files(self, registry: Registry) -> None:
        version = ref("alice/bert/pytorch/base/1")
        found = listed(registry, str(version), size=1)
        assert {version} == {item.ref for item in found}
        assert [("config.json", 13), ("weights.bin", 1 << 20)] == sorted(
            (item.path, item.facts["size"]) for item in found
        )
        assert {"config.json", "weights.bin"} == {item.facts["name"] for item in found}

    def test_models_are_found_by_words_and_by_owner(self, registry: Registry) -> None:
        found = listed(registry, "", Query(search="more-", sort_by="createTime"))
        assert [f"alice/more-{n}" for n in "abcd"] == sorted(str(item.ref) for item in found)
        found = listed(registry, "", Query(owner="bob-b"))
        assert ["bob-b/single"] == [str(item.ref) for item in found]
        assert [] == listed(registry, "bob-b", Query(search="bert"))

    @pytest.mark.parametrize(
        ("text", "query", "size"),
        [
            ("alice", Query(owner="bob-b"), 0),
            ("alice", Query(sort_by="taste"), 0),
            ("alice/bert", Query(search="base"), 0),
            ("alice/bert/pytorch/base", Query(sort_by="hotness"), 0),
            ("alice", Query(), -1),
        ],
    )
    def test_what_cannot_be_asked_is_refused(
        self, registry: Registry, text: str, query: Query, size: int
    ) -> None:
        with pytest.raises(InvalidName):
            registry.page(ref(text), query, size=size)

    @pytest.mark.parametrize(
        "text", ["alice/nothing", "alice/bert/pytorch/nothing", "alice/bert/pytorch/base/4"]
    )
    def test_an_unknown_name_has_no_pages(self, registry: Registry, text: str) -> None:
        with pytest.raises(NotFound):
            registry.page(ref(text))

    # Documents

    def test_a_model_has_its_metadata(self, registry: Registry) -> None:
        (document,) = registry.documents(ref("alice/bert"))
        assert registry.traits.documents[1] == (document.name,)
        told = json.loads(document.content)
        assert (BERT.title, BERT.subtitle, BERT.description, False) == (
            told["title"],
            told["subtitle"],
            told["description"],
            told["isPrivate"],
        )
        assert ("alice", "bert") == (told["ownerSlug"], told["slug"])

    def test_an_instance_has_its_metadata(self, registry: Registry) -> None:
        (document,) = registry.documents(ref("alice/bert/pytorch/base"))
        assert registry.traits.documents[3] == (document.name,)
        told = json.loads(document.content)
        assert ("alice", "bert", "pyTorch", "base") == (
            told["ownerSlug"],
            told["modelSlug"],
            told["framework"],
            told["instanceSlug"],
        )
        assert ("MIT", "BaseModel", True, ["some/data"]) == (
            told["licenseName"],
            told["modelInstanceType"],
            told["fineTunable"],
            told["trainingData"],
        )
        assert ("An overview: größer", "load it") == (told["overview"], told["usage"])

    @pytest.mark.parametrize("text", ["alice", "alice/bert/pytorch"])
    def test_owners_and_frameworks_have_no_metadata(self, registry: Registry, text: str) -> None:
        assert () == registry.documents(ref(text))

    @pytest.mark.parametrize("text", ["alice/nothing", "alice/bert/pytorch/nothing"])
    def test_an_unknown_name_has_no_metadata(self, registry: Registry, text: str) -> None:
        with pytest.raises(NotFound):
            registry.documents(ref(text))

    def test_the_notes_of_the_current_version_are_a_document(self, registry: Registry) -> None:
        manifest = registry.manifest(ref("alice/bert/pytorch/base/3"))
        assert (Document(NOTES, "größer\n".encode(), manifest.mtime),) == manifest.documents

    def test_the_notes_of_an_older_version_are_its_own(self, registry: Registry) -> None:
        for number, notes in ((1, b"the first\n"), (2, b"four layers\n")):
            manifest = registry.manifest(ref(f"alice/bert/pytorch/base/{number}"))
            told = [document.content for document in manifest.documents]
            assert ([notes] if self.has_old_notes else []) == told

    def test_a_version_without_notes_has_no_document(self, registry: Registry) -> None:
        assert () == registry.manifest(ref("alice/bert/pytorch/large/1")).documents

    # Files

    @pytest.mark.parametrize(("version", "instance", "number"), SOME)
    def test_a_manifest_holds_every_file(
        self, registry: Registry, version: Ref, instance: Instance, number: int
    ) -> None:
        manifest = registry.manifest(version)
        expected = {path: len(data) for path, data in instance.versions[number - 1].files.items()}
        assert dict(sorted(expected.items())) == {item.path: item.size for item in manifest.files}
        assert () == manifest.rejected

    @pytest.mark.parametrize(("number", "count"), [(1, 26), (2, 51), (3, 501)])
    def test_long_manifests_are_complete(self, registry: Registry, number: int, count: int) -> None:
        manifest = registry.manifest(ref(f"alice/paged/jax/files/{number}"))
        assert [f"part-{n:05}.bin" for n in range(count)] == [f.path for f in manifest.files]

    def test_times_are_the_registrys(self, registry: Registry) -> None:
        manifest = registry.manifest(ref("alice/bert/pytorch/base/1"))
        assert MOMENT == manifest.mtime
        assert {MOMENT} == {item.mtime for item in manifest.files}
        assert MOMENT == registry.stat(ref("alice/bert")).mtime

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_any_legal_name_can_be_read(self, registry: Registry, name: str) -> None:
        version = ref("alice/names/pytorch/odd/1")
        found = file(registry.manifest(version), name)
        assert name.encode() == drained(registry.open(version, found, 0, found.size))

    @pytest.mark.parametrize(
        ("start", "stop"),
        [(0, 1 << 20), (0, 1), ((1 << 20) - 1, 1 << 20), (12_345, 678_901), (1 << 19, 1 << 20)],
    )
    def test_a_range_is_exactly_that(self, registry: Registry, start: int, stop: int) -> None:
        version = ref("alice/bert/pytorch/base/1")
        found = file(registry.manifest(version), "weights.bin")
        expected = BERT.instances[0].versions[0].files["weights.bin"][start:stop]
        assert expected == drained(registry.open(version, found, start, stop))

    def test_a_reader_with_a_small_buffer_gets_everything(self, registry: Registry) -> None:
        version = ref("alice/bert/pytorch/base/1")
        found = file(registry.manifest(version), "config.json")
        assert b'{"layers": 2}' == drained(registry.open(version, found, 0, found.size), 3)

    def test_a_body_can_be_left_halfway(self, registry: Registry) -> None:
        version = ref("alice/bert/pytorch/base/1")
        found = file(registry.manifest(version), "weights.bin")
        for _ in range(3):
            with registry.open(version, found, 0, found.size) as body:
                assert 10 >= body.readinto(memoryview(bytearray(10))) > 0

    def test_the_digests_are_of_the_whole_file(self, registry: Registry) -> None:
        version = ref("alice/bert/pytorch/base/1")
        found = file(registry.manifest(version), "weights.bin")
        content = BERT.instances[0].versions[0].files["weights.bin"]
        with registry.open(version, found, 7, 9) as body:
            assert hashlib.md5(content).hexdigest() == body.digests.md5
            assert 8 == len(body.digests.crc32c)
        assert found.digests.sha256 in ("", hashlib.sha256(content).hexdigest())

    def test_a_file_of_json_is_bytes(self, registry: Registry) -> None:
        version = ref("alice/bert/pytorch/base/3")
        found = file(registry.manifest(version), "config.json")
        assert b'{"code": 404}' == drained(registry.open(version, found, 0, found.size))

    def test_an_unknown_file_is_not_found(self, registry: Registry) -> None:
        with pytest.raises(NotFound):
            registry.open(ref("alice/bert/pytorch/base/1"), File("nothing", 5), 0, 5)

    def test_a_file_of_another_size_is_corrupt(self, registry: Registry) -> None:
        with pytest.raises(Corrupt):
            registry.open(ref("alice/bert/pytorch/base/1"), File("config.json", 99), 0, 5)

    # Threads

    def test_many_threads_ask_at_once(self, registry: Registry) -> None:
        def ask(number: int) -> bool:
            version, instance, at = SOME[number % len(SOME)]
            manifest = registry.manifest(version)
            names(registry, "alice/bert")
            for item in manifest.files[:2]:
                if item.size:
                    expected = instance.versions[at - 1].files[item.path]
                    body = registry.open(version, item, 0, item.size)
                    assert expected == drained(body)
            with pytest.raises(NotFound):
                registry.stat(ref(f"alice/nothing-{number % 5}"))
            return True

        with ThreadPoolExecutor(12) as threads:
            assert all(threads.map(ask, range(60)))

    def test_only_errors_of_ours_come_out(self, registry: Registry) -> None:
        for text in ("alice/\u202eevil", "a" * 200, "alice/" + "b" * 200, "alice/bert/pytorch/ /1"):
            with pytest.raises(Error):
                registry.stat(ref(text))
