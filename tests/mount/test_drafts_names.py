"""Where drafts may be made and what they are called; what a listing shows of them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from mount.conftest import Mount
from mounting import Mounted
from polling import wait_for
from published import BASE, held, settled, state
from sims.content import BERT, Model, plant


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A directory of the embedded registry in which BERT has three versions."""
    plant(tmp_path / "registry", [BERT, Model("alice", "empty")])
    return tmp_path / "registry"


@pytest.fixture
def mount(mounted: Mount, registry: Path) -> Mounted:
    return mounted(registry)


def refused(path: Path) -> int:
    with pytest.raises(OSError) as caught:
        path.mkdir()
    return int(caught.value.errno or 0)


# Versions.


def test_a_draft_has_the_next_number(mount: Mounted) -> None:
    draft = mount.path / BASE / "4"
    draft.mkdir()
    (draft / "f").write_text("f")
    assert "open" == state(draft)
    assert ["f"] == os.listdir(draft)
    listed = {"1", "2", "3", "4", "latest", "model-instance-metadata.json"}
    assert listed == set(os.listdir(draft.parent))
    assert "3" == os.readlink(draft.parent / "latest")


@pytest.mark.parametrize("name", ["5", "0", "17", "04"])
def test_another_number_is_refused_with_the_reason_in_the_log(mount: Mounted, name: str) -> None:
    assert errno.EINVAL == refused(mount.path / BASE / name)
    assert f"the next version of {BASE} is 4, not {name}" in mount.log


def test_a_published_number_is_taken(mount: Mounted) -> None:
    with pytest.raises(FileExistsError):
        (mount.path / BASE / "3").mkdir()


def test_a_new_model_does_not_take_the_place_of_a_published_one(mount: Mounted) -> None:
    new = mount.path / "alice/new"
    new.mkdir()
    with pytest.raises(FileExistsError):
        new.rename(mount.path / "alice/empty")
    assert {"bert", "empty", "new"} <= set(os.listdir(mount.path / "alice"))


def test_a_draft_has_any_name_that_is_no_number(mount: Mounted) -> None:
    for name in ("My Model (final)", "v2", "größer", "4-new"):
        (mount.path / BASE / name).mkdir()
        assert "open" == state(mount.path / BASE / name)
    assert {"My Model (final)", "v2", "größer", "4-new"} < set(os.listdir(mount.path / BASE))


@pytest.mark.parametrize("name", [".hidden", ".git", "latest", "Thumbs.db"])
def test_some_names_are_for_no_draft(mount: Mounted, name: str) -> None:
    assert refused(mount.path / BASE / name) in (errno.EINVAL, errno.EEXIST)


def test_there_is_no_directory_called_latest_where_nothing_is_published(mount: Mounted) -> None:
    subprocess.run(["mkdir", "-p", mount.path / "alice/new/jax/it"], check=True, timeout=30)
    assert errno.EINVAL == refused(mount.path / "alice/new/jax/it/latest")


def test_a_draft_is_renamed_before_it_is_published(mount: Mounted) -> None:
    draft = mount.path / BASE / "Untitled Folder"
    draft.mkdir()
    (draft / "f").write_text("f")
    draft.rename(draft.with_name("4"))
    assert not draft.exists()
    assert "f" == (draft.with_name("4") / "f").read_text()
    # EINVAL would have mv(1) say that it is moved into itself.
    with pytest.raises(PermissionError):
        os.rename(draft.with_name("4"), draft.with_name("9"))
    with pytest.raises(OSError) as caught:
        os.rename(draft.with_name("4"), draft.with_name("3"))
    assert caught.value.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.EROFS)


def test_several_drafts_of_one_instance_stand_beside_each_other(mount: Mounted) -> None:
    for name in ("one", "two", "4"):
        (mount.path / BASE / name).mkdir()
        (mount.path / BASE / name / "f").write_text(name)
    for name in ("one", "two", "4"):
        assert name == (mount.path / BASE / name / "f").read_text()


# Levels above.


