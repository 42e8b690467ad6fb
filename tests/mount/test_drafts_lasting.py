"""Drafts outlive the mount: an unmount, the end of its process, many of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from clients.official import files_of
from mount.conftest import Mount
from mounting import Mounted
from published import BASE, state
from sims.content import BERT, plant

_FILES = {"f": b"f" * 100_000, "sub/deep/g": b"", ".hidden": b"h", "größer": "größer".encode()}


@pytest.fixture
def mount(mounted: Mount, tmp_path: Path) -> Mounted:
    plant(tmp_path / "registry", [BERT])
    return mounted(tmp_path / "registry")


def fill(draft: Path) -> None:
    draft.mkdir(parents=True)
    for path, content in _FILES.items():
        (draft / path).parent.mkdir(parents=True, exist_ok=True)
        (draft / path).write_bytes(content)
    os.symlink("f", draft / "link")
    os.chmod(draft / "f", 0o640)
    os.utime(draft / "f", ns=(10**18, 10**18 + 1))
    os.setxattr(draft / "f", "user.x", b"y")


def holds_all(draft: Path) -> None:
    found = {path: content for path, content in files_of(draft).items() if path != "link"}
    assert _FILES == found
    assert "f" == os.readlink(draft / "link")
    status = (draft / "f").stat()
    assert (0o640, 10**18 + 1) == (stat.S_IMODE(status.st_mode), status.st_mtime_ns)
    assert b"y" == os.getxattr(draft / "f", "user.x")
    assert "open" == state(draft)


@pytest.mark.parametrize("end", [Mounted.stop, Mounted.kill], ids=["unmount", "kill -9"])
@pytest.mark.parametrize("path", [f"{BASE}/4", f"{BASE}/a name", "alice/new/jax/it/1"])
def test_a_draft_is_there_again_after(
    mount: Mounted, end: Callable[[Mounted], None], path: str
) -> None:
    fill(mount.path / path)
    numbers = (mount.path / path / "f").stat().st_ino
    end(mount)
    mount.start()
    holds_all(mount.path / path)
    assert Path(path).name in os.listdir((mount.path / path).parent)
    assert numbers == (mount.path / path / "f").stat().st_ino
    (mount.path / path / "more").write_text("and goes on")


def test_edited_metadata_of_a_new_model_is_there_again(mount: Mounted) -> None:
    (mount.path / "alice/new/jax/it/1").mkdir(parents=True)
    path = mount.path / "alice/new/model-metadata.json"
    text = path.read_text().replace('"title": "new"', '"title": "Newer"')
    path.write_text(text)
    mount.kill()
    mount.start()
    assert text == path.read_text()
    assert "Newer" in text


def test_a_draft_that_was_removed_stays_so(mount: Mounted) -> None:
    draft = mount.path / BASE / "4"
    fill(draft)
    for directory, _, names in os.walk(draft, topdown=False):
        for name in names:
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)
    mount.stop()
    mount.start()
    assert not draft.exists()
    draft.mkdir()
    assert [] == os.listdir(draft)


def test_bytes_written_before_a_kill_are_there(mount: Mounted) -> None:
    draft = mount.path / BASE / "4"
    draft.mkdir()
    file = (draft / "f").open("wb", buffering=0)
    for count in range(50):
        file.write(b"%04d" % count)
    mount.kill()
    with pytest.raises(OSError):
        file.close()
    mount.start()
    assert b"".join(b"%04d" % count for count in range(50)) == (draft / "f").read_bytes()
