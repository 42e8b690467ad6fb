"""WriftAI in a mount: versions are documents, published and changed as files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.documents import SAMPLE
from mounting import Mounted
from polling import wait_for
from published import BASE, settled
from serving import own_environ
from sims.content import BERT, plant
from sims.raw import DROP
from sims.wriftai import SCHEMAS, WriftAI, digest

FILES = ["NOTES", "container_image_digest", "schemas.json", "version.json"]


@pytest.fixture
def service() -> Iterator[WriftAI]:
    with WriftAI(token="secret", user="alice") as service:
        for owner, name, fields, notes in SAMPLE:
            service.add_model(owner, name, **fields)
            for text, letter in zip(notes, "abcdef" * 2, strict=False):
                service.add_version(owner, name, text, letter)
        yield service


@pytest.fixture
def mount(service: WriftAI, tmp_path: Path) -> Iterator[Mounted]:
    with Mounted(
        tmp_path / "m", f"wriftai+{service.url}", "--allow-delete", token=service.token
    ) as mount:
        yield mount


def shell(command: str, where: Path) -> str:
    """What a shell complains of."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=where,
        env=own_environ(where.parent.parent / "home"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stderr


def version(mount: Mounted, service: WriftAI, number: int) -> dict[str, object]:
    """What the service has of a version of bert, once it is there."""
    model = service.models["alice", "bert"]
    wait_for(lambda: number in model.versions, 30.0, f"version {number}: {mount.log}")
    wait_for((mount.path / f"alice/bert/{number}/version.json").exists, 30.0)
    return model.versions[number]


def write_files(where: Path, letter: str = "e") -> None:
    (where / "schemas.json").write_text(json.dumps(SCHEMAS))
    (where / "container_image_digest").write_text(f"{digest(letter)}\n")


def test_the_tree_is_owners_models_versions(mount: Mounted) -> None:
    assert ["alice"] == os.listdir(mount.path)
    assert "bert" in os.listdir(mount.path / "alice")
    assert ["1", "2", "3", "latest", "model.json"] == sorted(os.listdir(mount.path / "alice/bert"))
    assert "3" == os.readlink(mount.path / "alice/bert/latest")
    assert FILES == sorted(os.listdir(mount.path / "alice/bert/2"))
    assert "bob's\n" == (mount.path / "bob-b/single/1/NOTES").read_text()
    assert f"{digest('b')}\n" == (mount.path / "alice/bert/2/container_image_digest").read_text()
    assert SCHEMAS == json.loads((mount.path / "alice/bert/latest/schemas.json").read_text())
    assert not (mount.path / "alice/bert/4").exists()
    assert not (mount.path / "bob-b/secret").exists()
    with pytest.raises(OSError, match="Read-only"):
        (mount.path / "alice/bert/2/schemas.json").write_text("{}")


def test_notes_publish_a_version(mount: Mounted, service: WriftAI) -> None:
    draft = mount.path / "alice/bert/4"
    draft.mkdir()
    write_files(draft)
    assert "" == shell("echo 'the fourth, größer' > 4/NOTES", draft.parent)
    found = version(mount, service, 4)
    assert ("the fourth, größer", digest("e")) == (
        found["release_notes"],
        found["container_image_digest"],
    )
    wait_for(lambda: FILES == sorted(os.listdir(draft)), 30.0)
    assert SCHEMAS == json.loads((draft / "schemas.json").read_text())


def test_a_copied_version_is_a_new_version(mount: Mounted, service: WriftAI) -> None:
    service.models["alice", "bert"].versions[2]["compatibilities"]["openai_responses"] = True
    assert "" == shell("cp -r 2 copy", mount.path / "alice/bert")
    found = version(mount, service, 4)
    assert (SAMPLE[0][3][1], digest("b")) == (
        found["release_notes"],
        found["container_image_digest"],
    )
    assert found["compatibilities"]["openai_responses"] is True  # type: ignore[index]
    wait_for((mount.path / "alice/bert/copy").is_symlink, 30.0)
    assert "4" == os.readlink(mount.path / "alice/bert/copy")


def test_an_answer_that_is_lost_makes_no_second_version(mount: Mounted, service: WriftAI) -> None:
    service.lost.append([DROP])
    draft = mount.path / "alice/bert/new"
    draft.mkdir()
    write_files(draft)
    shell("echo notes > new/NOTES", draft.parent)
    version(mount, service, 4)
    wait_for(draft.is_symlink, 30.0)
    assert 4 == len(service.models["alice", "bert"].versions)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("container_image_digest", "sha256:ABC", "container_image_digest is not sha256:"),
        ("schemas.json", "{}", "prediction is missing"),
        ("NOTES", "ü" * 256, "256 characters"),
        ("weights.bin", "w", "weights.bin: a version of this registry has no files"),
    ],
)
def test_what_cannot_be_published_is_refused_with_the_reason(
    mount: Mounted, service: WriftAI, name: str, text: str, reason: str
) -> None:
    draft = mount.path / "alice/bert/4"
    draft.mkdir()
    write_files(draft)
    notes = text if name == "NOTES" else "notes"
    if name != "NOTES":
        (draft / name).write_text(text)
    shell(f"echo '{notes}' > 4/NOTES", draft.parent)
    failure = draft / "PUBLISH_FAILED.txt"
    wait_for(failure.exists, 30.0)
    assert reason in failure.read_text()
    assert not any(request.method == "POST" for request in service.requests)