def test_all_levels_of_a_new_model_are_made_at_once(mount: Mounted) -> None:
    model = mount.path / "alice/new-model"
    command = ["mkdir", "-p", model / "pytorch/base/1/sub/directory"]
    subprocess.run(command, check=True, timeout=30)
    assert {"pytorch", "model-metadata.json"} == set(os.listdir(model))
    assert {"1", "model-instance-metadata.json"} == set(os.listdir(model / "pytorch/base"))
    told = json.loads((model / "model-metadata.json").read_text())
    fields = ("ownerSlug", "slug", "title", "isPrivate")
    assert ["alice", "new-model", "new-model", True] == [told[field] for field in fields]
    told = json.loads((model / "pytorch/base/model-instance-metadata.json").read_text())
    fields = ("ownerSlug", "modelSlug", "framework", "instanceSlug", "licenseName")
    expected = ["alice", "new-model", "pyTorch", "base", "Apache 2.0"]
    assert expected == [told[field] for field in fields]


def test_the_metadata_of_a_new_model_is_edited_in_place(mount: Mounted) -> None:
    model = mount.path / "alice/new-model"
    model.mkdir()
    path = model / "model-metadata.json"
    subprocess.run(["sed", "-i", 's/"title": ".*"/"title": "A title"/', path], check=True)
    assert "A title" == json.loads(path.read_text())["title"]
    assert ["model-metadata.json"] == os.listdir(model)


def test_an_existing_model_takes_a_new_framework_and_instance(mount: Mounted) -> None:
    path = mount.path / "alice/bert/jax/tiny/1"
    subprocess.run(["mkdir", "-p", path], check=True, timeout=30)
    assert {"base", "tiny"} == set(os.listdir(mount.path / "alice/bert/jax"))
    assert "open" == state(path)
    (mount.path / "alice/empty/jax/first/1").mkdir(parents=True)


@pytest.mark.parametrize(
    "path",
    [
        "alice/Capital",
        "alice/under_score",
        "alice/two--dashes",
        "alice/-dash",
        "alice/bert/caffe",
        "alice/bert/pytorch/with space",
        "alice/.hidden",
        "Not An Owner",
    ],
)
def test_a_name_that_no_registry_takes_is_refused(mount: Mounted, path: str) -> None:
    assert errno.EINVAL == refused(mount.path / path)


def test_the_first_version_of_a_new_instance_is_one(mount: Mounted) -> None:
    instance = mount.path / "alice/new/jax/it"
    instance.mkdir(parents=True)
    assert errno.EINVAL == refused(instance / "2")
    (instance / "1").mkdir()


def test_what_was_made_above_is_removed_again(mount: Mounted) -> None:
    model = mount.path / "alice/new"
    (model / "jax/it/1").mkdir(parents=True)
    (model / "jax/it/1/f").touch()
    subprocess.run(["rm", "-r", model], check=True, timeout=30)
    assert not model.exists()
    assert ["bert", "empty"] == sorted(os.listdir(mount.path / "alice"))


def test_a_file_beside_versions_is_no_draft(mount: Mounted) -> None:
    (mount.path / BASE / "README").write_text("local, and never sent")
    assert "local, and never sent" == (mount.path / BASE / "README").read_text()
    with pytest.raises(OSError) as caught:
        (mount.path / BASE / "5").write_text("a number is a version")
    assert caught.value.errno in (errno.EINVAL, errno.EROFS)


def publish(draft: Path) -> None:
    """Fill a draft and publish it; returns when nothing of it is local."""
    draft.mkdir(parents=True)
    (draft / "f").write_text("f")
    subprocess.run(["sh", "-c", 'echo n > "$0"/NOTES', draft], check=True, timeout=30)
    settled(draft)
    wait_for(lambda: not draft.stat().st_mode & 0o222, 30.0, "the draft is put away")


def test_what_lies_beside_versions_stays_when_one_is_published(mount: Mounted) -> None:
    new = mount.path / "alice/new/jax/it"
    new.mkdir(parents=True)
    kept = [path / "model.bin" for path in (mount.path / BASE, new, mount.path / "alice/new")]
    for path in kept:
        path.write_text("mv has removed the original")
    publish(mount.path / BASE / "4")
    publish(new / "1")
    for path in kept:
        assert "mv has removed the original" == path.read_text()
        path.unlink()
    assert {"1", "latest", "model-instance-metadata.json"} == set(os.listdir(new))
    assert [] == [path for path in (mount.path.parent / "state").rglob("*") if path.name == "new"]


