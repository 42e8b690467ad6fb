"""Files of drafts that the kernel writes by itself: as on any disk, and never while published.

Whoever has such a file open, or mapped, cannot be refused a write. So each way to keep one is tried
while the draft is to be published: it waits, and has all bytes in the end.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from modelfs.fs import asking
from modelfs.fs.unseen import Unseen, is_written
from modelfs.fs.writing import LocalHandle
from mounting import Mounted
from polling import wait_for
from published import BASE, SETTLE, held, settled, state, status
from sims.content import BERT, plant

WAIT = 30.0
Mounts = Callable[[str], Mounted]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Mapping:
    """A shared mapping that keeps no descriptor, unlike Python's own."""

    def __init__(self, fd: int, size: int) -> None:
        self._size = size
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        self._address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, fd, 0)
        assert self._address != ctypes.c_void_p(-1).value

    def write(self, data: bytes) -> None:
        ctypes.memmove(self._address, data, len(data))

    def close(self) -> None:
        _libc.munmap(self._address, self._size)


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    """A mount of a registry, whose files are passed through: "on", or "off"."""
    found: dict[str, Mounted] = {}
    with ExitStack() as stack:

        def mount(way: str) -> Mounted:
            if way not in found:
                folder = tmp_path_factory.mktemp(f"passthrough-{way}")
                plant(folder / "registry", [BERT])
                options = ("--settle", str(SETTLE), "--passthrough", way, "-v")
                found[way] = Mounted(folder, f"local:{folder / 'registry'}", *options)
                stack.enter_context(found[way])
            return found[way]

        yield mount


def _has_passthrough(mounts: Mounts) -> None:
    if "reads are served without passthrough" in mounts("auto").log:
        pytest.skip("this kernel, or this user, has no FUSE passthrough")


@pytest.fixture
def mount(mounts: Mounts) -> Mounted:
    """One that passes through."""
    _has_passthrough(mounts)
    return mounts("auto")


def _draft(mount: Mounted, request: pytest.FixtureRequest) -> Path:
    path = mount.path / BASE / request.node.name.replace("[", "-").replace("]", "")[:80]
    path.mkdir()
    return path


@pytest.fixture
def draft(mount: Mounted, request: pytest.FixtureRequest) -> Path:
    return _draft(mount, request)


@pytest.fixture(params=["auto", "off"])
def either(mounts: Mounts, request: pytest.FixtureRequest) -> Path:
    """A draft whose files are passed through, and one whose files are not."""
    if request.param == "auto":
        _has_passthrough(mounts)
    return _draft(mounts(request.param), request)


def raised(act: Callable[[bytes], object], data: bytes) -> int:
    """The errno that a call ends with."""
    with pytest.raises(OSError) as caught:
        act(data)
    return int(caught.value.errno or 0)


def note(draft: Path) -> None:
    """Somebody who writes nothing else writes the notes."""
    command = ["sh", "-ec", "echo 'what this version is' > NOTES"]
    subprocess.run(command, cwd=draft, check=True, timeout=WAIT)


def ask(draft: Path) -> None:
    os.setxattr(draft, asking.PUBLISH, b"1")


def published(mount: Mounted, draft: Path) -> dict[str, bytes]:
    """Wait until a draft is published; the files of its version."""
    version = settled(draft)["version"]
    with held(mount.path.parent / "registry") as holdings:
        return holdings.files(version)


def waits(draft: Path, name: str) -> None:
    """It is not published, and says whose fault that is."""
    told = wait_for(
        lambda: told if name in (told := status(draft)).get("reason", "") else None, WAIT, name
    )
    assert "armed" == told["state"]
    time.sleep(2 * SETTLE)  # in which nothing may happen
    assert state(draft) in ("armed", "sealed")


# The kernel writes.


