"""What cannot be right is refused with a sentence, before anything is written or sent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli.kaggle.conftest import BASE, Type
from published import held

_MODEL = {
    "ownerSlug": "alice",
    "slug": "new",
    "title": "New",
    "isPrivate": True,
    "description": "d",
}
_INSTANCE = {
    "ownerSlug": "alice",
    "modelSlug": "bert",
    "instanceSlug": "new",
    "framework": "jax",
    "licenseName": "MIT",
}

_COMMANDS = [
    # Names.
    (("models", "get", "a/b/c"), 1, "not a model: 'a/b/c'"),
    (("models", "get", ""), 1, "not a model"),
    (("models", "get", "alice/../x"), 1, "not a model"),
    (("models", "get", "alice/never"), 1, "alice/never"),
    (("models", "delete", "alice/never", "-y"), 1, "alice/never"),
    (("mi", "get", "alice/bert"), 1, "not a model instance"),
    (("mi", "get", "alice/bert/nope/base"), 1, "framework is not known: 'nope'"),
    (("mi", "get", "alice/bert//base"), 1, "a part is empty"),
    (("mi", "get", "alice/bert/jax/never"), 1, "alice/bert/jax/never"),
    (("mi", "files", BASE + "/1"), 1, "not a model instance"),
    (("mi", "files", "alice/bert/jax/never"), 1, "alice/bert/jax/never"),
    (("mi", "list", "alice/never"), 1, "alice/never"),
    (("mi", "delete", "alice/bert/jax/never", "-y"), 1, "alice/bert/jax/never"),
    (("miv", "list", "x"), 1, "not a model instance"),
    (("miv", "list", "alice/bert/jax/never"), 1, "alice/bert/jax/never"),
    (("miv", "files", BASE), 1, "not a version"),
    (("miv", "files", BASE + "/x"), 1, "not the number of a version: 'x'"),
    (("miv", "files", BASE + "/0"), 1, "not the number of a version: '0'"),
    (("miv", "files", BASE + "/99"), 1, BASE + "/99"),
    (("miv", "download", BASE + "/99", "-p", "out"), 1, BASE + "/99"),
    (("miv", "download", BASE + "/1", "--file", "nope"), 1, "no such file"),
    (("miv", "download", BASE + "/1", "--file", "../registry"), 1, "no such file"),
    (("miv", "delete", BASE + "/99", "-y"), 1, BASE + "/99"),
    (("miv", "create", "alice/bert/jax/never", "-p", "."), 1, "alice/bert/jax/never"),
    (("miv", "create", BASE + "/3", "-p", "."), 1, "not a model instance"),
    # Pages and formats.
    (("miv", "list", BASE, "--page-size", "0"), 2, "page size is less than 1: 0"),
    (("miv", "list", BASE, "--page-size", "-3"), 2, "page size is less than 1: -3"),
    (("miv", "list", BASE, "--page-size", "many"), 2, "'many' is not a valid integer"),
    (("miv", "list", BASE, "--page-token", "abcd"), 1, "page token is not one of ours"),
    (("models", "list", "--page-token", "\u2603"), 1, "page token is not one of ours"),
    (("models", "list", "--page-size", "0"), 2, "page size is less than 1: 0"),
    (("models", "list", "--sort-by", "beauty"), 1, "order is not known: 'beauty'"),
    (("models", "list", "--format", "xml"), 2, "not a format: 'xml'"),
    (("models", "list", "--format", "json(ref"), 2, "not a format"),
    (("models", "list", "--format", "json(nope)"), 2, "no such field: 'nope'"),
    (("models", "list", "--format", "json", "-v"), 2, "exclude each other"),
    # Options and words.
    (("miv", "create", BASE, "-r", "rar"), 2, "'rar' is not one of"),
    (("miv", "create", BASE, "-n"), 2, "requires an argument"),
    (("miv", "create"), 2, "Missing argument"),
    (("miv", "versions"), 2, "No such command"),
    (("miv", "files", BASE + "/1", "extra"), 2, "unexpected extra argument"),
    (("models", "--nope"), 2, "No such option"),
    # Folders.
    (("models", "init", "-p", "nope"), 1, "not a folder: nope"),
    (("models", "create", "-p", "nope"), 1, "not a folder: nope"),
    (("models", "get", "alice/bert", "-p", "nope"), 1, "not a folder: nope"),
    (("models", "create"), 1, "here/model-metadata.json"),
    (("models", "update"), 1, "here/model-metadata.json"),
    (("mi", "create"), 1, "here/model-instance-metadata.json"),
    (("mi", "update"), 1, "here/model-instance-metadata.json"),
    (("miv", "create", BASE, "-p", "nope"), 1, "not a folder: nope"),
    (("miv", "create", BASE), 1, "nothing to publish"),
    # Registries.
    (("models", "list", "--registry", "nope"), 2, "not a registry: 'nope'"),
    (("models", "list", "--registry", "local:/nope"), 2, "no such directory: /nope"),
    (("models", "list", "--token-file", "nope", "--registry", "kaggle+http://h:1"), 2, "nope"),
]


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _is_unchanged(registry: Path) -> bool:
    with held(registry) as holdings:
        return (["1", "2"], ["bert"]) == (holdings.names(BASE), holdings.names("alice"))


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    _COMMANDS,
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_it_is_refused_with_a_sentence(
    typed: Type, folder: Path, registry: Path, words: tuple[str, ...], status: int, reason: str
) -> None:
    said = typed(*words)
    assert (status, "") == (said.status, said.stdout), said
    assert reason in said.stderr
    sentence = [
        line for line in said.stderr.splitlines() if line.startswith(("modelfs: ", "Error: "))
    ]
    assert 1 == len(sentence), said.stderr
    assert {} == _contents(folder)
    assert _is_unchanged(registry)


_FILES: list[tuple[str, Any, str]] = [
    ("model", "", "not JSON: line 1"),
    ("model", "{", "not JSON: line 1"),
    ("model", "[]", "not a JSON object"),
    ("model", b"\xff\xfe", "not UTF-8 text"),
    ("model", "[" * 100_000, "not JSON"),
    ("model", "{" + " " * (2 << 20) + "}", "larger than"),
    ("model", {}, "key is missing: ownerSlug"),
    *[
        ("model", {key: value for key, value in _MODEL.items() if key != missing}, missing)
        for missing in _MODEL
    ],
    ("model", _MODEL | {"slug": "INSERT_SLUG_HERE"}, "placeholder: INSERT_SLUG_HERE"),
    ("model", _MODEL | {"title": "INSERT_TITLE_HERE"}, "placeholder: INSERT_TITLE_HERE"),
    ("model", _MODEL | {"title": " "}, "title is empty"),
    ("model", _MODEL | {"title": 3}, "title is not a text"),
    ("model", _MODEL | {"slug": "Up per"}, "not a name of a new model: 'Up per'"),
    ("model", _MODEL | {"slug": "a/b"}, "slug is not a name, it holds a slash"),
    ("model", _MODEL | {"slug": ".."}, "slug is not a name"),
    ("model", _MODEL | {"slug": 3}, "slug is not a text"),
    ("model", _MODEL | {"slug": "bert"}, "exists"),
    ("model", _MODEL | {"isPrivate": "yes"}, "isPrivate is neither true nor false"),
    ("model", _MODEL | {"publishTime": "soon"}, "publishTime is not a date"),
    ("model", _MODEL | {"publishTime": "2024-02-30"}, "publishTime is not a date"),
    ("instance", "", "not JSON"),
    *[
        ("instance", {key: value for key, value in _INSTANCE.items() if key != missing}, missing)
        for missing in _INSTANCE
    ],
    ("instance", _INSTANCE | {"framework": "nope"}, "framework is not known: 'nope'"),
    ("instance", _INSTANCE | {"framework": 3}, "framework is not a text"),
    ("instance", _INSTANCE | {"modelSlug": "never"}, "alice/never"),
    ("instance", _INSTANCE | {"licenseName": ""}, "licenseName is empty"),
    ("instance", _INSTANCE | {"fineTunable": 1}, "fineTunable is neither true nor false"),
    ("instance", _INSTANCE | {"trainingData": "x"}, "trainingData is not a list"),
    ("instance", _INSTANCE | {"modelInstanceType": "Huge"}, "type is not known: 'Huge'"),
    ("instance", _INSTANCE | {"baseModelInstance": "x"}, "baseModelInstance is not like"),
    ("instance", _INSTANCE | {"instanceSlug": "a b"}, "not a name of a new instance: 'a b'"),
    (
        "instance",
        _INSTANCE | {"framework": "pytorch", "instanceSlug": "base"},
        "instance exists: alice/bert/pytorch/base",
    ),
]


@pytest.mark.parametrize(
    ("kind", "content", "reason"), _FILES, ids=[f"{k}-{r}" for k, _, r in _FILES]
)
def test_a_metadata_file_that_cannot_be_right_creates_nothing(
    typed: Type, folder: Path, registry: Path, kind: str, content: Any, reason: str
) -> None:
    name = "model-metadata.json" if kind == "model" else "model-instance-metadata.json"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "w").write_bytes(b"weights")
    said = typed("models" if kind == "model" else "mi", "create")
    assert (1, "") == (said.status, said.stdout), said
    assert reason in said.stderr
    assert 1 == sum(line.startswith("modelfs: ") for line in said.stderr.splitlines())
    assert _is_unchanged(registry)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("data.zip", "would unpack an archive that is in no folder"),
        ("bad\udc80name", "cannot be published"),
        ("new\nline", "cannot be published"),
    ],
)
def test_a_file_that_no_version_can_have_creates_nothing(
    typed: Type, folder: Path, registry: Path, file: str, reason: str
) -> None:
    (folder / os.fsencode(file).decode(errors="surrogateescape")).write_bytes(b"x")
    said = typed("miv", "create", BASE)
    assert (1, "") == (said.status, said.stdout), said
    assert reason in said.stderr
    assert _is_unchanged(registry)


def test_an_update_of_something_else_changes_nothing(
    typed: Type, folder: Path, registry: Path
) -> None:
    for fields, reason in [
        ({"ownerSlug": "alice", "slug": "never", "title": "x"}, "alice/never"),
        ({"ownerSlug": "alice", "slug": "bert", "title": ""}, "title is empty"),
        ({"ownerSlug": "alice", "slug": "bert", "isPrivate": 0}, "isPrivate is neither"),
    ]:
        (folder / "model-metadata.json").write_text(json.dumps(fields))
        said = typed("models", "update")
        assert (1, "") == (said.status, said.stdout), said
        assert reason in said.stderr
    with held(registry) as holdings:
        assert "Bert" == holdings.metadata("alice/bert")["title"]


def test_nobody_who_is_asked_and_does_not_answer_agrees(typed: Type, registry: Path) -> None:
    said = typed("miv", "delete", BASE + "/1", answer="")
    assert 1 == said.status
    assert said.stdout.startswith(
        f"Are you sure you want to delete the version {BASE}/1? [yes/no] "
    )
    assert "nobody answered, so nothing was deleted" in said.stderr
    assert _is_unchanged(registry)


@pytest.mark.parametrize("answer", ["no\n", "N\n", "maybe\n", "\n", "yes please\n", "no"])
def test_whoever_does_not_agree_has_cancelled(typed: Type, registry: Path, answer: str) -> None:
    said = typed("miv", "delete", BASE + "/1", answer=answer)
    assert (0, "") == (said.status, said.stderr)
    assert said.stdout.endswith("Deletion cancelled\n")
    assert _is_unchanged(registry)


@pytest.mark.parametrize("answer", ["yes\n", "Y\n", "YES\n", "y"])
def test_whoever_agrees_has_it_deleted(typed: Type, registry: Path, answer: str) -> None:
    said = typed("miv", "delete", BASE + "/1", answer=answer)
    assert (0, "") == (said.status, said.stderr)
    assert said.stdout.endswith("The model instance version was deleted.\n")
    with held(registry) as holdings:
        assert ["2"] == holdings.names(BASE)