def test_saving_the_metadata_of_a_new_model_makes_it(mount: Mounted, service: WriftAI) -> None:
    new = mount.path / "alice/new"
    new.mkdir()
    told = json.loads((new / "model.json").read_text())
    assert ("new", "private") == (told["name"], told["visibility"])
    assert ("alice", "new") not in service.models
    (new / "model.json").write_text(json.dumps(told | {"description": "größer"}))
    assert "größer" == service.models["alice", "new"].fields["description"]
    assert "größer" == json.loads((new / "model.json").read_text())["description"]
    (new / "1").mkdir()
    write_files(new / "1")
    shell("echo first > 1/NOTES", new)
    wait_for(lambda: 1 in service.models["alice", "new"].versions, 30.0, mount.log)


def test_a_model_that_cannot_be_made_says_why(mount: Mounted, service: WriftAI) -> None:
    new = mount.path / "alice/new"
    new.mkdir()
    with pytest.raises(OSError, match="Invalid argument"):
        (new / "model.json").write_text('{"visibility": "odd"}')
    assert "visibility" in (new / "METADATA_FAILED.txt").read_text()
    assert ("alice", "new") not in service.models
    (new / "model.json").write_text('{"overview": "fine"}')
    assert "fine" == service.models["alice", "new"].fields["overview"]
    wait_for(lambda: ["model.json"] == os.listdir(new), 30.0)


def test_a_model_is_made_with_its_first_version(mount: Mounted, service: WriftAI) -> None:
    (mount.path / "alice/whole/1").mkdir(parents=True)
    write_files(mount.path / "alice/whole/1")
    shell("echo first > whole/1/NOTES", mount.path / "alice")
    wait_for(lambda: ("alice", "whole") in service.models, 30.0, mount.log)
    wait_for(lambda: 1 in service.models["alice", "whole"].versions, 30.0, mount.log)


def test_saving_metadata_changes_a_model(mount: Mounted, service: WriftAI) -> None:
    path = mount.path / "alice/bert/model.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"description": "changed"}))
    assert "changed" == service.models["alice", "bert"].fields["description"]
    (sent,) = (request for request in service.requests if request.method == "PATCH")
    assert {"description": "changed"} == sent.message


def test_removing_deletes(mount: Mounted, service: WriftAI) -> None:
    shutil.rmtree(mount.path / "alice/bert/1")
    assert [2, 3] == sorted(service.models["alice", "bert"].versions)
    assert "" == shell("rm -r bert", mount.path / "alice")
    assert ("alice", "bert") not in service.models
    assert not (mount.path / "alice/bert").exists()


def test_a_version_is_readable_without_the_service(mount: Mounted, service: WriftAI) -> None:
    before = {name: (mount.path / "alice/bert/1" / name).read_bytes() for name in FILES}
    service.is_down = True
    assert before == {name: (mount.path / "alice/bert/1" / name).read_bytes() for name in FILES}


def test_all_pages_of_versions_are_listed(mount: Mounted, service: WriftAI) -> None:
    for number in range(4, 124):
        service.add_version("alice", "bert", f"the {number}th")
    model = mount.path / "alice/bert"
    numbers = [str(number) for number in range(1, 124)]
    wait_for(lambda: sorted([*numbers, "latest", "model.json"]) == sorted(os.listdir(model)), 60.0)
    assert "123" == os.readlink(model / "latest")
    assert "the 123th\n" == (model / "latest/NOTES").read_text()


def test_wriftai_and_kaggle_stand_side_by_side(service: WriftAI, tmp_path: Path) -> None:
    """Both are read, published to and deleted from in one mount."""
    registry = tmp_path / "registry"
    plant(registry, [BERT])
    both = (f"w=wriftai+{service.url}", "--registry", f"k=local:{registry}", "--allow-delete")
    with Mounted(tmp_path / "both", *both, token=service.token) as mount:
        assert ["k", "w"] == sorted(os.listdir(mount.path))
        draft = mount.path / "w/alice/bert/4"
        draft.mkdir()
        write_files(draft)
        other = mount.path / "k" / BASE / "4"
        other.mkdir()
        (other / "config.json").write_bytes(b"{}")
        writing = f"for it in w/alice/bert k/{BASE}; do echo notes > $it/4/NOTES; done"
        assert "" == shell(writing, mount.path)
        wait_for(lambda: 4 in service.models["alice", "bert"].versions, 30.0)
        wait_for((draft / "version.json").exists, 30.0)
        settled(other)
        assert b"{}" == (other / "config.json").read_bytes()
        shutil.rmtree(draft)
        shutil.rmtree(other)
        wait_for(lambda: 4 not in service.models["alice", "bert"].versions, 30.0)
        assert not other.exists()