def test_a_draft_is_written_and_read_without_the_daemon(mount: Mounted, draft: Path) -> None:
    content = random.Random(1).randbytes(1 << 20)
    seen = []

    def work() -> None:
        file.write(content[10:])
        seen.append(os.pread(file.fileno(), len(content), 0))

    with (draft / "f").open("w+b", buffering=0) as file:
        file.write(content[:10])  # with the first write the kernel asks what rights go with it
        worker = threading.Thread(target=work)
        os.kill(mount.pid, signal.SIGSTOP)
        try:
            worker.start()
            worker.join(WAIT)
            is_alone = not worker.is_alive()
        finally:
            os.kill(mount.pid, signal.SIGCONT)
            worker.join(WAIT)
    assert (True, [content]) == (is_alone, seen)
    assert content == (draft / "f").read_bytes()


def test_notes_and_what_is_never_sent_are_the_daemons(mount: Mounted, draft: Path) -> None:
    for name in ("NOTES", "f~", ".git/index"):
        path = draft / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb", buffering=0) as file:
            file.write(b"x")
            wait_for(lambda: not _passed(mount, draft), WAIT)
        path.unlink()


def _passed(mount: Mounted, draft: Path) -> list[str]:
    """The files of a draft that the daemon has open only to read them."""
    names = []
    for number in os.listdir(f"/proc/{mount.pid}/fd"):
        try:
            name = os.readlink(f"/proc/{mount.pid}/fd/{number}")
            flags = Path(f"/proc/{mount.pid}/fdinfo/{number}").read_text().split()[3]
        except FileNotFoundError:
            continue
        if f"/{draft.name}/" in name and not int(flags, 8) & os.O_ACCMODE:
            names.append(name)
    return names


def test_nothing_is_left_open_of_what_was_written(mount: Mounted, draft: Path) -> None:
    for number in range(500):
        (draft / f"f{number % 50}").write_bytes(b"x" * number)

    def written() -> int:
        (draft / "again").write_bytes(b"x")  # with each close it is looked after those before
        return len(_passed(mount, draft))

    wait_for(lambda: written() < 10, WAIT)
    assert b"x" * 499 == (draft / "f49").read_bytes()


# As on any disk, whoever writes.


def test_sizes_and_times_are_seen_while_it_is_written(either: Path) -> None:
    path = either / "f"
    with path.open("wb", buffering=0) as file:
        for count in range(1, 6):
            before = path.stat()
            file.write(bytes(100_000))
            after = path.stat()
            assert (100_000 * count, True) == (after.st_size, after.st_mtime_ns > 0)
            assert after.st_mtime_ns >= before.st_mtime_ns
            assert after.st_size == os.fstat(file.fileno()).st_size
            assert after.st_size == file.seek(0, os.SEEK_END)
        os.utime(file.fileno(), ns=(10**18, 10**18 + 1))
        assert 10**18 + 1 == path.stat().st_mtime_ns
        os.fchmod(file.fileno(), 0o604)
        assert 0o604 == path.stat().st_mode & 0o777
        file.write(b"more")
        assert 10**18 + 1 < path.stat().st_mtime_ns


def test_two_writers_and_a_reader_see_the_same_bytes(either: Path) -> None:
    with (
        (either / "f").open("w+b", buffering=0) as one,
        (either / "f").open("r+b", buffering=0) as other,
        (either / "f").open("rb", buffering=0) as reader,
    ):
        one.write(b"0123456789" * 1000)
        other.seek(5000)
        other.write(b"other")
        assert b"other" == os.pread(one.fileno(), 5, 5000) == os.pread(reader.fileno(), 5, 5000)
        os.ftruncate(one.fileno(), 5002)
        assert b"ot" == os.pread(reader.fileno(), 100, 5000)
        os.truncate(either / "f", 5001)
        assert b"o" == os.pread(other.fileno(), 100, 5000)
        with (either / "f").open("wb"):
            assert b"" == os.pread(reader.fileno(), 100, 0)


def test_appends_go_to_the_end(either: Path) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    one, other = os.open(either / "f", flags), os.open(either / "f", flags)
    for count in range(100):
        os.write(one if count % 3 else other, b"%03d" % count)
        if count == 50:
            os.truncate(either / "f", 3)
    os.close(one)
    os.close(other)
    assert b"000" + b"".join(b"%03d" % n for n in range(51, 100)) == (either / "f").read_bytes()