def test_the_metadata_of_a_published_version_is_the_registrys_beside_another_draft(
    mount: Mounted,
) -> None:
    instance = mount.path / "alice/new/jax/it"
    (instance / "another").mkdir(parents=True)
    publish(instance / "1")
    assert "open" == state(instance / "another")
    assert [] == list((mount.path.parent / "state").rglob("model*-metadata.json"))
    assert (
        "alice"
        == json.loads((mount.path / "alice/new/model-metadata.json").read_text())["ownerSlug"]
    )


@pytest.mark.parametrize("path", [BASE, "alice/bert", "alice/new/jax/it"])
def test_notes_that_are_beside_versions_are_refused(mount: Mounted, path: str) -> None:
    (mount.path / path).mkdir(parents=True, exist_ok=True)
    with pytest.raises(OSError, match="Invalid argument"):
        (mount.path / path / "NOTES").write_text("of what?")
    assert "NOTES belong in the directory of a version" in mount.log


# Who may not.


@pytest.fixture
def read_only(mounted: Mount, registry: Path) -> Mounted:
    return mounted(registry, "--read-only")


def test_a_read_only_mount_makes_nothing(read_only: Mounted) -> None:
    for path in (f"{BASE}/4", f"{BASE}/name", "alice/new", "bob"):
        assert errno.EROFS == refused(read_only.path / path)
    assert not (read_only.path.parent / "state/drafts").exists()


def test_what_is_published_is_not_deleted_without_being_told_to(mount: Mounted) -> None:
    for operation, path in (
        (os.unlink, f"{BASE}/1/config.json"),
        (os.rmdir, f"{BASE}/1"),
        (os.rmdir, BASE),
        (os.rmdir, "alice/bert"),
    ):
        with pytest.raises(OSError) as caught:
            operation(mount.path / path)
        assert errno.EPERM == caught.value.errno, path
    done = subprocess.run(["rm", "-r", mount.path / BASE / "1"], capture_output=True, timeout=30)
    assert 1 == done.returncode
    assert ["1", "2", "3"] == sorted(os.listdir(mount.path / BASE))[:3]


def test_a_second_mount_of_the_same_state_reads_and_says_why_it_does_not_write(
    mounted: Mount, registry: Path, tmp_path: Path
) -> None:
    first = mounted(registry, name="one")
    same = {"MODELFS_STATE_DIR": str(tmp_path / "one/state")}
    with Mounted(tmp_path / "two", f"local:{registry}", environ=same) as second:
        assert "another mount of this registry keeps the drafts" in second.log
        assert "Traceback" not in second.log
        assert errno.EROFS == refused(second.path / BASE / "4")
        assert b'{"layers": 2}' == (second.path / BASE / "1/config.json").read_bytes()
        (first.path / BASE / "4").mkdir()
        first.stop()
    third = mounted(registry, name="one")
    assert "open" == state(third.path / BASE / "4")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_who_is_not_root_makes_drafts_and_edits_documents(mounted: Mount, registry: Path) -> None:
    """The kernel lets others do only what modes and owners allow."""
    nobody = ("--allow-other", "--uid", "65534", "--gid", "65534")
    mount = mounted(registry, *nobody, "--settle", "0.2")
    script = (
        f"mkdir {BASE}/4; cp /etc/hostname {BASE}/4/f; chmod 600 {BASE}/4/f; echo x >> {BASE}/4/f;"
        " mkdir -p alice/new/jax/it/1; sed -i 's/of tests/of mine/' alice/bert/model-metadata.json;"
        f" cp /etc/hostname {BASE}/4/NOTES; test ! -w {BASE}/1/config.json; rm -r alice/new"
    )
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=mount.path,
        user=65534,
        group=65534,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (0, "") == (done.returncode, done.stderr)
    settled(mount.path / BASE / "4")
    with held(registry) as holdings:
        assert "of mine" == holdings.metadata("alice/bert")["subtitle"]
