"""`rm -r` of published things deletes them, in a mount that was told so; unlinks alone never do."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from modelfs.errors import NotFound
from mount.conftest import Mount, Serve
from mounting import Mounted
from polling import wait_for
from published import BASE, Holdings, held
from sims.content import BERT, Model, plant


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    plant(tmp_path / "registry", [BERT, Model("alice", "empty")])
    return tmp_path / "registry"


@pytest.fixture
def mount(registry: Path, mounted: Mount) -> Mounted:
    return mounted(registry, "--allow-delete")


def rm(path: Path) -> None:
    done = subprocess.run(["rm", "-r", path], capture_output=True, text=True, timeout=60)
    assert 0 == done.returncode, done.stderr


def is_gone(holdings: Holdings, path: str) -> bool:
    try:
        holdings.names(path)
    except NotFound:
        return True
    return False


def test_a_version_is_deleted(mount: Mounted, registry: Path) -> None:
    rm(mount.path / BASE / "2")
    with held(registry) as holdings:
        assert ["1", "3"] == holdings.names(BASE)
    wait_for(lambda: "2" not in os.listdir(mount.path / BASE), 5.0, "it is not listed")
    assert b'{"layers": 2}' == (mount.path / BASE / "1/config.json").read_bytes()


def test_the_latest_version_is_deleted(mount: Mounted, registry: Path) -> None:
    rm(mount.path / BASE / "3")
    with held(registry) as holdings:
        assert ["1", "2"] == holdings.names(BASE)
    latest = mount.path / BASE / "latest"
    wait_for(lambda: os.readlink(latest) == "2", 5.0, "the latest is another one")


def test_rmdir_alone_deletes_a_version(mount: Mounted, registry: Path) -> None:
    (mount.path / BASE / "1").rmdir()
    with held(registry) as holdings:
        assert ["2", "3"] == holdings.names(BASE)


def test_an_instance_is_deleted(mount: Mounted, registry: Path) -> None:
    rm(mount.path / BASE)
    with held(registry) as holdings:
        assert is_gone(holdings, BASE)
        assert ["large", "small"] == holdings.names("alice/bert/pytorch")
    listing = mount.path / "alice/bert/pytorch"
    wait_for(lambda: "base" not in os.listdir(listing), 5.0, "it is not listed")


def test_a_model_is_deleted(mount: Mounted, registry: Path) -> None:
    rm(mount.path / "alice/bert")
    with held(registry) as holdings:
        assert is_gone(holdings, "alice/bert")
        assert ["empty"] == holdings.names("alice")
    wait_for(lambda: ["empty"] == os.listdir(mount.path / "alice"), 5.0, "it is not listed")


def test_unlinks_alone_delete_nothing(mount: Mounted, registry: Path) -> None:
    version = mount.path / BASE / "1"
    for name in os.listdir(version):
        (version / name).unlink()
    assert [] == os.listdir(version)
    with held(registry) as holdings:
        assert ["1", "2", "3"] == holdings.names(BASE)
        assert {"config.json", "weights.bin"} == set(holdings.files(f"{BASE}/1"))
    mount.stop()
    mount.start()
    assert {"config.json", "weights.bin", "NOTES"} == set(os.listdir(version))


def test_what_is_deleted_can_be_made_again(mount: Mounted, registry: Path) -> None:
    rm(mount.path / "alice/bert")
    wait_for(lambda: not (mount.path / "alice/bert").exists(), 5.0, "it is gone")
    draft = mount.path / "alice/bert/jax/it/1"
    script = f"mkdir -p {draft}; cp /etc/hostname {draft}/f; cp /etc/hostname {draft}/NOTES"
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=60)
    assert 0 == done.returncode, done.stderr + mount.log
    with held(registry) as holdings:
        assert ["1"] == holdings.names("alice/bert/jax/it")
    assert {"f", "NOTES"} == set(os.listdir(draft))


def test_an_owner_and_a_framework_are_not_deleted(mount: Mounted, registry: Path) -> None:
    for path in ("alice", "alice/bert/pytorch"):
        with pytest.raises(OSError):
            os.rmdir(mount.path / path)
    with held(registry) as holdings:
        assert ["bert", "empty"] == holdings.names("alice")
        assert ["base", "large", "small"] == holdings.names("alice/bert/pytorch")


def test_a_model_is_deleted_over_the_wire(mounted: Mount, registry: Path, serve: Serve) -> None:
    mount = mounted(serve(), "--allow-delete")
    rm(mount.path / BASE / "2")
    with held(registry) as holdings:
        assert ["1", "3"] == holdings.names(BASE)
    rm(mount.path / BASE)
    with held(registry) as holdings:
        assert ["large", "small"] == holdings.names("alice/bert/pytorch")
    rm(mount.path / "alice/bert")
    with held(registry) as holdings:
        assert ["empty"] == holdings.names("alice")


def test_what_holds_a_draft_is_not_deleted(mount: Mounted, registry: Path) -> None:
    draft = mount.path / BASE / "4"
    draft.mkdir()
    (draft / "f").write_text("work")
    for path in (draft.parent, draft.parents[2]):
        with pytest.raises(OSError) as caught:
            path.rmdir()
        assert errno.ENOTEMPTY == caught.value.errno
    with held(registry) as holdings:
        assert ["1", "2", "3"] == holdings.names(BASE)
    assert "work" == (draft / "f").read_text()
