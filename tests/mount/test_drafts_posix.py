"""A draft is a real directory: what programs do to files works in it as on any disk."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mounting import Mounted
from polling import wait_for
from published import BASE
from sims.content import BERT, plant


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    folder = tmp_path_factory.mktemp("posix")
    plant(folder / "registry", [BERT])
    with Mounted(folder, f"local:{folder / 'registry'}") as mount:
        yield mount


@pytest.fixture
def draft(mount: Mounted, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A new draft, which is removed in the end as a user does."""
    path = mount.path / BASE / request.node.name.replace("[", "-").replace("]", "")
    path.mkdir()
    yield path
    subprocess.run(["rm", "-r", path], check=True, timeout=60)
    assert not path.exists()


def raised(*arguments: object) -> int:
    """The errno that a call ends with: `raised(os.mkdir, path)`."""
    function, *rest = arguments
    with pytest.raises(OSError) as caught:
        function(*rest)  # type: ignore[operator]
    return int(caught.value.errno or 0)


# Bytes.


def test_a_file_is_written_anywhere(draft: Path) -> None:
    chance = random.Random(1)
    expected = bytearray()
    with open(draft / "f", "w+b", buffering=0) as file:
        for _ in range(200):
            at, piece = chance.randrange(2_000_000), chance.randbytes(chance.randrange(1, 200_000))
            os.pwrite(file.fileno(), piece, at)
            expected.extend(bytes(max(0, at - len(expected))))
            expected[at : at + len(piece)] = piece
        assert expected == os.pread(file.fileno(), len(expected) + 1, 0)
    assert expected == (draft / "f").read_bytes()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_what_is_made_has_the_mode_that_its_maker_says(mask: int, draft: Path) -> None:
    """Less the mask of the maker, and not less that of the mount."""
    before = os.umask(mask)
    try:
        os.close(os.open(draft / "f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(draft / "d", 0o777)
        os.mkdir(draft.with_name(f"draft-{mask:o}"), 0o777)
    finally:
        os.umask(before)
    made = (draft / "f", draft / "d", draft.with_name(f"draft-{mask:o}"))
    modes = [stat.S_IMODE(path.stat().st_mode) for path in made]
    made[2].rmdir()
    assert [0o666 & ~mask, 0o777 & ~mask, 0o777 & ~mask] == modes


def test_a_file_is_truncated_and_extended(draft: Path) -> None:
    path = draft / "f"
    path.write_bytes(b"0123456789")
    os.truncate(path, 4)
    assert b"0123" == path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(6)
        assert 6 == os.fstat(file.fileno()).st_size
    assert b"0123\0\0" == path.read_bytes()
    path.open("w").close()
    assert b"" == path.read_bytes()


def test_appends_go_to_the_end_whoever_else_writes(draft: Path) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    one, other = os.open(draft / "f", flags), os.open(draft / "f", flags)
    for count in range(20):
        os.write(one if count % 3 else other, b"%02d" % count)
    os.close(one)
    os.close(other)
    assert b"".join(b"%02d" % count for count in range(20)) == (draft / "f").read_bytes()


def test_shell_redirections_append_and_replace(draft: Path) -> None:
    script = "echo a > f; echo b >> f; cat f f > g; echo c | tee -a g > /dev/null"
    subprocess.run(["sh", "-e", "-c", script], cwd=draft, check=True, timeout=30)
    assert "a\nb\n" == (draft / "f").read_text()
    assert "a\nb\na\nb\nc\n" == (draft / "g").read_text()


def test_a_hole_takes_no_room(draft: Path) -> None:
    with (draft / "f").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"end")
    status = (draft / "f").stat()
    assert ((1 << 30) + 3, True) == (status.st_size, status.st_blocks * 512 < 1 << 20)
    with (draft / "f").open("rb") as file:
        assert bytes(4096) == file.read(4096)
        file.seek(-5, os.SEEK_END)
        assert b"\0\0end" == file.read()


def test_a_shared_mapping_is_written_to(draft: Path) -> None:
    path = draft / "f"
    path.write_bytes(bytes(100_000))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[50_000:50_005] = b"hello"
        mapping.flush()
        assert b"hello" == os.pread(file.fileno(), 5, 50_000)
    assert b"hello" == path.read_bytes()[50_000:50_005]


def test_a_private_mapping_is_read(draft: Path) -> None:
    (draft / "f").write_bytes(b"x" * 70_000 + b"y")
    with (
        (draft / "f").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping,
    ):
        assert (70_001, b"y") == (len(mapping), mapping[70_000:])


def test_data_is_flushed_to_disk(draft: Path) -> None:
    with (draft / "f").open("wb", buffering=0) as file:
        file.write(b"x")
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    directory = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


# Names.


def test_an_exclusive_creation_fails_if_there_is_one(draft: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    os.close(os.open(draft / "f", flags))
    assert errno.EEXIST == raised(os.open, draft / "f", flags)


def test_a_rename_replaces(draft: Path) -> None:
    (draft / "a").write_text("a")
    (draft / "b").write_text("b")
    with (draft / "b").open() as file:
        os.rename(draft / "a", draft / "b")
        assert "b" == file.read()  # of the file that was opened
    assert (["b"], "a") == (os.listdir(draft), (draft / "b").read_text())


def test_who_opens_a_file_while_it_is_replaced_finds_the_old_or_the_new_one(draft: Path) -> None:
    path, failures, is_over = draft / "f", list[str](), threading.Event()
    path.write_text("0")
    done = Counter[str]()

    def use(kind: str, function: Callable[[], object]) -> None:
        while not is_over.is_set():
            try:
                function()
            except OSError as exc:
                failures.append(f"{kind}: {exc}")
            done[kind] += 1

    uses = {
        "reading": path.read_text,
        "writing": lambda: path.open("a").close(),
        "stat": path.stat,
        "chmod": lambda: path.chmod(0o644),
    }
    users = [threading.Thread(target=use, args=item) for item in uses.items()]
    for user in users:
        user.start()
    try:
        for number in range(10):
            (draft / "new").write_text(str(number))
            os.rename(draft / "new", path)
            before = done.copy()  # who was too late looks once more, and no more
            wait_for(lambda before=before: all(done[kind] > before[kind] for kind in uses), 60.0)
    finally:
        is_over.set()
        for user in users:
            user.join(30)
    assert [] == failures
    assert "9" == path.read_text()


def test_a_directory_is_renamed_with_what_is_in_it(draft: Path) -> None:
    (draft / "a/b").mkdir(parents=True)
    (draft / "a/b/f").write_text("f")
    os.rename(draft / "a", draft / "c")
    assert "f" == (draft / "c/b/f").read_text()
    assert errno.EINVAL == raised(os.rename, draft / "c", draft / "c/b/d")
    (draft / "full").mkdir()
    (draft / "full/f").touch()
    assert errno.ENOTEMPTY == raised(os.rename, draft / "c", draft / "full")


def test_directories_are_removed_when_empty(draft: Path) -> None:
    (draft / "a/b").mkdir(parents=True)
    assert errno.ENOTEMPTY == raised(os.rmdir, draft / "a")
    assert errno.EISDIR == raised(os.unlink, draft / "a")
    (draft / "a/b").rmdir()
    (draft / "a").rmdir()
    assert [] == os.listdir(draft)
    assert errno.ENOENT == raised(os.rmdir, draft / "a")


def test_the_draft_itself_is_removed_only_when_empty(draft: Path) -> None:
    (draft / "f").touch()
    assert errno.ENOTEMPTY == raised(os.rmdir, draft)


def test_an_unlinked_file_lives_while_it_is_open(draft: Path) -> None:
    with (draft / "f").open("w+b", buffering=0) as file:
        file.write(b"before")
        os.unlink(draft / "f")
        assert [] == os.listdir(draft)
        file.write(b" and after")
        os.ftruncate(file.fileno(), 12)
        assert b"before and a" == os.pread(file.fileno(), 100, 0)
        assert 12 == os.fstat(file.fileno()).st_size
    assert errno.ENOENT == raised(os.stat, draft / "f")


def test_temporary_files_of_python_work(draft: Path) -> None:
    code = (
        "import tempfile\n"
        "with tempfile.TemporaryFile(dir='.') as file:\n"
        "    file.write(b'x' * 100000); file.seek(0); assert len(file.read()) == 100000\n"
        "with tempfile.NamedTemporaryFile(dir='.') as file: file.write(b'x')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=draft, check=True, timeout=30)
    assert [] == os.listdir(draft)


def test_symbolic_links_are_what_was_written(draft: Path) -> None:
    (draft / "f").write_text("f")
    for name, target in (("to-file", "f"), ("broken", "no/such"), ("absolute", "/etc/hostname")):
        os.symlink(target, draft / name)
        assert target == os.readlink(draft / name)
    assert "f" == (draft / "to-file").read_text()
    assert errno.EEXIST == raised(os.symlink, "x", draft / "broken")
    assert errno.EINVAL == raised(os.readlink, draft / "f")


def test_hard_links_are_one_file(draft: Path) -> None:
    (draft / "a").write_text("first")
    os.link(draft / "a", draft / "b")
    assert (draft / "a").stat().st_ino == (draft / "b").stat().st_ino
    assert 2 == (draft / "b").stat().st_nlink
    with (draft / "b").open("a") as file:
        file.write(" and second")
    assert "first and second" == (draft / "b").read_text()
    assert "first and second" == (draft / "a").read_text()
    os.unlink(draft / "a")
    assert "first and second" == (draft / "b").read_text()


def test_what_was_just_made_shows_all_that_is_done_to_it(draft: Path) -> None:
    """The kernel need not ask for it a moment after it was made: as long as nothing happens."""
    with (draft / "a").open("wb") as file:
        fd = file.fileno()
        assert (0, 1) == (os.fstat(fd).st_size, os.fstat(fd).st_nlink)
        os.write(fd, b"one")
        assert 3 == os.fstat(fd).st_size
    made = os.open(draft / "b", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.chmod(draft / "b", 0o644)
        assert 0o644 == stat.S_IMODE(os.fstat(made).st_mode)
        os.link(draft / "b", draft / "c")
        assert 2 == os.fstat(made).st_nlink
        (draft / "c").write_bytes(b"by another name")
        assert 15 == os.fstat(made).st_size == (draft / "b").stat().st_size
        os.truncate(draft / "c", 4)
        assert 4 == os.fstat(made).st_size
        (draft / "c").unlink()
        assert 1 == os.fstat(made).st_nlink
    finally:
        os.close(made)


def test_a_second_name_is_seen_by_the_first_at_once(draft: Path) -> None:
    first, second = draft / "first", draft / "second"
    first.touch()
    assert 1 == first.stat().st_nlink
    second.hardlink_to(first)
    assert (2, 2) == (first.stat().st_nlink, second.stat().st_nlink)
    second.chmod(0o640)
    assert 0o640 == first.stat().st_mode & 0o777
    second.write_bytes(b"of the second")
    assert 13 == first.stat().st_size


def test_a_published_file_is_not_linked_into_a_draft(draft: Path) -> None:
    published = draft.parent / "1/config.json"
    assert errno.EXDEV == raised(os.link, published, draft / "f")
    assert errno.EROFS == raised(os.rename, published, draft / "f")


def test_there_are_no_special_files(draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert errno.EPERM == raised(os.mkfifo, draft / "fifo")
    monkeypatch.chdir(draft)  # the name of a socket has room for 107 bytes
    with socket.socket(socket.AF_UNIX) as sock:
        assert errno.EPERM == raised(sock.bind, "socket")
    assert [] == os.listdir(draft)


def test_hidden_files_and_odd_names_are_like_any_other(draft: Path) -> None:
    names = {".hidden", "grüße 模型 🤗.bin", "quote'\"\\back", "x" * 255, " ", "-rf", "*", "a\tb"}
    names = {name for name in names if "\t" not in name}
    for name in names:
        (draft / name).write_text(name)
    assert names == set(os.listdir(draft))
    assert all(name == (draft / name).read_text() for name in names)


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "\x7f"])
def test_a_name_with_a_control_character_is_refused(mount: Mounted, name: str) -> None:
    draft = mount.path / BASE / "controls"
    draft.mkdir()
    try:
        assert errno.EINVAL == raised(os.mkdir, draft / name)
        assert errno.EINVAL == raised((draft / name).touch)
    finally:
        draft.rmdir()


def test_the_hidden_directory_of_a_draft_is_ours(draft: Path) -> None:
    for path in (draft / ".modelfs", draft / ".modelfs/mine"):
        assert raised(os.mkdir, path) in (errno.EEXIST, errno.EINVAL, errno.EROFS)
    assert raised((draft / ".modelfs/f").touch) in (errno.EINVAL, errno.EROFS)
    (draft / "f").touch()
    assert raised(os.rename, draft / "f", draft / ".modelfs/f") in (errno.EPERM, errno.EROFS)
    assert ["status.json"] == os.listdir(draft / ".modelfs")
    assert ["f"] == os.listdir(draft)


def test_directories_nest_deeply(draft: Path) -> None:
    path = draft
    for _ in range(90):
        path /= "directory"
        path.mkdir()
    (path / "f").write_text("deep")
    assert 90 == sum(1 for _ in os.walk(draft)) - 1
    assert "deep" == (path / "f").read_text()


# Attributes.


def test_modes_and_times_are_kept(draft: Path) -> None:
    path = draft / "f"
    path.touch()
    os.chmod(path, 0o604)
    os.utime(path, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
    status = path.stat()
    assert 0o604 == stat.S_IMODE(status.st_mode)
    times = (status.st_atime_ns, status.st_mtime_ns)
    assert (1_600_000_000_123_456_789, 1_500_000_000_987_654_321) == times
    before = time.time()
    os.utime(path)
    assert abs(path.stat().st_mtime - before) < 5
    subprocess.run(["touch", "-a", "-d", "2001-01-01", path], check=True, timeout=30)
    assert abs(path.stat().st_mtime - before) < 5


def test_a_file_is_made_with_the_mode_that_is_asked_for(draft: Path) -> None:
    os.close(os.open(draft / "f", os.O_WRONLY | os.O_CREAT, 0o640))
    os.mkdir(draft / "d", 0o750)
    modes = [stat.S_IMODE((draft / name).stat().st_mode) for name in "fd"]
    assert [0o640, 0o750] == modes


def test_extended_attributes_are_kept(draft: Path) -> None:
    path = draft / "f"
    path.touch()
    os.setxattr(path, "user.colour", b"green")
    os.setxattr(path, "user.binary", bytes(range(256)))
    assert b"green" == os.getxattr(path, "user.colour")
    assert bytes(range(256)) == os.getxattr(path, "user.binary")
    assert {"user.colour", "user.binary"} == set(os.listxattr(path))
    assert errno.EEXIST == raised(os.setxattr, path, "user.colour", b"", os.XATTR_CREATE)
    os.removexattr(path, "user.colour")
    assert errno.ENODATA == raised(os.getxattr, path, "user.colour")


def test_the_disk_of_a_draft_has_room(draft: Path) -> None:
    space = os.statvfs(draft)
    assert 0 < space.f_bavail <= space.f_blocks
    subprocess.run(["df", draft], check=True, capture_output=True, timeout=30)


# Locks: another process has to see them.


_TRY = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    for lock in (fcntl.flock, fcntl.lockf):
        try:
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            print("free", end=" ")
        except BlockingIOError:
            print("held", end=" ")
"""


def test_locks_are_seen_by_other_processes(draft: Path) -> None:
    path = draft / "f"
    path.write_bytes(b"x" * 10)

    def elsewhere() -> list[str]:
        command = [sys.executable, "-c", _TRY, path]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30)
        return done.stdout.split()

    assert ["free", "free"] == elsewhere()
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert ["held", "free"] == elsewhere()
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert ["held", "held"] == elsewhere()
    assert ["free", "free"] == elsewhere()


# Programs.


def test_a_database_lives_in_a_draft(draft: Path) -> None:
    code = (
        "import sqlite3\n"
        "base = sqlite3.connect('base.db')\n"
        "base.execute('create table t (x)')\n"
        "with base: base.executemany('insert into t values (?)', [(n,) for n in range(1000)])\n"
        "assert base.execute('select sum(x) from t').fetchone() == (499500,)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=draft, check=True, timeout=60)


def test_tensors_are_saved_and_loaded(draft: Path) -> None:
    numpy = pytest.importorskip("numpy")
    from safetensors.numpy import load_file, save_file

    tensors = {f"layer.{n}": numpy.arange(5000, dtype="float32") * n for n in range(20)}
    save_file(tensors, draft / "model.safetensors")
    loaded = load_file(draft / "model.safetensors")
    assert all((tensors[name] == loaded[name]).all() for name in tensors)
    mapped = numpy.memmap(draft / "map", dtype="float32", mode="w+", shape=(1000,))
    mapped[:] = 7
    mapped.flush()
    assert 7 == numpy.memmap(draft / "map", dtype="float32", mode="r")[999]


def test_git_works_in_a_draft(draft: Path) -> None:
    script = (
        "git init -q . && git config user.email a@b && git config user.name n && "
        "echo one > f && git add f && git commit -qm one && echo two > f && git commit -qam two && "
        "git checkout -q HEAD~1 && git fsck --strict && test $(cat f) = one && git gc -q"
    )
    if not shutil.which("git"):
        pytest.skip("no git")
    subprocess.run(["sh", "-e", "-c", script], cwd=draft, check=True, timeout=60)


def test_ten_thousand_files(draft: Path) -> None:
    for number in range(10_000):
        os.close(os.open(draft / f"file-{number:05}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    assert [f"file-{number:05}" for number in range(10_000)] == sorted(os.listdir(draft))
