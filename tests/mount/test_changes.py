"""Published content does not change: every kind of change is refused, and nothing has changed."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mounting import Mounted
from polling import wait_for

BASE = "alice/bert/pytorch/base"
_libc = ctypes.CDLL(None, use_errno=True)


def opened(path: Path, flags: int) -> None:
    os.close(os.open(path, flags, 0o644))


def flagged_rename(old: Path, new: Path, flags: int) -> None:
    if _libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


# Each gets a published file and a name that is free in its directory.
CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "open to write": lambda file, _: opened(file, os.O_WRONLY),
    "open to read and write": lambda file, _: opened(file, os.O_RDWR),
    "open to append": lambda file, _: opened(file, os.O_WRONLY | os.O_APPEND),
    "open and truncate": lambda file, _: opened(file, os.O_RDONLY | os.O_TRUNC),
    "create": lambda _, free: opened(free, os.O_WRONLY | os.O_CREAT),
    "create anew": lambda _, free: opened(free, os.O_RDWR | os.O_CREAT | os.O_EXCL),
    "mkdir": lambda _, free: os.mkdir(free),
    "mknod": lambda _, free: os.mknod(free, 0o100644),
    "mkfifo": lambda _, free: os.mkfifo(free),
    "symlink": lambda _, free: os.symlink("f", free),
    "link": lambda file, free: os.link(file, free),
    "unlink": lambda file, _: os.unlink(file),
    "rmdir": lambda file, _: os.rmdir(file.parent),
    "rename": lambda file, free: os.rename(file, free),
    "rename over": lambda file, _: os.rename(file, file.with_name("weights.bin")),
    "rename a directory": lambda file, free: os.rename(file.parent, file.parent.with_name("9")),
    "exchange": lambda file, _: flagged_rename(file, file.with_name("weights.bin"), 2),
    "chmod": lambda file, _: os.chmod(file, 0o600),
    "chown": lambda file, _: os.chown(file, 0, 0),
    "truncate": lambda file, _: os.truncate(file, 0),
    "utimens": lambda file, _: os.utime(file, (0, 0)),
    "setxattr": lambda file, _: os.setxattr(file, "user.x", b"y"),
    "removexattr": lambda file, _: os.removexattr(file, "user.modelfs.ref"),
}
# What libfuse 2 cannot even hear of is refused by the kernel; deleting is a matter of permission.
OTHERS = {"exchange": errno.EINVAL, "unlink": errno.EPERM, "rmdir": errno.EPERM}


@pytest.fixture(scope="module", params=["plain", "--read-only"])
def top(
    request: pytest.FixtureRequest, sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    options = () if request.param == "plain" else (request.param,)
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("changes")
        yield stack.enter_context(Mounted(folder, f"local:{sample}", *options)).path


@pytest.fixture(scope="module")
def is_read_only(top: Path) -> bool:
    return bool(os.statvfs(top).f_flag & os.ST_RDONLY)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_version_refuses_to(kind: str, top: Path) -> None:
    version = top / BASE / "1"
    before = sorted(os.listdir(version)), os.stat(version / "config.json")
    with pytest.raises(OSError) as caught:
        CHANGES[kind](version / "config.json", version / "free")
    assert caught.value.errno in {errno.EROFS, OTHERS.get(kind)}, caught.value
    after = sorted(os.listdir(version)), os.stat(version / "config.json")
    assert before == after
    assert b'{"layers": 2}' == (version / "config.json").read_bytes()


@pytest.mark.parametrize("path", ["", "alice", "alice/bert", BASE, f"{BASE}/1/.modelfs"])
def test_a_level_refuses_new_names(path: str, top: Path, is_read_only: bool) -> None:
    if not is_read_only and not path.endswith(".modelfs"):
        pytest.skip("drafts are made there")
    for kind in ("mkdir", "create", "symlink", "mkfifo"):
        with pytest.raises(OSError) as caught:
            CHANGES[kind](top / path, top / path / "free")
        assert errno.EROFS == caught.value.errno, kind


def test_the_latest_version_is_not_removed(top: Path) -> None:
    with pytest.raises(OSError) as caught:
        os.unlink(top / BASE / "latest")
    assert caught.value.errno in (errno.EROFS, errno.EPERM)
    os.lstat(top / BASE / "latest")


def test_a_metadata_document_stays_whoever_removes_it(top: Path, is_read_only: bool) -> None:
    """Programs remove what they are about to write anew."""
    path = top / "alice/bert/model-metadata.json"
    before = path.read_text()
    if is_read_only:
        with pytest.raises(OSError, match="Read-only"):
            path.unlink()
    else:
        path.unlink()
    wait_for(path.exists, 5.0, "the document is seen")
    assert before == path.read_text()
