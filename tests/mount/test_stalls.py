"""A registry that says nothing: who waits for it waits alone, and not for ever."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mount.conftest import Mount, Serve, Simulate
from mount.readers import Reader
from mounting import Mounted
from polling import wait_for
from published import held, settled
from sims import faults
from sims.content import Instance, Model, Version, plant
from sims.kaggle import Kaggle
from sims.raw import STALL, Pause, Request, Script
from sims.relay import Answered, Relay

MIB = 1 << 20
STALLED = random.Random(6).randbytes(40 * MIB)
OTHER = random.Random(7).randbytes(1 << 20)
CACHED = b"read before"
MODEL = Model(
    "alice",
    "stalls",
    (Instance("other", "it", (Version({"stalled": STALLED, "other": OTHER, "cached": CACHED}),)),),
)
VERSION = "alice/stalls/other/it/1"
READERS = 40

# As many files of which nothing comes as a large model has, and one of which all comes.
SILENT = {f"silent-{n:02}": STALLED[n * MIB // 2 : (n + 1) * MIB // 2] for n in range(64)}
HEALTHY = random.Random(8).randbytes(4 * MIB)
MANY = Model(
    "alice",
    "many",
    (
        Instance(
            "other",
            "it",
            (Version({**SILENT, "healthy": HEALTHY, "late": OTHER, "cached": CACHED}),),
        ),
    ),
)
META = "model-instance-metadata.json"


def nothing(request: Request, content: bytes) -> Script:
    return [STALL] if content == STALLED else faults.good(request, content)


def a_head(request: Request, content: bytes) -> Script:
    return (the_beginning if content == STALLED else faults.good)(request, content)


def silence(request: Request, content: bytes) -> Script:
    return [STALL]


def the_beginning(request: Request, content: bytes) -> Script:
    (full,) = faults.good(request, content)
    assert isinstance(full, bytes)
    return [full[: full.index(b"\r\n\r\n") + 104], STALL]


def drops(request: Request, content: bytes) -> Script:
    """A byte now and then."""
    (full,) = faults.good(request, content)
    assert isinstance(full, bytes)
    start = full.index(b"\r\n\r\n") + 4
    yield full[:start]
    for at in range(start, len(full)):
        yield full[at : at + 1]
        yield Pause(0.5)


@pytest.mark.parametrize("ill", [silence, the_beginning, drops])
def test_sixty_four_files_of_which_nothing_comes_hold_up_no_other(
    ill: faults.Fault, simulate: Simulate, ending: ExitStack, tmp_path: Path
) -> None:
    kaggle, other = simulate(MANY), simulate(MODEL)
    mount = ending.enter_context(two_mounted(tmp_path, kaggle, other))
    version, elsewhere = mount.path / "ill/alice/many/other/it/1", mount.path / "well" / VERSION
    names = sorted([*SILENT, "cached", "healthy", "late"])
    assert names == sorted(os.listdir(version))
    assert CACHED == (version / "cached").read_bytes()
    assert OTHER == (elsewhere / "other").read_bytes()
    kaggle.clear()
    silent = set(SILENT.values())
    kaggle.storage = lambda request, content: (
        ill(request, content) if content in silent else faults.good(request, content)
    )
    with waiting([version / name for name in SILENT]):
        within(5, lambda: HEALTHY == (version / "healthy").read_bytes())
        wait_for(lambda: kaggle.calls()["GET"] >= len(SILENT))
        within(1, lambda: names == sorted(os.listdir(version)))
        within(1, lambda: len(HEALTHY) == os.stat(version / "healthy").st_size)
        within(1, lambda: os.statvfs(mount.path).f_blocks > 0)
        within(1, lambda: CACHED == uncached_read(version / "cached"))
        within(2, lambda: OTHER == (version / "late").read_bytes())
        within(5, lambda: STALLED[: 4 * MIB] == beginning(elsewhere / "stalled", 4 * MIB))


@contextmanager
def waiting(paths: Sequence[Path]) -> Iterator[None]:
    """Programs that read `paths`, one each; killed at the end."""
    programs = [subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL) for path in paths]
    try:
        yield
        assert all(program.poll() is None for program in programs)
    finally:
        for program in programs:
            program.kill()
        for program in programs:
            program.wait(10)


@contextmanager
def reading(path: Path, count: int) -> Iterator[list[Reader]]:
    """Processes that wait for `path`, each for another part of it; killed at the end."""
    readers = [Reader(path, number * MIB % len(STALLED)) for number in range(count)]
    try:
        # Nobody waits for the reads of others before he has the file open.
        within(10, lambda: not any(reader.wait_until_reading() for reader in readers))
        yield readers
    finally:
        for reader in readers:
            reader.signal(signal.SIGKILL)
        for reader in readers:
            try:
                reader.finish(10)
            except IndexError:
                pass


def prepared(kaggle: Kaggle, mount: Mounted) -> Path:
    """A version of which everything is known, and one file cached."""
    version = mount.path / VERSION
    for name in os.listdir(version):
        os.stat(version / name)
    assert CACHED == (version / "cached").read_bytes()
    # The registry has told of what the file is; from now on many connections would fetch it.
    with (version / "stalled").open("rb", buffering=0) as file:
        assert STALLED[-10:] == os.pread(file.fileno(), 10, len(STALLED) - 10)
    kaggle.clear()
    return version


@pytest.mark.parametrize("stall", [nothing, a_head])
def test_forty_stalled_readers_hold_up_nobody_else(
    stall: faults.Fault, simulate: Simulate, mounted: Mount
) -> None:
    kaggle = simulate(MODEL)
    mount = mounted(kaggle)
    version = prepared(kaggle, mount)
    kaggle.storage = stall
    with reading(version / "stalled", READERS) as readers:
        wait_for(lambda: kaggle.calls()["GET"] >= 12)
        expected = ["cached", "other", "stalled"]
        within(2, lambda: expected == sorted(os.listdir(version)))
        within(2, lambda: len(STALLED) == os.stat(version / "stalled").st_size)
        within(2, lambda: ["1", "latest", META] == sorted(os.listdir(version.parent)))
        within(2, lambda: os.statvfs(mount.path).f_blocks > 0)
        within(2, lambda: CACHED == uncached_read(version / "cached"))
        within(2, lambda: OTHER == (version / "other").read_bytes())
        done = subprocess.run(["df", mount.path], capture_output=True, timeout=2)
        assert 0 == done.returncode
        assert not any(reader.is_done for reader in readers)


def test_a_signal_frees_a_stalled_reader(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(MODEL)
    mount = mounted(kaggle)
    version = prepared(kaggle, mount)
    kaggle.storage = nothing
    with reading(version / "stalled", 4) as (*stopped, staying):
        wait_for(lambda: kaggle.calls()["GET"])
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
        for reader, number in zip(stopped, numbers, strict=True):
            reader.signal(number)
        wait_for(lambda: all(reader.is_done for reader in stopped), 2)
        assert not staying.is_done
        assert CACHED == uncached_read(version / "cached")


def test_a_mount_ends_at_once_although_the_registry_says_nothing(
    simulate: Simulate, mounted: Mount
) -> None:
    kaggle = simulate(MODEL)
    mount = mounted(kaggle)
    version = prepared(kaggle, mount)
    kaggle.storage = a_head
    with reading(version / "stalled", 4):
        wait_for(lambda: kaggle.calls()["GET"] >= 4)
        kaggle.refusal = [STALL]
        kaggle.clear()
        listing = subprocess.Popen(["ls", mount.path / "alice/unknown"], stderr=subprocess.DEVNULL)
        wait_for(lambda: sum(kaggle.calls().values()))
        start = time.monotonic()
        os.kill(mount.pid, signal.SIGTERM)
        wait_for(lambda: mount.has_ended, 30)
        # In less than what the threads have to end by themselves.
        assert time.monotonic() - start < 4.5
        assert listing.wait(10)
    mount.kill()


def test_a_mount_ends_at_once_although_a_file_is_not_taken(
    serve: Serve, ending: ExitStack, tmp_path: Path
) -> None:
    """And the next mount sends it."""
    served = serve()
    plant(served.directory, [MODEL])
    relay = ending.enter_context(Relay(served.url, silent_storage))
    mount = Mounted(tmp_path / "mount", f"kaggle+{relay.url}", token=served.token)
    ending.enter_context(mount)
    draft = mount.path / "alice/stalls/other/it/2"
    draft.mkdir()
    (draft / "f").write_bytes(OTHER)
    (draft / "NOTES").write_text("more")
    wait_for(lambda: any(request.method == "PUT" for request in relay.requests), 60)
    start = time.monotonic()
    os.kill(mount.pid, signal.SIGTERM)
    wait_for(lambda: mount.has_ended, 30)
    assert time.monotonic() - start < 4.5
    mount.kill()
    relay.meddle = None
    mount.start()
    settled(draft)
    with held(served.directory) as registry:
        assert {"f": OTHER} == registry.files("alice/stalls/other/it/2")


def silent_storage(request: Request, hand_on: Callable[[Request], Answered]) -> Script:
    return [STALL] if request.method == "PUT" else hand_on(request).script


@pytest.mark.slow
def test_a_stalled_read_ends_in_an_error_in_time_and_works_later(
    simulate: Simulate, mounted: Mount
) -> None:
    kaggle = simulate(MODEL)
    mount = mounted(kaggle)
    version = prepared(kaggle, mount)
    kaggle.storage = nothing
    start = time.monotonic()
    with pytest.raises(OSError) as caught:
        (version / "stalled").read_bytes()
    assert caught.value.errno in (errno.EIO, errno.ETIMEDOUT)
    assert time.monotonic() - start < 25
    kaggle.storage = faults.good
    assert STALLED == wait_for(lambda: attempt(version / "stalled"), 25)


def test_a_stalled_listing_holds_up_nobody_else(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(MODEL)
    mount = mounted(kaggle)
    version = prepared(kaggle, mount)
    kaggle.refusal = [STALL]
    listings = [
        subprocess.Popen(
            ["ls", mount.path / "alice" / f"unknown-{n}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for n in range(20)
    ]
    try:
        wait_for(lambda: sum(kaggle.calls().values()) >= 2)
        within(2, lambda: CACHED == uncached_read(version / "cached"))
        within(2, lambda: len(OTHER) == os.stat(version / "other").st_size)
        within(2, lambda: ["1", "latest", META] == sorted(os.listdir(version.parent)))
        assert all(listing.poll() is None for listing in listings)
        for listing in listings:
            listing.send_signal(signal.SIGINT)
        wait_for(lambda: all(listing.poll() is not None for listing in listings), 2)
    finally:
        for listing in listings:
            listing.kill()
            listing.wait(10)


def test_a_registry_whose_listings_stall_holds_up_no_other(
    simulate: Simulate, ending: ExitStack, tmp_path: Path
) -> None:
    ill, well = simulate(MODEL), simulate(MODEL)
    mount = ending.enter_context(two_mounted(tmp_path, ill, well))
    ill.refusal = [STALL]
    with waiting([mount.path / "ill" / f"owner-{n}" / "x/y" for n in range(20)]):
        wait_for(lambda: sum(ill.calls().values()) >= 8)
        within(2, lambda: "cached" in os.listdir(mount.path / "well" / VERSION))
        within(2, lambda: OTHER == (mount.path / "well" / VERSION / "other").read_bytes())


def two_mounted(folder: Path, ill: Kaggle, well: Kaggle) -> Mounted:
    """A mount with a directory for each of them."""
    second = ("--registry", f"well=kaggle+{well.url}")
    return Mounted(folder / "mount", f"ill=kaggle+{ill.url}", *second, token=ill.token)


def within(seconds: float, question: Callable[[], bool]) -> None:
    """Assert that `question` is answered with yes, in time."""
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(question()))
    start = time.monotonic()
    thread.start()
    thread.join(seconds)
    assert [True] == answers, f"after {time.monotonic() - start:.1f} s"


def uncached_read(path: Path) -> bytes:
    """Read `path` past the kernel's own cache, so that the mount has to answer."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()


def beginning(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def attempt(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