def test_a_mapping_is_written_and_shared(either: Path) -> None:
    (either / "f").write_bytes(bytes(100_000))
    fd = os.open(either / "f", os.O_RDWR)
    mapping = Mapping(fd, 100_000)
    os.close(fd)
    mapping.write(b"mapped")
    with (either / "f").open("r+b") as file, mmap.mmap(file.fileno(), 0) as other:
        other[6:12] = b"as two"
        other.flush()
    mapping.close()
    assert b"mappedas two\0" == (either / "f").read_bytes()[:13]


def test_a_file_keeps_its_writer_when_its_name_changes(either: Path) -> None:
    with (either / "f").open("w+b", buffering=0) as file:
        file.write(b"before")
        os.rename(either / "f", either / "g")
        os.link(either / "g", either / "h")
        file.write(b" and after")
        assert 2 == os.fstat(file.fileno()).st_nlink
        assert b"before and after" == (either / "g").read_bytes() == (either / "h").read_bytes()
        (either / "new").write_bytes(b"new")
        os.rename(either / "new", either / "g")
        os.unlink(either / "h")
        file.write(b", unlinked")
        assert b"before and after, unlinked" == os.pread(file.fileno(), 100, 0)
    assert {"g": b"new"} == {path.name: path.read_bytes() for path in either.glob("[!.]*")}


