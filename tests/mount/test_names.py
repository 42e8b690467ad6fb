"""What every level of a mount lists, and which names lead where."""

from __future__ import annotations

import os
import stat
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from mount.conftest import Mount, Simulate
from mounting import Mounted
from polling import wait_for
from sims.content import BERT, Instance, Model, Version, add_version, plant
from sims.kaggle import Kaggle
from sims.raw import json_reply

BASE = "alice/bert/pytorch/base"
SMALL = Model("alice", "small", (Instance("pytorch", "it", (Version({"f": b"one"}, "1st"),)),))


def listed(mount: Mounted, path: str = "") -> list[str]:
    return sorted(os.listdir(mount.path / path))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("alice/bert", ["jax", "model-metadata.json", "pytorch", "tensorflow2"]),
        ("alice/bert/pytorch", ["base", "large", "small"]),
        (BASE, ["1", "2", "3", "latest", "model-instance-metadata.json"]),
        (f"{BASE}/1", ["NOTES", "config.json", "weights.bin"]),
        (f"{BASE}/latest", ["NOTES", "NOTES.txt", "config.json"]),
        ("alice/names/pytorch/odd/1/deep/a/b", ["c"]),
        ("bob-b/single/keras", ["it"]),
    ],
)
def test_a_level_lists_what_is_below(shown: Mounted, path: str, expected: list[str]) -> None:
    assert expected == listed(shown, path)


def test_the_root_lists_owners_and_an_owner_models(shown: Mounted) -> None:
    os.stat(shown.path / "bob-b")  # over HTTP an owner is listed once somebody has looked
    assert ["alice", "bob-b"] == listed(shown)
    assert {"bert", "names", "paged", "more-a"} <= set(listed(shown, "alice"))


def test_everything_that_is_listed_can_be_looked_up(shown: Mounted) -> None:
    seen = 0
    for directory, names, files in os.walk(shown.path / "alice/bert"):
        with os.scandir(directory) as entries:
            scanned = {entry.name: entry for entry in entries}
        assert set(scanned) == {*names, *files}
        for name, entry in scanned.items():
            told = os.lstat(Path(directory, name))
            assert entry.inode() == told.st_ino
            assert entry.is_dir(follow_symlinks=False) == stat.S_ISDIR(told.st_mode)
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("path", ["", "alice", BASE, f"{BASE}/1", "alice/names/pytorch/odd/1/deep"])
def test_a_directory_lists_itself_and_the_one_above(shown: Mounted, path: str) -> None:
    command = ["ls", "-a", shown.path / path]
    listing = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert [".", "..", *listed(shown, path)] == sorted(listing.stdout.splitlines())


@pytest.mark.parametrize("spelling", ["pytorch", "PyTorch", "pyTorch", "PYTORCH"])
def test_every_spelling_of_a_framework_is_one_directory(shown: Mounted, spelling: str) -> None:
    expected = os.stat(shown.path / "alice/bert/pytorch")
    actual = os.stat(shown.path / "alice/bert" / spelling)
    assert (expected.st_ino, expected.st_mode) == (actual.st_ino, actual.st_mode)
    file = "base/1/config.json"
    path = shown.path / "alice/bert" / spelling / file
    assert os.stat(shown.path / "alice/bert/pytorch" / file).st_ino == os.stat(path).st_ino
    assert b'{"layers": 2}' == path.read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "nobody",
        "alice/nothing",
        "alice/bert/keras",
        "alice/bert/nonsense",
        "alice/bert/pytorch/nothing",
        f"{BASE}/4",
        f"{BASE}/0",
        f"{BASE}/01",
        f"{BASE}/-1",
        f"{BASE}/one",
        f"{BASE}/99999999999999999999",
        f"{BASE}/٣",
        f"{BASE}/1/missing",
        f"{BASE}/1/weights.bin.part",
        f"{BASE}/1/.modelfs/missing",
        f"{BASE}/1/.modelfs/manifest.json.bak",
        "alice/bert/latest",
        "latest",
        "alice/model-instance-metadata.json",
        "alice/with space",
        "alice/" + "m" * 255,
        "alice/モデル",
        "alice/new\nline",
        "alice/..;",
    ],
)
def test_a_name_that_is_not_there_is_enoent(shown: Mounted, path: str) -> None:
    with pytest.raises(FileNotFoundError):
        os.lstat(shown.path / path)
    with pytest.raises(FileNotFoundError):
        os.open(shown.path / path, os.O_RDONLY)


def test_a_name_of_bytes_that_are_no_text_is_enoent(shown: Mounted) -> None:
    for path in (b"alice/\xff\xfe", b"alice/bert/pytorch/base/1/\xff"):
        with pytest.raises(FileNotFoundError):
            os.lstat(os.fsencode(shown.path) + b"/" + path)


