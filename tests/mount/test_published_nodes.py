"""What is in a published version: the kernel is told of it at once, and of each thing by a number.

Beside the tests of what is seen, which do not care who answers: here it is many names, names in
directories of directories, and what the kernel has forgotten meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelfs.registry.local import Store
from mount.conftest import Mount, Simulate, spec_of
from mount.test_changes import CHANGES
from mounting import Mounted
from polling import wait_for
from published import BASE, settled
from sims.content import BERT, ODD_NAMES, Instance, Model, Version, plant
from sims.kaggle import Kaggle

NESTED = {
    **{f"{folder}/{name}": os.fsencode(name) for name in ODD_NAMES for folder in ("a b", "é/ü")},
    **{f"many/part-{n:04}": b"%d" % n for n in range(1500)},
    "é/ü/config.json": b"{}",
    "é/ü/weights.bin": b"weights",
    "top": b"t",
    "many.txt": b"beside a directory of almost that name",
}
VERSION = "alice/nested/jax/it/1"
MODEL = Model("alice", "nested", (Instance("jax", "it", (Version(NESTED, "notes"),)),))
_DROP = Path("/proc/sys/vm/drop_caches")
needs_dropping = pytest.mark.skipif(not os.access(_DROP, os.W_OK), reason="only root may drop")


@pytest.fixture(scope="module")
def nested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with ExitStack() as stack:
        kaggle = stack.enter_context(Kaggle((MODEL,), token="KGAT_test", user="alice"))
        spec, token = spec_of(kaggle)
        folder = tmp_path_factory.mktemp("nested")
        yield stack.enter_context(Mounted(folder, spec, token=token))


def told(*command: object) -> str:
    return subprocess.run(
        [str(word) for word in command], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def sizes(top: Path) -> dict[str, int]:
    """Every file below `top`; the names from listings, the sizes asked for one by one."""
    return {
        os.path.relpath(os.path.join(folder, name), top): os.stat(f"{folder}/{name}").st_size
        for folder, _, names in os.walk(top)
        for name in names
    }


EXPECTED = {path: len(data) for path, data in NESTED.items()} | {"NOTES": len("notes\n")}


def test_programs_that_list_agree_with_the_registry(nested: Mounted) -> None:
    top = nested.path / VERSION
    lines = told("find", top, "-type", "f", "-printf", r"%P\0%s\0").split("\0")
    found = dict(zip(lines[::2], map(int, lines[1::2]), strict=False))
    assert EXPECTED == found
    assert EXPECTED.keys() == sizes(top).keys()
    listing = told("ls", "-lRN", top)
    assert 1500 == listing.count("part-")
    blocks = sum(-(-os.stat(top / path).st_size // 512) for path in NESTED)
    assert blocks <= int(told("du", "-s", "--block-size=512", top).split()[0]) <= blocks + 1
    assert "0\n" == told("sh", "-c", f"find '{top}' -size +1M | wc -l")


def test_a_name_is_the_same_by_listing_and_by_itself(nested: Mounted) -> None:
    top = nested.path / VERSION
    for folder in ("", "many", "é/ü", "a b"):
        with os.scandir(top / folder) as entries:
            listed = {entry.name: entry.inode() for entry in entries}
        assert listed == {name: os.stat(top / folder / name).st_ino for name in listed}
    status = os.stat(top / "many/part-0007")
    assert (stat.S_IFREG | 0o444, 1, 1) == (status.st_mode, status.st_size, status.st_nlink)
    assert os.stat(top / "many").st_ino == os.stat(top / "many/.").st_ino
    assert os.stat(top).st_ino == os.stat(top / "many/..").st_ino


def test_every_file_is_read_by_many_at_once(nested: Mounted) -> None:
    top = nested.path / VERSION
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda path: (top / path).read_bytes(), NESTED)
        assert list(NESTED.values()) == list(found)


def test_a_name_that_is_not_there_is_enoent(nested: Mounted) -> None:
    for path in ("absent", "many/absent", "many/part-0001/below", b"\xff\xfe", b"many/\xff"):
        with pytest.raises(OSError) as caught:
            os.stat(os.path.join(os.fsencode(nested.path / VERSION), os.fsencode(path)))
        assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR)


def test_a_directory_is_read_on_from_where_somebody_stopped(nested: Mounted) -> None:
    with os.scandir(nested.path / VERSION / "many") as first:
        begun = [next(first).name for _ in range(700)]
        with os.scandir(nested.path / VERSION / "many") as second:
            whole = [entry.name for entry in second]
        assert whole == begun + [entry.name for entry in first]


def test_extended_attributes_are_those_of_the_file(nested: Mounted) -> None:
    path = nested.path / VERSION / "many/part-0003"
    assert b"many/part-0003" == os.getxattr(path, "user.modelfs.path")
    assert {"user.modelfs.ref", "user.modelfs.path"} <= set(os.listxattr(path))
    assert [] == os.listxattr(path.parent)
    for name, code in (("user.absent", errno.ENODATA), ("security.x", errno.EOPNOTSUPP)):
        with pytest.raises(OSError) as caught:
            os.getxattr(path, name)
        assert code == caught.value.errno


# What the mount of a registry that can be written to says; deleting is a matter of permission.
OTHERS = {"exchange": errno.EINVAL, "unlink": errno.EPERM, "rmdir": errno.EPERM}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_directory_of_a_version_refuses_to(kind: str, nested: Mounted) -> None:
    folder = nested.path / VERSION / "é/ü"
    with pytest.raises(OSError) as caught:
        CHANGES[kind](folder / "config.json", folder / "free")
    assert OTHERS.get(kind, errno.EROFS) == caught.value.errno


def test_a_published_file_is_no_part_of_a_draft(nested: Mounted) -> None:
    published = nested.path / VERSION / "many"
    draft = nested.path / VERSION / "../new"
    draft.mkdir()
    (draft / "mine").write_bytes(b"x")
    for act, code in (
        (lambda: os.link(published / "part-0000", draft / "linked"), errno.EXDEV),
        (lambda: os.rename(published / "part-0000", draft / "moved"), errno.EROFS),
        (lambda: os.rename(draft / "mine", published / "moved"), errno.EROFS),
        (lambda: os.link(draft / "mine", published / "linked"), errno.EROFS),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert code == caught.value.errno
    (draft / "mine").unlink()
    draft.rmdir()


@needs_dropping
def test_what_the_kernel_has_forgotten_is_found_again(nested: Mounted) -> None:
    top = nested.path / VERSION
    inodes = {path: os.stat(top / path).st_ino for path in NESTED}
    here = os.open(top / "many", os.O_RDONLY)
    file = os.open(top / "many/part-0042", os.O_RDONLY)
    try:
        with os.scandir(top / "many") as entries:
            begun = {next(entries).name for _ in range(300)}
            for _ in range(3):
                _DROP.write_text("2")
                assert EXPECTED == sizes(top)
            _DROP.write_text("2")
            assert {f"part-{n:04}" for n in range(1500)} == begun | {e.name for e in entries}
        assert b"42" == os.pread(file, 10, 0)
        assert 2 == os.stat("part-0042", dir_fd=here).st_size
        assert inodes == {path: os.stat(top / path).st_ino for path in NESTED}
    finally:
        os.close(here)
        os.close(file)


@needs_dropping
def test_names_are_right_while_the_kernel_forgets_all_the_time(nested: Mounted) -> None:
    top = nested.path / VERSION
    with ThreadPoolExecutor(4) as threads:
        walks = [threads.submit(sizes, top) for _ in range(8)]
        while not all(walk.done() for walk in walks):
            _DROP.write_text("2")
        for walk in walks:
            assert EXPECTED == walk.result()


def test_inode_numbers_outlast_the_mount(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(MODEL)
    found = []
    for name in ("first", "second"):
        top = mounted(kaggle, name=name).path / VERSION
        found.append({path: os.stat(top / path).st_ino for path in NESTED})
    assert found[0] == found[1]


def test_a_version_stays_readable_without_the_registry(
    simulate: Simulate, mounted: Mount, tmp_path: Path
) -> None:
    kaggle = simulate(MODEL)
    mount = mounted(kaggle)
    top = mount.path / VERSION
    for path in NESTED:
        (top / path).read_bytes()
    kaggle.is_down = True
    assert EXPECTED == sizes(top)
    mount.stop()
    again = mounted(kaggle, "--offline", name="again", cache=mount.cache).path / VERSION
    assert NESTED == {path: (again / path).read_bytes() for path in NESTED}


def test_one_name_in_two_registries_is_two_files(
    ending: ExitStack, simulate: Simulate, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [Model("alice", "nested", (_instance({"many/f": b"here"}),))])
    kaggle = simulate(Model("alice", "nested", (_instance({"many/f": b"there", "g": b""}),)))
    top = ending.enter_context(
        Mounted(
            tmp_path / "mount",
            f"here=local:{tmp_path / 'registry'}",
            *("--registry", f"there=kaggle+{kaggle.url}"),
            token=kaggle.token,
        )
    ).path
    found = {name: sizes(top / name / VERSION) for name in ("here", "there")}
    assert {"here": {"many/f": 4}, "there": {"many/f": 5, "g": 0}} == found
    for name in found:
        assert name.encode() == (top / name / VERSION / "many/f").read_bytes()
    assert os.stat(top / "here" / VERSION / "many/f").st_ino != (
        os.stat(top / "there" / VERSION / "many/f").st_ino
    )


def _instance(files: dict[str, bytes]) -> Instance:
    return Instance("jax", "it", (Version(files),))


def test_a_draft_that_became_a_version_is_listed_and_read(mounted: Mount, tmp_path: Path) -> None:
    plant(tmp_path / "registry", [BERT])
    draft = mounted(tmp_path / "registry", "--settle", "0.5").path / BASE / "4"
    (draft / "a/b").mkdir(parents=True)
    files = {"a/b/one": b"1", "two": b"22"}
    for path, data in files.items():
        (draft / path).write_bytes(data)
    inside = os.open(draft / "a", os.O_RDONLY)
    try:
        subprocess.run(["sh", "-c", f"echo words > '{draft}/NOTES'"], check=True, timeout=60)
        settled(draft)
        wait_for(lambda: {*files, "NOTES"} == sizes(draft).keys())
        assert files == {path: (draft / path).read_bytes() for path in files}
        assert ["b"] == os.listdir(inside)
    finally:
        os.close(inside)
    other = mounted(tmp_path / "registry", name="other").path / BASE / "4"
    assert files == {path: (other / path).read_bytes() for path in files}


def test_a_version_that_was_deleted_on_the_registry_goes_away(
    mounted: Mount, tmp_path: Path
) -> None:
    """Who is in it, or has something of it open, is not disturbed."""
    plant(tmp_path / "registry", [MODEL])
    mount = mounted(tmp_path / "registry")
    top = mount.path / VERSION
    inside = os.open(top / "many", os.O_RDONLY)
    try:
        assert b"7" == (top / "many/part-0007").read_bytes()
        store = Store(tmp_path / "registry")
        store.start()
        store.delete_version("alice", "nested", "jax", "it", 1)
        store.stop()
        wait_for(lambda: not top.exists(), 60.0, "the version is gone")
        assert 1 == os.stat("part-0007", dir_fd=inside).st_size
    finally:
        os.close(inside)
