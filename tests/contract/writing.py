"""What every registry that can be written must do: one suite, a subclass per backend.

A subclass gives the fixture `registry`, writable, for the user alice, and empty at first.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pytest

from contract.suite import drained, names, ref
from modelfs.errors import Corrupt, Error, Exists, Expired, InvalidName, NotFound, Unsupported
from modelfs.model import NOTES, Bundle, Digests, Document, Part
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry

INSTANCE = ref("alice/bert/pytorch/base")
FILES = {
    "config.json": b'{"layers": 2}',
    "empty": b"",
    "weights.bin": os.urandom(300_000),
    "deep/a/b/c.txt": b"c",
    "deep/a/d.txt": b"d",
    "grüße/模型 🤗.bin": b"odd",
    ".hidden": b"h",
    "deep/archive.zip": b"no archive",
}


def digests(content: bytes) -> Digests:
    return Digests(
        md5=hashlib.md5(content).hexdigest(),
        crc32c=f"{google_crc32c.value(content):08x}",
        sha256=hashlib.sha256(content).hexdigest(),
    )


def part(path: str, content: bytes) -> Part:
    return Part(path, len(content), 1_700_000_000.5, digests(content))


class Sender:
    """Uploads and publishes what is given as `{path: content}`."""

    def __init__(self, registry: WritableRegistry, directory: Path) -> None:
        self.registry = registry
        self._directory = directory

    def send(self, session: str, item: Part, content: bytes) -> tuple[str, list[int]]:
        """The token, and the progress that was told."""
        told: list[int] = []
        path = self._directory / "being-sent"
        path.write_bytes(content)
        fd = os.open(path, os.O_RDONLY)
        try:
            return self.registry.send(session, item, fd, told.append), told
        finally:
            os.close(fd)

    def uploaded(self, files: Mapping[str, bytes]) -> tuple[Part, ...]:
        parts = []
        for path, content in files.items():
            item = part(path, content)
            token, told = self.send(self.registry.begin(item), item, content)
            assert told == sorted(told)
            assert not told or told[-1] == len(content)
            parts.append(replace(item, token=token))
        return tuple(parts)

    def parents(self, version: Ref) -> tuple[tuple[Ref, tuple[Document, ...]], ...]:
        """Blank documents for whatever does not exist above `version`."""
        missing = []
        for above in list(version.ancestors())[1:]:
            try:
                self.registry.stat(above)
            except NotFound:
                missing.append((above, self.registry.blank(above)))
        return tuple(missing)

    def publish(self, files: Mapping[str, bytes], notes: str = "", instance: Ref = INSTANCE) -> Ref:
        version = instance.child("new")
        bundle = self.bundle(version, self.uploaded(files), notes)
        self.registry.check(bundle)
        return self.registry.create(bundle)

    def bundle(self, version: Ref, parts: tuple[Part, ...], notes: str = "") -> Bundle:
        documents = (Document(NOTES, f"{notes}\n".encode()),) if notes else ()
        return Bundle(version, parts, documents, self.parents(version))


def edited(document: Document, **changes: object) -> Document:
    return replace(document, content=json.dumps(json.loads(document.content) | changes).encode())


def without(document: Document, *keys: str) -> Document:
    told = json.loads(document.content)
    return replace(
        document, content=json.dumps({k: v for k, v in told.items() if k not in keys}).encode()
    )


class WritingContract:
    """The suite."""

    @pytest.fixture
    def sender(self, registry: WritableRegistry, tmp_path: Path) -> Sender:
        return Sender(registry, tmp_path)

    def test_it_says_that_it_can_be_written(self, registry: WritableRegistry) -> None:
        assert registry.traits.is_writable

    # Before anything is sent

    def test_blank_documents_are_filled_in_from_the_path(self, registry: WritableRegistry) -> None:
        (model,) = registry.blank(INSTANCE.parent.parent)
        assert registry.traits.documents[1] == (model.name,)
        told = json.loads(model.content)
        assert ("alice", "bert", "bert", True) == (
            told["ownerSlug"],
            told["slug"],
            told["title"],
            told["isPrivate"],
        )
        (instance,) = registry.blank(ref("alice/bert/PyTorch/base"))
        assert registry.traits.documents[3] == (instance.name,)
        told = json.loads(instance.content)
        assert ("alice", "bert", "pyTorch", "base", "MIT") == (
            told["ownerSlug"],
            told["modelSlug"],
            told["framework"],
            told["instanceSlug"],
            told["licenseName"],
        )
        assert "INSERT_" not in f"{model.content!r}{instance.content!r}"
        assert () == registry.blank(ref("alice")) == registry.blank(ref("alice/bert/jax"))

    @pytest.mark.parametrize(
        "text",
        [
            "Alice",
            "al ice",
            "alice/Bert",
            "alice/be_rt",
            "alice/-bert",
            "alice/bert/paytorch",
            "alice/bert/jax/größe",
            "alice/bert/jax/ba se",
            "alice/bert/jax/.base",
            "alice/bert/jax/base/1",
        ],
    )
    def test_a_name_that_cannot_be_has_no_blank_documents(
        self, registry: WritableRegistry, text: str
    ) -> None:
        with pytest.raises(InvalidName):
            registry.blank(ref(text))

    def test_blank_documents_pass_the_check(self, sender: Sender) -> None:
        sender.registry.check(sender.bundle(INSTANCE.child("1"), (part("w", b"w"),), "notes"))

    @pytest.mark.parametrize(
        "path", [NOTES, "data.zip", "data.TAR", "../x", "a//b", ".modelfs/x", "d/" * 150 + "f"]
    )
    def test_a_file_that_cannot_be_published_is_refused(self, sender: Sender, path: str) -> None:
        bundle = sender.bundle(INSTANCE.child("1"), (part("w", b"w"), part(path, b"x")), "notes")
        with pytest.raises(InvalidName, match=r"\w"):
            sender.registry.check(bundle)

    def test_a_file_beside_a_folder_of_its_name_is_refused(self, sender: Sender) -> None:
        bundle = sender.bundle(INSTANCE.child("1"), (part("a", b""), part("a/b", b"")))
        with pytest.raises(InvalidName):
            sender.registry.check(bundle)

    @pytest.mark.parametrize(
        "changes",
        [
            {"title": ""},
            {"title": 7},
            {"title": "INSERT_TITLE_HERE"},
            {"slug": "other"},
            {"ownerSlug": "bob"},
            {"isPrivate": "yes"},
            {"publishTime": "soon"},
            {"publishTime": "2024-02-30"},
            {"description": None},
        ],
    )
    def test_a_model_document_that_cannot_be_is_refused(
        self, sender: Sender, changes: dict[str, object]
    ) -> None:
        self._refuses(sender, 2, lambda document: edited(document, **changes))

    @pytest.mark.parametrize(
        "changes",
        [
            {"licenseName": ""},
            {"licenseName": " "},
            {"framework": "jax"},
            {"framework": "INSERT_FRAMEWORK_HERE"},
            {"instanceSlug": "large"},
            {"modelInstanceType": "Base Model"},
            {"fineTunable": "false"},
            {"trainingData": "data"},
            {"trainingData": [1]},
            {"baseModelInstance": "bert"},
        ],
    )
    def test_an_instance_document_that_cannot_be_is_refused(
        self, sender: Sender, changes: dict[str, object]
    ) -> None:
        self._refuses(sender, 4, lambda document: edited(document, **changes))

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"\xff", b'"text"', b"[" * 100_000, b" " * (2 << 20)]
    )
    def test_what_is_no_document_is_refused(self, sender: Sender, content: bytes) -> None:
        self._refuses(sender, 2, lambda document: replace(document, content=content))

    @pytest.mark.parametrize(
        ("depth", "key"),
        [
            (2, "ownerSlug"),
            (2, "title"),
            (2, "isPrivate"),
            (2, "description"),
            (4, "modelSlug"),
            (4, "licenseName"),
            (4, "framework"),
        ],
    )
    def test_a_document_without_what_it_needs_is_refused(
        self, sender: Sender, depth: int, key: str
    ) -> None:
        self._refuses(sender, depth, lambda document: without(document, key), key)

    def _refuses(
        self,
        sender: Sender,
        depth: int,
        change: Callable[[Document], Document],
        word: str = r"\.json",
    ) -> None:
        bundle = sender.bundle(INSTANCE.child("1"), (), "notes")
        parents = tuple(
            (above, tuple(map(change, found)) if above.depth == depth else found)
            for above, found in bundle.parents
        )
        with pytest.raises(Error, match=word) as caught:
            sender.registry.check(replace(bundle, parents=parents))
        assert caught.value.status in (400, 413)

    def test_notes_that_are_not_text_are_refused(self, sender: Sender) -> None:
        bundle = replace(
            sender.bundle(INSTANCE.child("1"), ()), documents=(Document(NOTES, b"\xff"),)
        )
        with pytest.raises(InvalidName):
            sender.registry.check(bundle)

    # Publishing

    def test_a_new_model_is_published_whole(self, sender: Sender) -> None:
        registry = sender.registry
        version = sender.publish(FILES, "größer")
        assert INSTANCE.child("1") == version
        manifest = registry.manifest(version)
        assert dict(sorted((path, len(data)) for path, data in FILES.items())) == {
            file.path: file.size for file in manifest.files
        }
        for file in manifest.files:
            if file.size:
                assert FILES[file.path] == drained(registry.open(version, file, 0, file.size))
        assert ["größer\n".encode()] == [document.content for document in manifest.documents]
        assert ["1"] == names(registry, str(INSTANCE))
        assert ["base"] == names(registry, "alice/bert/pytorch")
        assert "bert" in names(registry, "alice")

    def test_the_next_version_is_the_next_number(self, sender: Sender) -> None:
        registry = sender.registry
        sender.publish({"w": b"1"}, "one")
        assert ["1"] == names(registry, str(INSTANCE))
        with pytest.raises(NotFound):
            registry.manifest(INSTANCE.child("2"))
        assert INSTANCE.child("2") == sender.publish({"w": b"22"}, "two")
        assert ["1", "2"] == names(registry, str(INSTANCE))
        found = registry.manifest(INSTANCE.child("2"))
        assert [("w", 2)] == [(file.path, file.size) for file in found.files]
        assert [b"two\n"] == [document.content for document in found.documents]

    def test_many_files_are_published_at_once(self, sender: Sender) -> None:
        files = {f"d{n % 7}/part-{n:05}": f"{n}".encode() for n in range(120)}
        version = sender.publish(files)
        assert sorted(files) == [file.path for file in sender.registry.manifest(version).files]

    def test_an_archive_is_unpacked_as_it_is(self, sender: Sender) -> None:
        """Where the registry says that it does so: names, folders, empty files and all."""
        name = sender.registry.traits.archive
        if not name:
            return
        many = {**FILES, **{f"many/{n}": b"%d" % n for n in range(60)}}
        large = {"deep/weights.bin": os.urandom(50_000)}
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as packed:
            for path, content in many.items():
                packed.writestr(path, content)
        (archive,) = sender.uploaded({name: file.getvalue()})
        parts = (*(part(path, content) for path, content in many.items()), *sender.uploaded(large))
        bundle = replace(sender.bundle(INSTANCE.child("new"), parts, "packed"), archive=archive)
        version = sender.registry.create(bundle)
        manifest = sender.registry.manifest(version)
        assert {p: len(c) for p, c in (many | large).items()} == {
            file.path: file.size for file in manifest.files
        }
        for file in manifest.files:
            expected = (many | large)[file.path]
            if file.size:
                body = sender.registry.open(version, file, 0, file.size)
                assert expected == drained(body)
        # Asked again, it is this very version.
        assert version == sender.registry.create(bundle)

    def test_a_version_may_have_no_files(self, sender: Sender) -> None:
        assert () == sender.registry.manifest(sender.publish({}, "nothing")).files

    def test_what_was_not_there_is_found_once_it_is_published(self, sender: Sender) -> None:
        registry = sender.registry
        for text in ("alice/bert", "alice/bert/pytorch/base"):
            with pytest.raises(NotFound):
                registry.stat(ref(text))
        sender.publish({"w": b"w"})
        for text in ("alice/bert", "alice/bert/pytorch", "alice/bert/pytorch/base"):
            assert ref(text).name == registry.stat(ref(text)).name

    def test_a_model_that_meanwhile_exists_is_no_obstacle(self, sender: Sender) -> None:
        bundle = sender.bundle(INSTANCE.child("1"), sender.uploaded({"w": b"w"}))
        sender.publish({"x": b"x"}, instance=ref("alice/bert/jax/other"))
        assert INSTANCE.child("1") == sender.registry.create(bundle)

    def test_an_instance_that_meanwhile_exists_is_told(self, sender: Sender) -> None:
        bundle = sender.bundle(INSTANCE.child("1"), sender.uploaded({"w": b"w"}))
        sender.publish({"x": b"x"})
        with pytest.raises(Exists, match="base"):
            sender.registry.create(bundle)
        assert ["1"] == names(sender.registry, str(INSTANCE))

    def test_a_create_that_is_repeated_makes_no_second_version(self, sender: Sender) -> None:
        first = sender.bundle(INSTANCE.child("1"), sender.uploaded({"w": b"w"}), "notes")
        for _ in range(2):
            assert INSTANCE.child("1") == sender.registry.create(first)
        second = sender.bundle(INSTANCE.child("2"), sender.uploaded({"w": b"w"}), "notes")
        for _ in range(2):
            assert INSTANCE.child("2") == sender.registry.create(second)
        assert ["1", "2"] == names(sender.registry, str(INSTANCE))

    def test_the_documents_are_what_was_written(self, sender: Sender) -> None:
        registry = sender.registry
        bundle = sender.bundle(INSTANCE.child("1"), ())
        changes: dict[int, dict[str, object]] = {
            2: {"title": "Größe", "isPrivate": False, "publishTime": "2024-02-29"},
            4: {
                "licenseName": "CC0: Public Domain",
                "modelInstanceType": "KaggleVariant",
                "fineTunable": True,
                "trainingData": ["a/b"],
                "externalBaseModelUrl": "https://example.org/x",
            },
        }
        parents = tuple(
            (above, tuple(edited(item, **changes[above.depth]) for item in found))
            for above, found in bundle.parents
        )
        registry.create(replace(bundle, parents=parents))
        for above, found in parents:
            if found:
                (told,) = registry.documents(above)
                assert json.loads(found[0].content) == json.loads(told.content)

    # Bytes

    def test_an_upload_goes_on_after_it_was_interrupted(self, sender: Sender) -> None:
        # More than sockets hold, so that some of it has arrived for certain.
        content = os.urandom(24 << 20)
        item = part("w", content)
        session = sender.registry.begin(item)

        class StopError(Exception):
            pass

        def stop(count: int) -> None:
            if count >= 20 << 20:
                raise StopError

        path = sender._directory / "w"
        path.write_bytes(content)
        fd = os.open(path, os.O_RDONLY)
        with pytest.raises(StopError):
            sender.registry.send(session, item, fd, stop)
        os.close(fd)
        token, told = sender.send(session, item, content)
        assert told[0] > 0
        assert told[-1] == len(content)
        parts = (replace(item, token=token),)
        version = sender.registry.create(sender.bundle(INSTANCE.child("1"), parts))
        (file,) = sender.registry.manifest(version).files
        assert content == drained(sender.registry.open(version, file, 0, file.size))

    def test_a_finished_upload_is_not_sent_again(self, sender: Sender) -> None:
        item = part("w", b"content")
        session = sender.registry.begin(item)
        first, _ = sender.send(session, item, b"content")
        # Nothing of the file is read: it is confirmed by what the registry has.
        again, told = sender.send(session, item, b"")
        assert first == again
        assert told[-1] == 7

    def test_other_bytes_than_announced_are_corrupt(self, sender: Sender) -> None:
        item = part("w", b"content")
        with pytest.raises(Corrupt):
            sender.send(sender.registry.begin(item), item, b"CONTENT")

    def test_a_file_that_got_shorter_is_corrupt(self, sender: Sender) -> None:
        item = part("w", b"content")
        with pytest.raises(Corrupt):
            sender.send(sender.registry.begin(item), item, b"con")

    def test_an_upload_that_is_gone_has_expired(self, sender: Sender) -> None:
        item = part("w", b"content")
        session = sender.registry.begin(item)
        self.forget_uploads(sender.registry)
        with pytest.raises(Expired):
            sender.send(session, item, b"content")

    @pytest.mark.parametrize("session", ["", "{}", "[]", "nonsense", '{"token": 1, "url": 2}'])
    def test_a_session_that_is_none_has_expired(self, sender: Sender, session: str) -> None:
        with pytest.raises(Expired):
            sender.send(session, part("w", b"w"), b"w")

    def forget_uploads(self, registry: WritableRegistry) -> None:
        raise NotImplementedError

    def test_an_upload_that_is_not_complete_is_not_published(self, sender: Sender) -> None:
        sender.publish({"w": b"w"})
        item = part("x", b"content")
        token = sender.registry.begin(item)
        token = json.loads(token)["token"] if token.startswith("{") else token
        with pytest.raises(Error):
            sender.registry.create(
                sender.bundle(INSTANCE.child("2"), (replace(item, token=token),))
            )
        assert ["1"] == names(sender.registry, str(INSTANCE))

    # Changing and deleting

    def test_a_document_changes_what_it_says(self, sender: Sender) -> None:
        registry = sender.registry
        sender.publish({"w": b"w"})
        model = ref("alice/bert")
        for place, changes in (
            (model, {"title": "New", "isPrivate": False, "publishTime": "2025-01-01"}),
            (INSTANCE, {"usage": "so", "licenseName": "MIT", "fineTunable": True}),
        ):
            (before,) = registry.documents(place)
            registry.update(place, edited(before, **changes))
            (after,) = registry.documents(place)
            assert json.loads(before.content) | changes == json.loads(after.content)

    def test_a_key_that_is_left_out_stays_as_it_is(self, sender: Sender) -> None:
        registry = sender.registry
        sender.publish({"w": b"w"})
        (before,) = registry.documents(INSTANCE)
        registry.update(INSTANCE, without(before, "overview", "usage", "licenseName"))
        assert json.loads(before.content) == json.loads(registry.documents(INSTANCE)[0].content)

    @pytest.mark.parametrize(
        ("text", "changes"),
        [
            ("alice/bert", {"slug": "other"}),
            ("alice/bert", {"ownerSlug": "bob"}),
            ("alice/bert", {"title": ""}),
            ("alice/bert/pytorch/base", {"framework": "jax"}),
            ("alice/bert/pytorch/base", {"modelSlug": "other"}),
            ("alice/bert/pytorch/base", {"licenseName": ""}),
        ],
    )
    def test_what_something_is_called_cannot_be_changed(
        self, sender: Sender, text: str, changes: dict[str, object]
    ) -> None:
        sender.publish({"w": b"w"})
        (before,) = sender.registry.documents(ref(text))
        with pytest.raises(InvalidName):
            sender.registry.update(ref(text), edited(before, **changes))
        (after,) = sender.registry.documents(ref(text))
        assert before.content == after.content

    def test_a_model_can_be_without_a_version(self, registry: WritableRegistry) -> None:
        model = INSTANCE.parent.parent
        (document,) = registry.blank(model)
        registry.add(model, (edited(document, title="Added"),))
        assert "Added" == registry.item(model).facts["title"]
        assert () == registry.children(model)
        with pytest.raises(Exists):
            registry.add(model, (document,))

    def test_an_instance_cannot_be_without_a_version(self, registry: WritableRegistry) -> None:
        model = INSTANCE.parent.parent
        registry.add(model, registry.blank(model))
        for place in (INSTANCE, INSTANCE.parent, ref("alice")):
            with pytest.raises(Unsupported):
                registry.add(place, registry.blank(place))

    @pytest.mark.parametrize("changes", [{"title": ""}, {"slug": "other"}, {"isPrivate": "no"}])
    def test_a_model_is_not_added_with_a_document_that_is_wrong(
        self, registry: WritableRegistry, changes: dict[str, object]
    ) -> None:
        model = INSTANCE.parent.parent
        (document,) = registry.blank(model)
        for documents in ((edited(document, **changes),), ()):
            with pytest.raises(InvalidName):
                registry.add(model, documents)
        with pytest.raises(InvalidName):
            registry.add(ref("alice/be_rt"), (edited(document, slug="be_rt"),))
        with pytest.raises(NotFound):
            registry.stat(model)

    def test_levels_without_documents_cannot_be_changed(self, sender: Sender) -> None:
        sender.publish({"w": b"w"})
        with pytest.raises(InvalidName):
            sender.registry.update(ref("alice/bert/pytorch"), Document("x.json", b"{}"))

    def test_what_is_deleted_is_gone_with_all_below(self, sender: Sender) -> None:
        registry = sender.registry
        sender.publish({"w": b"1"})
        sender.publish({"w": b"2"})
        sender.publish({"x": b"x"}, instance=ref("alice/bert/jax/other"))
        assert ["1", "2"] == names(registry, str(INSTANCE))
        registry.manifest(INSTANCE.child("1"))
        registry.delete(INSTANCE.child("1"))
        assert ["2"] == names(registry, str(INSTANCE))
        with pytest.raises(NotFound):
            registry.manifest(INSTANCE.child("1"))
        registry.delete(INSTANCE)
        with pytest.raises(NotFound):
            registry.stat(INSTANCE)
        assert ["jax"] == names(registry, "alice/bert")
        registry.delete(ref("alice/bert"))
        with pytest.raises(NotFound):
            registry.stat(ref("alice/bert"))

    @pytest.mark.parametrize(
        "text",
        ["alice/nothing", "alice/bert/jax/nothing", "alice/bert/pytorch/base/7"],
    )
    def test_what_is_gone_can_be_deleted(self, sender: Sender, text: str) -> None:
        sender.publish({"w": b"w"})
        sender.registry.delete(ref(text))

    @pytest.mark.parametrize("text", ["alice", "alice/bert/pytorch"])
    def test_levels_that_are_nothing_in_themselves_cannot_be_deleted(
        self, sender: Sender, text: str
    ) -> None:
        sender.publish({"w": b"w"})
        with pytest.raises(Unsupported):
            sender.registry.delete(ref(text))

    def test_a_number_is_not_given_twice(self, sender: Sender) -> None:
        sender.publish({"w": b"1"})
        sender.registry.delete(sender.publish({"w": b"2"}))
        assert INSTANCE.child("3") == sender.publish({"w": b"3"})
