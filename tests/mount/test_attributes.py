"""What stat, df and getfattr tell."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from hashlib import md5, sha256
from pathlib import Path

import pytest

from mount.conftest import Mount, Simulate
from mounting import Mounted
from polling import wait_for
from sims.content import BERT, MOMENT

BASE = "alice/bert/pytorch/base"
WEIGHTS = f"{BASE}/1/weights.bin"


# What can be published to, edited or deleted says so: the kernel lets nobody but root try more.
@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("", "drwxr-xr-x"),
        ("alice", "drwxr-xr-x"),
        (BASE, "drwxr-xr-x"),
        (f"{BASE}/1", "dr-xr-xr-x"),
        (f"{BASE}/1/.modelfs", "dr-xr-xr-x"),
        (WEIGHTS, "-r--r--r--"),
        (f"{BASE}/1/NOTES", "-r--r--r--"),
        (f"{BASE}/1/.modelfs/status.json", "-r--r--r--"),
        ("alice/bert/model-metadata.json", "-rw-r--r--"),
        (f"{BASE}/model-instance-metadata.json", "-rw-r--r--"),
    ],
)
def test_modes_and_owners_are_those_of_a_disk(shown: Mounted, path: str, mode: str) -> None:
    told = os.stat(shown.path / path)
    assert mode == stat.filemode(told.st_mode)
    assert (os.getuid(), os.getgid(), 1) == (told.st_uid, told.st_gid, told.st_nlink)
    assert (4096, -(-told.st_size // 512)) == (told.st_blksize, told.st_blocks)


def test_a_read_only_mount_is_writable_nowhere(mounted: Mount, sample: Path) -> None:
    mount = mounted(sample, "--read-only")
    for path in ("", "alice", BASE, f"{BASE}/1", "alice/bert/model-metadata.json", WEIGHTS):
        assert not os.stat(mount.path / path).st_mode & 0o222


def test_times_are_the_registrys(shown: Mounted) -> None:
    for path in ("alice/bert", BASE, f"{BASE}/1", WEIGHTS, f"{BASE}/1/NOTES", f"{BASE}/latest"):
        os.listdir(shown.path / BASE / "1")
        told = os.stat(shown.path / path)
        assert (MOMENT, MOMENT, MOMENT) == (told.st_atime, told.st_mtime, told.st_ctime), path


def test_inode_numbers_are_the_same_after_a_remount(
    sample: Path, mounted: Mount, tmp_path: Path
) -> None:
    mount = mounted(sample, name="first")
    first = inodes(mount.path)
    mount.stop()
    # Another mountpoint, another cache: nothing is remembered but the registry.
    again = mounted(sample, name="second")
    assert first == inodes(again.path)
    assert len(set(first.values())) == len(first)
    assert 0 not in first.values()


def inodes(top: Path) -> dict[str, int]:
    names = ["", "alice", "bob-b"]
    for directory, below, files in os.walk(top / "alice/bert"):
        names += [str(Path(directory, name).relative_to(top)) for name in (*below, *files)]
    return {name: os.lstat(top / name).st_ino for name in names}


def test_attributes_of_a_file_tell_where_it_is_from(sample: Path, mounted: Mount) -> None:
    path = mounted(sample).path / WEIGHTS
    content = BERT.instances[0].versions[0].files["weights.bin"]
    told = {name: os.getxattr(path, name).decode() for name in os.listxattr(path)}
    assert {
        "user.modelfs.ref": f"{BASE}/1",
        "user.modelfs.path": "weights.bin",
        "user.modelfs.sha256": sha256(content).hexdigest(),
        "user.modelfs.md5": md5(content).hexdigest(),
        "user.modelfs.is_cached": "0",
        "user.modelfs.cached_bytes": "0",
        "user.modelfs.registry": f"local:{sample}",
    }.items() <= told.items()
    path.read_bytes()
    assert b"1" == os.getxattr(path, "user.modelfs.is_cached")
    assert str(len(content)).encode() == os.getxattr(path, "user.modelfs.cached_bytes")


def test_attributes_hold_no_secret(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(BERT)
    path = mounted(kaggle).path / WEIGHTS
    path.read_bytes()
    told = b"\n".join(os.getxattr(path, name) for name in os.listxattr(path))
    assert f"kaggle+{kaggle.url}".encode() in told
    assert b"Signature" not in told
    assert kaggle.token.encode() not in told


@pytest.mark.parametrize("path", ["", "alice", BASE, f"{BASE}/1", f"{BASE}/1/NOTES", WEIGHTS])
@pytest.mark.parametrize(
    "name",
    ["user.x", "user.modelfs.x", "security.capability", "system.posix_acl_access", "user.modelfs."],
)
def test_an_unknown_attribute_is_none(shown: Mounted, path: str, name: str) -> None:
    with pytest.raises(OSError) as caught:
        os.getxattr(shown.path / path, name)
    assert caught.value.errno in (errno.ENODATA, errno.EOPNOTSUPP)
    if name.startswith("user."):
        assert errno.ENODATA == caught.value.errno


def test_what_is_no_file_has_no_attributes(shown: Mounted) -> None:
    for path in ("alice", f"{BASE}/1", "alice/bert/model-metadata.json", f"{BASE}/1/NOTES"):
        assert [] == os.listxattr(shown.path / path), path


def test_the_mountpoint_tells_what_is_going_on(shown: Mounted) -> None:
    assert ["user.modelfs.gauges"] == os.listxattr(shown.path)
    told = json.loads(os.getxattr(shown.path, "user.modelfs.gauges"))
    assert {"files", "transfers", "buffers", "buffers_total"} <= set(told)


def test_df_tells_the_space_of_the_cache(shown: Mounted) -> None:
    def is_told() -> bool:
        """Others use the disk as well, in between."""
        before, told = shutil.disk_usage(shown.cache), os.statvfs(shown.path / WEIGHTS)
        after = shutil.disk_usage(shown.cache)
        assert before.total == told.f_blocks * told.f_frsize
        return 0 < told.f_bavail * told.f_frsize <= max(before.free, after.free)

    wait_for(is_told)
    told = os.statvfs(shown.path / WEIGHTS)
    assert 255 == told.f_namemax


def test_df_is_never_zero_in_a_small_cache(sample: Path, mounted: Mount) -> None:
    mount = mounted(sample, "--cache-size", "1MiB")
    (mount.path / WEIGHTS).read_bytes()
    told = os.statvfs(mount.path)
    assert told.f_blocks > 0
    assert told.f_bavail <= told.f_bfree <= told.f_blocks
