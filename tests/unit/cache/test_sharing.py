"""Who may use a cache directory, and what the files in it may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cache_sources import FakeSource, content, digests
from modelfs.cache import BlockCache
from modelfs.cache.directory import Directory
from modelfs.errors import Forbidden, NoSpace

WAIT = 10.0


def modes(directory: Path) -> tuple[set[int], set[int]]:
    paths = list(directory.rglob("*"))
    return (
        {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_file()},
        {stat.S_IMODE(path.stat().st_mode) for path in paths if path.is_dir()},
    )


def use(cache: BlockCache) -> None:
    data = content(1 << 20)
    told = digests(data, "md5")
    with cache.open("whole", len(data), type(told)(), FakeSource(data, told)) as file:
        assert data == file.fetch(0, len(data)).result(WAIT)
    with cache.open("part", len(data), digests(b"", "md5"), FakeSource(data)) as file:
        file.fetch(0, 10).result(WAIT)
    cache.pin("whole", len(data), told)
    assert cache.settle(WAIT)


def test_a_new_directory_is_for_its_owner_alone(make_cache, directory: Path) -> None:
    before = os.umask(0)
    try:
        use(make_cache())
    finally:
        os.umask(before)
    assert 0o700 == stat.S_IMODE(directory.stat().st_mode)
    assert ({0o600}, {0o700}) == modes(directory)


@pytest.mark.parametrize(("mode", "files"), [(0o770, 0o660), (0o2770, 0o660), (0o750, 0o640)])
def test_a_directory_for_a_group_makes_files_for_the_group(
    make_cache, directory: Path, mode: int, files: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    use(make_cache())
    assert ({files}, {mode}) == modes(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="being another user needs root")
def test_what_another_user_has_pinned_can_be_pinned(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir()
    shared = Directory(directory)
    shared.prepare()
    shared.pin("key", "who")
    (pin,) = (directory / "pins").iterdir()
    os.chown(pin, 65534, 65534)
    directory.chmod(0o777)
    (directory / "pins").chmod(0o777)
    monkeypatch.chdir(directory)
    os.seteuid(65533)
    try:
        Directory(Path()).pin("key", "who")
    finally:
        os.seteuid(0)
    assert frozenset({"key"}) == shared.pinned()


def test_a_link_is_not_a_cache_directory(make_cache, directory: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    directory.symlink_to(tmp_path / "real")
    with pytest.raises(Forbidden):
        make_cache()


def test_a_link_inside_is_refused(make_cache, directory: Path, tmp_path: Path) -> None:
    directory.mkdir()
    (tmp_path / "real").mkdir()
    (directory / "objects").symlink_to(tmp_path / "real")
    with pytest.raises(Forbidden):
        make_cache()


def test_a_file_is_not_a_cache_directory(make_cache, directory: Path) -> None:
    directory.write_text("")
    with pytest.raises(NoSpace):
        make_cache()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a directory away needs root")
@pytest.mark.parametrize(("mode", "is_refused"), [(0o755, True), (0o770, False)])
def test_a_directory_of_another_user_must_be_for_a_group(
    make_cache, directory: Path, mode: int, is_refused: bool
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    os.chown(directory, 12345, 0)
    if is_refused:
        with pytest.raises(Forbidden):
            make_cache()
    else:
        use(make_cache())