def test_what_the_kernel_is_asked_for_is_answered(either: Path) -> None:
    with (either / "f").open("w+b", buffering=0) as file:
        file.write(bytes(10_000))
        os.posix_fallocate(file.fileno(), 0, 50_000)
        assert 50_000 == os.fstat(file.fileno()).st_size
        with (either / "g").open("w+b", buffering=0) as target:
            copied = 0
            with suppress(OSError):  # else who copies reads and writes
                copied = os.copy_file_range(file.fileno(), target.fileno(), 50_000)
            assert copied == os.fstat(target.fileno()).st_size
        os.fsync(file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert 10_000 == os.lseek(file.fileno(), 10_000, os.SEEK_SET)
    direct = os.open(either / "f", os.O_RDWR | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as page:
        page[:4] = b"page"
        assert 4096 == os.pwrite(direct, page, 4096)
    os.close(direct)
    assert b"page" == (either / "f").read_bytes()[4096:4100]


# Published when nobody can write to it any more, and not before.


def stays_armed(draft: Path) -> None:
    time.sleep(2 * SETTLE)  # in which nothing may happen
    assert "armed" == state(draft)


def test_it_waits_for_a_descriptor(mount: Mounted, draft: Path) -> None:
    with (draft / "f").open("wb", buffering=0) as file:
        file.write(b"first half, ")
        note(draft)
        stays_armed(draft)
        file.write(b"second half")
    assert {"f": b"first half, second half"} == published(mount, draft)


def test_who_asks_for_it_waits_for_a_descriptor_as_well(mount: Mounted, draft: Path) -> None:
    (draft / "NOTES").write_text("notes")
    with (draft / "f").open("wb", buffering=0) as file:
        ask(draft)
        waits(draft, "f is open or mapped for writing")
        file.write(b"late")
        with (draft / "g").open("wb") as other:  # it can be written to as before
            other.write(b"g")
    assert {"f": b"late", "g": b"g"} == published(mount, draft)


def test_who_has_a_file_open_goes_on_with_others(mount: Mounted, draft: Path) -> None:
    subprocess.run(["sh", "-ec", "echo first > f"], cwd=draft, check=True, timeout=WAIT)
    with (draft / "f").open("r+b", buffering=0) as file:
        note(draft)
        (draft / "g").write_bytes(b"g")  # it was not frozen to see whether he closes it
        assert "armed" == state(draft)
        file.write(b"again")
    assert {"f": b"again\n", "g": b"g"} == published(mount, draft)


def test_it_waits_for_a_mapping_without_a_descriptor(mount: Mounted, draft: Path) -> None:
    (draft / "f").write_bytes(bytes(8192))
    fd = os.open(draft / "f", os.O_RDWR)
    mapping = Mapping(fd, 8192)
    mapping.write(b"early")
    os.close(fd)
    wait_for(lambda: not status(draft)["writers"], WAIT, "the daemon has heard of the close")
    note(draft)
    waits(draft, "f is open or mapped for writing")
    mapping.write(b"later")
    mapping.close()
    assert {"f": b"later" + bytes(8187)} == published(mount, draft)


def test_it_waits_for_a_child_that_has_inherited_it(mount: Mounted, draft: Path) -> None:
    script = "exec 3> f 4<&0; (read line <&4; echo late >&3) & exec 3>&-; echo notes > NOTES; wait"
    command = ["bash", "-c", script]
    with subprocess.Popen(command, cwd=draft, stdin=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        wait_for(lambda: state(draft) == "armed", WAIT, "it waits")
        stays_armed(draft)
        shell.stdin.close()
        shell.wait(WAIT)
    assert {"f": b"late\n"} == published(mount, draft)


def test_it_waits_for_a_file_that_came_from_another_draft(mount: Mounted, draft: Path) -> None:
    other = draft.with_name(f"{draft.name}-other")
    other.mkdir()
    with (other / "f").open("wb", buffering=0) as file:
        os.rename(other / "f", draft / "moved")
        (other / "g").write_bytes(b"g")
        (draft / "NOTES").write_text("notes")
        ask(draft)
        waits(draft, "moved is open or mapped for writing")
        (other / "NOTES").write_text("notes")
        ask(other)
        assert {"g": b"g"} == published(mount, other)  # which nobody has open
        file.write(b"late")
    assert {"moved": b"late"} == published(mount, draft)


def test_it_waits_whatever_the_draft_is_called(mount: Mounted, draft: Path) -> None:
    renamed = draft.with_name(f"{draft.name}-renamed")
    with (draft / "f").open("wb", buffering=0) as file:
        os.rename(draft, renamed)
        note(renamed)
        stays_armed(renamed)
        file.write(b"late")
    assert {"f": b"late"} == published(mount, renamed)


def test_it_waits_for_another_name_of_a_file(mount: Mounted, draft: Path) -> None:
    other = draft.with_name(f"{draft.name}-other")
    other.mkdir()
    with (other / "f").open("wb", buffering=0) as file:
        os.link(other / "f", draft / "g")
        (draft / "NOTES").write_text("notes")
        ask(draft)
        waits(draft, "/f is open or mapped for writing")
        file.write(b"late")
    assert {"g": b"late"} == published(mount, draft)
    subprocess.run(["rm", "-r", other], check=True, timeout=WAIT)


def test_it_does_not_wait_for_what_is_no_file_of_it_any_more(mount: Mounted, draft: Path) -> None:
    (draft / "g").write_bytes(b"g")
    with (draft / "f").open("wb", buffering=0) as file:
        os.unlink(draft / "f")
        (draft / "NOTES").write_text("notes")
        ask(draft)
        assert {"g": b"g"} == published(mount, draft)
        assert 4 == file.write(b"gone")


def test_a_new_draft_is_none_of_who_wrote_to_the_old_one(mount: Mounted, draft: Path) -> None:
    with (draft / "f").open("wb", buffering=0) as file:
        subprocess.run(["rm", "-r", draft], check=True, timeout=WAIT)
        draft.mkdir()
        (draft / "f").write_bytes(b"new")
        (draft / "NOTES").write_text("notes")
        ask(draft)
        assert {"f": b"new"} == published(mount, draft)
        file.write(b"old")


def test_who_reads_it_goes_on_when_it_is_published(mount: Mounted, draft: Path) -> None:
    content = random.Random(2).randbytes(1 << 20)
    (draft / "f").write_bytes(content)
    with (draft / "f").open("rb", buffering=0) as file:
        note(draft)
        assert {"f": content} == published(mount, draft)
        assert content == os.pread(file.fileno(), 2 << 20, 0)
        assert content == (draft / "f").read_bytes()


def test_who_outlives_the_daemon_is_waited_for_by_the_next(
    mounts: Mounts, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _has_passthrough(mounts)
    plant(tmp_path / "registry", [BERT])
    options = ("--settle", str(SETTLE), "--passthrough", "on")
    with Mounted(tmp_path, f"local:{tmp_path / 'registry'}", *options) as mount:
        draft = _draft(mount, request)
        (draft / "NOTES").write_text("notes")
        file = os.open(draft / "f", os.O_WRONLY | os.O_CREAT)
        os.write(file, b"before, ")
        mount.kill()
        mount.start()
        assert b"before, " == (draft / "f").read_bytes()
        ask(draft)
        waits(draft, "f is open or mapped for writing")
        os.write(file, b"after")  # the kernel needs no daemon for that
        with suppress(OSError):  # which is not there to hear of the close
            os.close(file)
        assert {"f": b"before, after"} == published(mount, draft)


def test_a_full_disk_is_said_to_who_writes(
    mounts: Mounts, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _has_passthrough(mounts)
    plant(tmp_path / "registry", [BERT])
    (tmp_path / "state").mkdir(mode=0o700)
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", tmp_path / "state"]
    if subprocess.run(mounting, check=False, capture_output=True, timeout=WAIT).returncode:
        pytest.skip("this user mounts no disks")
    try:
        with Mounted(tmp_path, f"local:{tmp_path / 'registry'}", "--passthrough", "on") as mount:
            draft = _draft(mount, request)
            with (draft / "f").open("wb", buffering=0) as file:
                written = file.write(bytes(4 << 20))
                assert written < 2 << 20
                assert errno.ENOSPC == raised(file.write, bytes(4 << 20))
            (draft / "f").unlink()
            free = lambda: os.statvfs(tmp_path / "state").f_bavail  # noqa: E731
            wait_for(lambda: free() * 4096 > 1 << 20, WAIT, "there is room again")
            (draft / "f").write_bytes(b"room")
            assert b"room" == (draft / "f").read_bytes()
    finally:
        subprocess.run(["umount", tmp_path / "state"], check=True, timeout=WAIT)


# What the disk tells.


def test_the_disk_tells_who_can_write(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(4096))
    reader = os.open(path, os.O_RDONLY)
    assert not is_written(reader)
    writer = os.open(path, os.O_RDWR)
    assert is_written(reader)
    mapping = Mapping(writer, 4096)
    os.close(writer)
    assert is_written(reader)
    mapping.close()
    assert not is_written(reader)
    os.close(reader)


def test_what_is_closed_and_mapped_is_known_until_it_is_not(tmp_path: Path) -> None:
    unseen = Unseen(tmp_path)
    unseen.start([])
    if not unseen.can_tell:
        pytest.skip("this disk does not tell who has a file open")
    draft = tmp_path / "draft"
    draft.mkdir()
    fd = os.open(draft / "f", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 4096)
    ours = unseen.add(fd)
    assert ["f"] == unseen.within(draft)
    assert [] == unseen.within(tmp_path / "dra")
    mapping = Mapping(fd, 4096)
    os.close(fd)
    unseen.remove(ours)
    assert ["f"] == unseen.within(draft)
    mapping.close()
    assert [] == unseen.within(draft)
    unseen.stop()


def test_who_has_a_file_open_at_the_start_is_found(tmp_path: Path) -> None:
    (tmp_path / "draft/below").mkdir(parents=True)
    (tmp_path / "draft/other").touch()
    with (tmp_path / "draft/below/f").open("wb"):
        unseen = Unseen(tmp_path)
        unseen.start([tmp_path / "draft"])
        if not unseen.can_tell:
            pytest.skip("this disk does not tell who has a file open")
        assert ["below/f"] == unseen.within(tmp_path / "draft")
    assert [] == unseen.within(tmp_path / "draft")


@pytest.mark.parametrize(
    ("mode", "left"), [(0o4755, 0o755), (0o2755, 0o755), (0o2744, 0o2744), (0o1644, 0o1644)]
)
def test_the_rights_of_a_file_go_when_somebody_opens_it_to_write(
    mode: int, left: int, tmp_path: Path
) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "f").chmod(mode)
    handle = LocalHandle(os.open(tmp_path / "f", os.O_RDWR), Nobody())
    handle.drop_rights()
    handle.close()
    assert left == (tmp_path / "f").stat().st_mode & 0o7777


class Nobody:
    """Watches, and has nothing to say."""

    def writing(self) -> None:
        """It may be written to."""

    def written(self) -> None:
        """It is of no interest."""

    def flushed(self, size: int) -> None:
        """Nothing comes of it."""

    def closed(self) -> None:
        """It ends."""
