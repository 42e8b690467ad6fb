"""Saving a metadata document of what is published changes it on the registry, or says why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mount.conftest import Mount, spec_of
from mounting import Mounted
from polling import wait_for
from published import BASE, held
from serving import Served, own_environ
from sims.content import BERT, plant

MODEL = "alice/bert/model-metadata.json"
INSTANCE = f"{BASE}/model-instance-metadata.json"
COMPLAINT = "METADATA_FAILED.txt"


class Desk:
    """A mount of a registry in which BERT is published, and a shell."""

    def __init__(self, mount: Mounted, registry: Path, folder: Path) -> None:
        self.mount = mount
        self._registry = registry
        self._folder = folder

    def text(self, path: str) -> str:
        return (self.mount.path / path).read_text()

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What a program complains of."""
        done = subprocess.run(
            command,
            cwd=cwd or self._folder,
            env=own_environ(self._folder / "home"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert bool(done.returncode) == bool(done.stderr), done
        return done.stderr

    def file(self, text: str) -> Path:
        """A file elsewhere that has this text."""
        path = self._folder / "edited.json"
        path.write_text(text)
        return path

    def told(self, path: str) -> dict[str, Any]:
        """The fields that the registry has."""
        with held(self._registry) as holdings:
            return holdings.metadata(path.rpartition("/")[0])


@pytest.fixture(scope="module", params=["local", "served"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("metadata")
    registry = folder / "registry"
    plant(registry, [BERT])
    with ExitStack() as stack:
        is_local = request.param == "local"
        spec, token = spec_of(registry if is_local else stack.enter_context(Served(registry)))
        yield Desk(stack.enter_context(Mounted(folder, spec, token=token)), registry, folder)


@pytest.fixture
def desk(shared: Desk) -> Iterator[Desk]:
    """One whose documents are, in the end, what they were."""
    texts = {path: shared.text(path) for path in (MODEL, INSTANCE)}
    yield shared
    for path, text in texts.items():
        assert "" == shared.run("cp", shared.file(text), shared.mount.path / path)
        wait_for(lambda path=path, text=text: text == shared.text(path), 5.0, "the first text")


# How people and programs change a document: given its path and another file with the new text.
WAYS = {
    "echo": 'cat "$2" > "$1"',
    "cp": 'cp "$2" "$1"',
    "mv from elsewhere": 'mv "$2" "$1"',
    "mv within": 'cp "$2" "$1.new" && mv "$1.new" "$1"',
    "install": 'install "$2" "$1"',
    "sed -i": "sed -i 's/of tests/of more tests/' \"$1\"",
    "vim": "vim -N -u NONE -es -c '%s/of tests/of more tests/' -c wq \"$1\"",
    "vim with a backup": "vim -N -u NONE -es -c 'set backup backupcopy=no'"
    " -c '%s/of tests/of more tests/' -c wq \"$1\"",
    "gio": 'gio copy "$2" "$1"',
    "rsync": 'rsync "$2" "$1"',
}


@pytest.mark.parametrize("script", WAYS.values(), ids=WAYS)
def test_a_saved_document_changes_the_registry(desk: Desk, script: str) -> None:
    if not shutil.which(program := script.split()[0]):
        pytest.skip(f"no {program}")
    before = desk.told(MODEL)
    text = desk.text(MODEL).replace("of tests", "of more tests")
    path = desk.mount.path / MODEL
    assert "" == desk.run("sh", "-ec", script, "-", path, desk.file(text))
    assert before | {"subtitle": "of more tests"} == desk.told(MODEL)
    wait_for(lambda: text == path.read_text(), 5.0, "the text is seen")
    kept = {name for name in os.listdir(path.parent) if not name.endswith("~")}
    assert {"model-metadata.json", "pytorch", "jax", "tensorflow2"} == kept


def test_an_instance_is_changed_too(desk: Desk) -> None:
    before = desk.told(INSTANCE)
    desk.run(
        "sed",
        "-i",
        's/"licenseName": ".*"/"licenseName": "Apache 2.0"/',
        desk.mount.path / INSTANCE,
    )
    assert before | {"licenseName": "Apache 2.0"} == desk.told(INSTANCE)
    with (desk.mount.path / INSTANCE).open("r+") as file:
        fields = json.load(file)
        file.seek(0)
        file.truncate()
        json.dump(fields | {"usage": "# Other use"}, file)
    assert before | {"licenseName": "Apache 2.0", "usage": "# Other use"} == desk.told(INSTANCE)


# What is done to the text, and a word that the complaint has.
WRONG = {
    "no JSON": ('"isPrivate"', '"isPrivate', "JSON"),
    "a wrong type": ('"isPrivate": false', '"isPrivate": "maybe"', "isPrivate"),
    "an empty title": ('"title": "BERT, größer"', '"title": ""', "title"),
    "another model": ('"slug": "bert"', '"slug": "other"', "slug"),
    "another owner": ('"ownerSlug": "alice"', '"ownerSlug": "bob"', "ownerSlug"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_makes_no_sense_is_refused_at_the_close(desk: Desk, kind: str) -> None:
    right, wrong, reason = WRONG[kind]
    before, old = desk.told(MODEL), desk.text(MODEL)
    assert old != (text := old.replace(right, wrong))
    path = desk.mount.path / MODEL
    assert "Invalid argument" in desk.run("cp", desk.file(text), path)
    assert before == desk.told(MODEL)
    wait_for(lambda: old == path.read_text(), 5.0, "the old text stays")
    complaint = desk.mount.path / "alice/bert" / COMPLAINT
    wait_for(complaint.exists, 5.0, "what the kernel took for missing is seen")
    assert "was not changed" in complaint.read_text()
    assert reason in complaint.read_text()
    assert COMPLAINT in os.listdir(complaint.parent)
    assert "" == desk.run("cp", desk.file(old.replace("of tests", "of mine")), path)
    assert "of mine" == desk.told(MODEL)["subtitle"]
    wait_for(lambda: not complaint.exists(), 5.0, "the complaint goes away")


def test_a_document_that_was_removed_is_not_listed_before_it_is_back(desk: Desk) -> None:
    path = desk.mount.path / MODEL
    path.unlink()
    assert path.name not in os.listdir(path.parent) or path.exists()
    wait_for(path.exists, 30.0, "the document is back")


def test_opening_and_reading_changes_nothing(desk: Desk) -> None:
    before = desk.text(MODEL)
    os.close(os.open(desk.mount.path / MODEL, os.O_RDWR))
    assert before == desk.text(MODEL)
    with (desk.mount.path / MODEL).open("r+") as file:
        file.write(before)
    assert before == desk.text(MODEL)
    assert not (desk.mount.path / "alice/bert" / COMPLAINT).exists()


def test_a_read_only_mount_edits_nothing(mounted: Mount, tmp_path: Path) -> None:
    plant(tmp_path / "registry", [BERT])
    mount = mounted(tmp_path / "registry", "--read-only")
    with pytest.raises(OSError, match="Read-only"):
        (mount.path / MODEL).write_text("{}")
