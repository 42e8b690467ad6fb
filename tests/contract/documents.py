"""What every registry must do whose versions are documents about a container image.

A subclass gives the fixture `registry`, writable, for the user alice, with `SAMPLE` in it.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from contract.every import EveryRegistry
from contract.suite import listed, names, ref
from contract.writing import edited, part, without
from modelfs.errors import Exists, Forbidden, InvalidName, NotFound, TooLarge, Unsupported
from modelfs.model import NOTES, Bundle, Document, File, Query
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from sims.content import MOMENT
from sims.wriftai import SCHEMAS, digest

BERT = ref("alice/bert")
NEW = ref("alice/new-model")
SHOWN = {"visibility": "public", "description": "größer", "category_slugs": ["text"]}
# Owner, name, fields, notes of the versions.
SAMPLE: tuple[tuple[str, str, dict[str, Any], tuple[str, ...]], ...] = (
    ("alice", "bert", SHOWN, ("the first", "größer 🤗", "x" * 255)),
    ("alice", "empty", {"visibility": "private"}, ()),
    ("alice", "paged", {"visibility": "private"}, tuple(f"{n}" for n in range(1, 13))),
    *(("alice", f"more-{letter}", {"visibility": "public"}, ("one",)) for letter in "abcd"),
    ("bob-b", "single", {"visibility": "public"}, ("bob's",)),
    ("bob-b", "secret", {"visibility": "private"}, ("bob's",)),
)


def proposed(
    place: Ref,
    notes: str = "notes",
    letter: str = "d",
    *more: Document,
    parents: tuple[tuple[Ref, tuple[Document, ...]], ...] = (),
) -> Bundle:
    """A version that is to be."""
    documents = (
        Document(NOTES, f"{notes}\n".encode()),
        Document("schemas.json", json.dumps(SCHEMAS).encode()),
        Document("container_image_digest", f"  {digest(letter)}\n".encode()),
        *more,
    )
    return Bundle(place, (), documents, parents)


def changed(bundle: Bundle, name: str, content: bytes | None) -> Bundle:
    """With another text of one document, or without it."""
    kept = tuple(document for document in bundle.documents if document.name != name)
    new = () if content is None else (Document(name, content),)
    return replace(bundle, documents=(*kept, *new))


def texts(registry: WritableRegistry, version: Ref) -> dict[str, bytes]:
    return {item.name: item.content for item in registry.manifest(version).documents}


class DocumentsContract(EveryRegistry):
    """The suite."""

    # What is there

    def test_known_owners_are_listed(self, registry: WritableRegistry) -> None:
        assert {"alice", "bob-b"} == set(names(registry, ""))

    def test_models_are_those_that_may_be_seen(self, registry: WritableRegistry) -> None:
        expected = ["bert", "empty", *(f"more-{n}" for n in "abcd"), "paged"]
        assert expected == names(registry, "alice")
        assert ["single"] == names(registry, "bob-b")

    def test_versions_are_numbers_in_order(self, registry: WritableRegistry) -> None:
        assert [str(n) for n in range(1, 13)] == names(registry, "alice/paged")
        assert [] == names(registry, "alice/empty")

    @pytest.mark.parametrize(
        "text",
        [
            "ALICE",
            "alice/BERT",
            "alice/bert/-1",
            "alice/bert/٢",
            "alice/a:b",
            "bob-b/secret",
            "al/.",
        ],
    )
    def test_a_name_that_is_not_quite_it_is_not_found(
        self, registry: WritableRegistry, text: str
    ) -> None:
        with pytest.raises(NotFound):
            registry.stat(ref(text) if not text.endswith(".") else Ref(("alice", "..")))

    def test_times_are_the_registrys(self, registry: WritableRegistry) -> None:
        assert MOMENT == registry.stat(BERT.child("1")).mtime == registry.stat(BERT).mtime
        manifest = registry.manifest(BERT.child("1"))
        assert {MOMENT} == {manifest.mtime, *(item.mtime for item in manifest.documents)}

    def test_a_model_has_its_metadata(self, registry: WritableRegistry) -> None:
        (document,) = registry.documents(BERT)
        texts = dict.fromkeys(("overview", "source_url", "license_url", "paper_url"), "")
        assert {"name": "bert", **SHOWN, **texts} == json.loads(document.content)

    def test_a_version_is_its_documents(self, registry: WritableRegistry) -> None:
        for number, notes in enumerate(SAMPLE[0][3], start=1):
            found = texts(registry, BERT.child(str(number)))
            assert registry.traits.documents[2] == tuple(found)
            assert f"{notes}\n" == found[NOTES].decode()
            assert SCHEMAS == json.loads(found["schemas.json"])
            assert f"{digest('abc'[number - 1])}\n" == found["container_image_digest"].decode()
            told = json.loads(found["version.json"])
            assert (number, notes) == (told["number"], told["release_notes"])
            assert told["compatibilities"]["openai_embeddings"] is False

    def test_there_are_no_bytes_to_read(self, registry: WritableRegistry) -> None:
        with pytest.raises(NotFound):
            registry.open(BERT.child("1"), File("weights", 5), 0, 5)
        assert [] == listed(registry, "alice/bert/1")
        for ask in (lambda: registry.begin(part("w", b"w")),):
            with pytest.raises(Unsupported):
                ask()

    def test_models_are_found_by_words_by_owner_and_in_order(
        self, registry: WritableRegistry
    ) -> None:
        found = listed(registry, "", Query(search="more-"))
        assert [f"alice/more-{n}" for n in "abcd"] == sorted(str(item.ref) for item in found)
        found = listed(registry, "", Query(owner="bob-b", sort_by="created_at:asc"))
        assert ["bob-b/single"] == [str(item.ref) for item in found]

    @pytest.mark.parametrize(
        ("text", "query", "size"),
        [
            ("", Query(search="x", owner="alice"), 0),
            ("", Query(search="x", sort_by="created_at"), 0),
            ("alice", Query(owner="bob-b"), 0),
            ("alice", Query(sort_by="taste"), 0),
            ("alice", Query(sort_by="created_at:up"), 0),
            ("alice/bert", Query(sort_by="created_at"), 0),
            ("alice", Query(), 4),
            ("alice/bert", Query(), 51),
            ("alice", Query(), -1),
        ],
    )
    def test_what_cannot_be_asked_is_refused(
        self, registry: WritableRegistry, text: str, query: Query, size: int
    ) -> None:
        with pytest.raises(InvalidName):
            registry.page(ref(text), query, size=size)

    def test_many_threads_ask_at_once(self, registry: WritableRegistry) -> None:
        def ask(number: int) -> bool:
            version = BERT.child(str(number % 3 + 1))
            assert SAMPLE[0][3][number % 3] in texts(registry, version)[NOTES].decode()
            with pytest.raises(NotFound):
                registry.stat(ref(f"alice/nothing-{number % 5}"))
            return True

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(ask, range(40)))

    # Before anything is sent

    def test_it_can_be_written(self, registry: WritableRegistry) -> None:
        traits = registry.traits
        assert (True, False, True) == (traits.is_writable, traits.has_files, traits.is_made_alone)

    def test_blank_documents_are_filled_in_from_the_path(self, registry: WritableRegistry) -> None:
        (model,) = registry.blank(NEW)
        told = json.loads(model.content)
        assert ("new-model", "private", []) == tuple(
            told[key] for key in ("name", "visibility", "category_slugs")
        )
        assert () == registry.blank(ref("alice"))

    @pytest.mark.parametrize("text", ["al ice", "alice/a:b", "alice/.m", "alice/a%b", "alice/m/1"])
    def test_a_name_that_cannot_be_has_no_blank_documents(
        self, registry: WritableRegistry, text: str
    ) -> None:
        with pytest.raises(InvalidName):
            registry.blank(ref(text))

    def test_blank_documents_pass_the_check(self, registry: WritableRegistry) -> None:
        parents = ((NEW, registry.blank(NEW)),)
        registry.check(proposed(NEW.child("1"), parents=parents))
        registry.check(proposed(NEW.child("1"), "ü" * 255, parents=parents))

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            (NOTES, None),
            (NOTES, b" \n"),
            (NOTES, b"\xff"),
            (NOTES, ("ü" * 256).encode()),
            ("schemas.json", None),
            ("schemas.json", b"{"),
            ("schemas.json", b"[]"),
            ("schemas.json", b"{}"),
            ("schemas.json", b'{"prediction": {"input": {}}}'),
            ("schemas.json", b'{"prediction": {"input": {}, "output": []}}'),
            ("schemas.json", b'{"prediction": {"input": {"a": NaN}, "output": {}}}'),
            ("schemas.json", b'{"prediction": {"input": {}, "output": {}, "stream_output": 1}}'),
            ("container_image_digest", None),
            ("container_image_digest", b"sha256:" + b"A" * 64),
            ("container_image_digest", b"sha256:" + b"a" * 63),
            ("container_image_digest", b"md5:" + b"a" * 64),
            ("version.json", b"[]"),
            ("version.json", b'{"compatibilities": {"openai_embeddings": "yes"}}'),
            ("version.json", b'{"configuration": "cpu"}'),
            ("other.json", b"{}"),
        ],
    )
    def test_a_document_that_cannot_be_is_refused(
        self, registry: WritableRegistry, name: str, content: bytes | None
    ) -> None:
        with pytest.raises((InvalidName, TooLarge), match=name):
            registry.check(changed(proposed(BERT.child("4")), name, content))

    def test_a_file_is_refused_by_its_name(self, registry: WritableRegistry) -> None:
        bundle = replace(proposed(BERT.child("4")), parts=(part("weights.bin", b"w"),))
        with pytest.raises(InvalidName, match=r"weights\.bin"):
            registry.check(bundle)

    # Publishing

    def test_the_next_version_is_the_next_number(self, registry: WritableRegistry) -> None:
        settings = {"compatibilities": {"openai_embeddings": True}, "number": 77}
        more = Document("version.json", json.dumps(settings).encode())
        bundle = proposed(BERT.child("new"), "größer\n\nund mehr", "e", more)
        registry.check(bundle)
        with pytest.raises(NotFound):
            registry.manifest(BERT.child("4"))
        assert BERT.child("4") == registry.create(bundle)
        found = texts(registry, BERT.child("4"))
        assert "größer\n\nund mehr\n" == found[NOTES].decode()
        assert f"{digest('e')}\n" == found["container_image_digest"].decode()
        assert json.loads(found["version.json"])["compatibilities"]["openai_embeddings"] is True
        assert ["1", "2", "3", "4"] == names(registry, "alice/bert")

    def test_a_new_model_is_made_with_its_version(self, registry: WritableRegistry) -> None:
        (document,) = registry.blank(NEW)
        described = (edited(document, visibility="public", description="größer", overview="# o"),)
        bundle = proposed(NEW.child("1"), parents=((NEW, described),))
        assert NEW.child("1") == registry.create(bundle)
        told = json.loads(registry.documents(NEW)[0].content)
        assert ("public", "größer", "# o", "") == tuple(
            told[key] for key in ("visibility", "description", "overview", "paper_url")
        )
        assert NEW.child("2") == registry.create(bundle)  # it meanwhile exists

    def test_a_model_can_be_without_a_version(self, registry: WritableRegistry) -> None:
        registry.add(NEW, registry.blank(NEW))
        assert "private" == registry.item(NEW).facts["visibility"]
        assert () == registry.children(NEW)
        with pytest.raises(Exists):
            registry.add(NEW, registry.blank(NEW))
        with pytest.raises(Unsupported):
            registry.add(ref("alice"), ())

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "other"},
            {"visibility": "secret"},
            {"visibility": None},
            {"description": 7},
            {"category_slugs": "text"},
            {"category_slugs": [1]},
        ],
    )
    def test_a_model_is_not_made_or_changed_by_what_cannot_be(
        self, registry: WritableRegistry, changes: dict[str, object]
    ) -> None:
        (document,) = registry.blank(NEW)
        for documents in ((edited(document, **changes),), ()):
            with pytest.raises(InvalidName):
                registry.add(NEW, documents)
        with pytest.raises(NotFound):
            registry.stat(NEW)
        (before,) = registry.documents(BERT)
        with pytest.raises(InvalidName):
            registry.update(BERT, edited(before, **changes))
        assert before.content == registry.documents(BERT)[0].content

    def test_what_belongs_to_others_is_not_ours(self, registry: WritableRegistry) -> None:
        theirs = ref("bob-b/other")
        with pytest.raises(Forbidden, match="alice"):
            registry.add(theirs, registry.blank(theirs))
        with pytest.raises(NotFound):
            registry.stat(ref("alice/other"))
        with pytest.raises(Forbidden):
            registry.create(proposed(ref("bob-b/single/2")))
        with pytest.raises(Forbidden):
            registry.delete(ref("bob-b/single"))

    # Changing and deleting

    def test_a_document_changes_what_it_says(self, registry: WritableRegistry) -> None:
        (before,) = registry.documents(BERT)
        changes = {"visibility": "private", "paper_url": "https://x.test/p", "category_slugs": []}
        registry.update(BERT, without(edited(before, **changes), "overview"))
        (after,) = registry.documents(BERT)
        assert json.loads(before.content) | changes == json.loads(after.content)
        registry.update(BERT, edited(before, description=""))
        assert "" == json.loads(registry.documents(BERT)[0].content)["description"]

    def test_only_models_can_be_changed(self, registry: WritableRegistry) -> None:
        for place in (ref("alice"), BERT.child("1")):
            with pytest.raises(InvalidName):
                registry.update(place, Document("model.json", b"{}"))

    def test_what_is_deleted_is_gone(self, registry: WritableRegistry) -> None:
        registry.manifest(BERT.child("1"))
        registry.delete(BERT.child("1"))
        registry.delete(BERT.child("1"))
        assert ["2", "3"] == names(registry, "alice/bert")
        with pytest.raises(NotFound):
            registry.manifest(BERT.child("1"))
        registry.delete(BERT)
        with pytest.raises(NotFound):
            registry.stat(BERT)
        with pytest.raises(Unsupported):
            registry.delete(ref("alice"))
        registry.delete(ref("alice/nothing"))

    def test_a_number_is_not_given_twice(self, registry: WritableRegistry) -> None:
        registry.delete(BERT.child("3"))
        assert BERT.child("4") == registry.create(proposed(BERT.child("3")))