def test_a_file_is_no_directory(shown: Mounted) -> None:
    with pytest.raises(NotADirectoryError):
        os.listdir(shown.path / BASE / "1/config.json")
    with pytest.raises(NotADirectoryError):
        os.lstat(shown.path / BASE / "1/config.json/below")


def test_latest_is_a_link_to_the_highest_number(shown: Mounted) -> None:
    assert "3" == os.readlink(shown.path / BASE / "latest")
    # As a number: 12 comes after 9.
    assert "12" == os.readlink(shown.path / "alice/paged/jax/versions/latest")
    assert b"12" == (shown.path / "alice/paged/jax/versions/latest/n").read_bytes()


@pytest.mark.slow
def test_latest_moves_when_a_version_is_published(mounted: Mount, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    plant(registry, [SMALL])
    mount = mounted(registry)
    instance = mount.path / "alice/small/pytorch/it"
    opened = os.open(instance / "latest/f", os.O_RDONLY)
    with pytest.raises(FileNotFoundError):
        os.stat(instance / "2")

    add_version(registry, "alice/small/pytorch/it", Version({"f": b"two"}))

    # Lists are believed for 30 s, and the kernel keeps a name for one more.
    wait_for(lambda: os.readlink(instance / "latest") == "2", 45)
    assert b"two" == (instance / "latest/f").read_bytes()
    assert ["1", "2", "latest", "model-instance-metadata.json"] == sorted(os.listdir(instance))
    assert b"one" == os.read(opened, 10)
    os.close(opened)


JUNK = (".git", ".hidden", ".DS_Store", "._bert", "Thumbs.db", "desktop.ini", "autorun.inf")


def test_dot_files_and_junk_are_not_asked_for(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(BERT)
    mount = mounted(kaggle)
    os.listdir(mount.path / BASE)
    os.stat(mount.path / BASE / "1")
    kaggle.clear()
    for above in ("", "alice", "alice/bert", "alice/bert/pytorch", BASE):
        for name in JUNK:
            with pytest.raises(FileNotFoundError):
                os.stat(mount.path / above / name)
    assert {} == dict(kaggle.calls())


def test_what_is_not_there_is_asked_for_once(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(BERT)
    mount = mounted(kaggle)
    for _ in range(20):
        with pytest.raises(FileNotFoundError):
            os.stat(mount.path / "alice/nothing")
    assert sum(kaggle.calls().values()) <= 3


def test_a_refusal_hides_what_is_refused(simulate: Simulate, mounted: Mount) -> None:
    # Kaggle answers 403 also for what does not exist, so it means nothing more.
    mount = mounted(simulate(BERT))
    with pytest.raises(FileNotFoundError):
        os.stat(mount.path / "alice/secret/pytorch")


def test_who_has_to_accept_terms_first_is_told_so(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(BERT)
    text = "You must accept the license agreement of this model first"
    kaggle.refusal = json_reply({"code": 403, "message": text}, 403)
    mount = mounted(kaggle)
    with pytest.raises(PermissionError):
        os.listdir(mount.path / "alice/bert")
    assert "accept the license" in mount.log


def test_who_shows_a_wrong_token_is_told_in_the_log(mounted: Mount, ending: ExitStack) -> None:
    kaggle = ending.enter_context(Kaggle([BERT], token="KGAT_wrong", user="alice"))
    mount = mounted(kaggle)
    kaggle.token = "KGAT_right"
    with pytest.raises(PermissionError):
        os.listdir(mount.path / "alice/bert")
    assert "WARNING" in mount.log
    assert "KGAT_" not in mount.log


def test_several_registries_have_a_directory_each(
    sample: Path, simulate: Simulate, ending: ExitStack, tmp_path: Path
) -> None:
    kaggle = simulate(SMALL)
    mount = ending.enter_context(
        Mounted(
            tmp_path / "mount",
            f"here=local:{sample}",
            *("--registry", f"there=kaggle+{kaggle.url}"),
            token=kaggle.token,
        )
    )
    assert ["here", "there"] == listed(mount)
    assert b"one" == (mount.path / "there/alice/small/pytorch/it/latest/f").read_bytes()
    assert b"a" == (mount.path / "here/alice/bert/pytorch/large/1/a").read_bytes()
    for path in ("elsewhere", "here/alice/small", "there/alice/bert", ".hidden"):
        with pytest.raises(FileNotFoundError):
            os.stat(mount.path / path)
    inodes = [os.stat(mount.path / path).st_ino for path in ("", "here", "there", "here/alice")]
    assert len(set(inodes)) == len(inodes)
