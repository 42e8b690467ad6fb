"""Whatever becomes of the mount's process, nobody is left hanging and the mountpoint is free."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelfs.mount.heart import Pulse
from mount.conftest import Mount
from mount.readers import Reader
from mounting import Mounted, is_mounted
from polling import wait_for

# What a test waits for that takes well under two seconds on a machine that is not overloaded.
SOON = 10.0


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def watchdog_of(mount: Mounted) -> int:
    """Which is started once it is mounted."""

    def running() -> list[int]:
        found = children(mount.pid)
        return [pid for pid in found if b"watchdog.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    [found] = wait_for(running, SOON)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_free(mount: Mounted) -> None:
    wait_for(lambda: not is_mounted(mount.path), SOON, "the mountpoint is free")
    assert [] == list(mount.path.iterdir())


@pytest.fixture
def mount(mounted: Mount, sample: Path) -> Mounted:
    return mounted(sample, "--patience", "2")


def test_a_mount_whose_process_dies_is_taken_away(mount: Mounted) -> None:
    pid = mount.pid
    watchdog = watchdog_of(mount)
    mount.kill()
    wait_until_free(mount)
    said = f"the daemon has died: pid {pid}; its mount was taken away: {mount.path}"
    wait_for(lambda: said in mount.log)
    wait_for(lambda: not is_alive(watchdog))
    assert (
        mount.run("status").stdout.startswith("not mounted") or "dead" in mount.run("status").stdout
    )
    mount.start()
    assert "alice" in os.listdir(mount.path)


def test_the_watchdog_is_small_and_ends_with_the_mount(mount: Mounted) -> None:
    watchdog = watchdog_of(mount)
    rollup = dict(
        line.split()[:2]
        for line in Path(f"/proc/{watchdog}/smaps_rollup").read_text().splitlines()[1:]
    )
    assert int(rollup["Rss:"]) < 12 << 10
    assert int(rollup["Pss:"]) < 8 << 10
    fds = Path(f"/proc/{watchdog}/fd")
    wait_for(lambda: {"0", "1", "2"} == set(os.listdir(fds)))
    os.kill(watchdog, signal.SIGTERM)  # as a service manager does to all of a service
    assert is_alive(watchdog)
    mount.stop()
    assert not is_alive(watchdog)
    assert "modelfs.mount.watchdog" not in mount.log


def test_a_mount_in_the_background_dies_as_well(
    mount: Mounted, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "other"
    told = ("--registry", f"local:{sample}", "--cache-dir", tmp_path / "cache")
    done = mount.run("mount", path, *told)
    assert 0 == done.returncode, done.stderr
    state = mount.environ["MODELFS_STATE_DIR"]
    [pid] = [
        int(p.parent.name)
        for p in Path("/proc").glob("[0-9]*/cmdline")
        if _words(p)[1:4] == [_words(p)[1], "mount", str(path)] and children(int(p.parent.name))
    ]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_mounted(path), SOON)
    [log] = Path(state).glob("log/*.log")
    wait_for(lambda: f"the daemon has died: pid {pid}" in log.read_text())


def _words(cmdline: Path) -> list[str]:
    try:
        return [*cmdline.read_text().split("\0"), "", ""]
    except OSError:
        return ["", ""]


def test_a_mount_that_was_stopped_for_good_frees_who_waits(mount: Mounted) -> None:
    watchdog_of(mount)
    os.kill(mount.pid, signal.SIGSTOP)
    reader = Reader(mount.path / "alice")
    wait_until_free(mount)
    status, _, _errors = reader.finish(SOON)
    assert 1 == status
    wait_for(lambda: "has not moved for 2 s, and was killed" in mount.log)
    mount.kill()


def test_a_mount_that_is_stopped_for_a_moment_goes_on(mount: Mounted) -> None:
    watchdog_of(mount)
    os.kill(mount.pid, signal.SIGSTOP)
    assert not threading.Event().wait(0.5)
    os.kill(mount.pid, signal.SIGCONT)
    assert "alice" in os.listdir(mount.path)
    assert not threading.Event().wait(2.5)  # nor does it die later
    assert "alice" in os.listdir(mount.path)


@pytest.fixture
def hanging(sample: Path, tmp_path: Path) -> Iterator[tuple[Mounted, Path]]:
    """A mount that deadlocks while there is a file of that name and somebody asks for `df`."""
    switch = tmp_path / "switch"
    environ = {
        "PYTHONPATH": str(Path(__file__).parents[1] / "hanging"),
        "HANGING_WHILE": str(switch),
    }
    with Mounted(
        tmp_path / "mount", f"local:{sample}", "--patience", "2", environ=environ
    ) as mount:
        yield mount, switch


def test_a_mount_whose_threads_all_hang_is_ended(hanging: tuple[Mounted, Path]) -> None:
    mount, switch = hanging
    watchdog_of(mount)
    switch.touch()
    callers = [subprocess.Popen(["stat", "-f", mount.path], stderr=-3, stdout=-3) for _ in range(3)]
    wait_until_free(mount)
    assert [1, 1, 1] == [caller.wait(SOON) for caller in callers]
    wait_for(lambda: "was killed" in mount.log)
    mount.kill()


def test_one_call_that_hangs_ends_nothing(hanging: tuple[Mounted, Path]) -> None:
    mount, switch = hanging
    watchdog_of(mount)
    switch.touch()
    caller = subprocess.Popen(["stat", "-f", mount.path], stdout=-3)
    assert not threading.Event().wait(3.0)
    assert "alice" in os.listdir(mount.path)
    switch.unlink()
    assert 0 == caller.wait(SOON)


def test_without_a_watchdog_a_dead_mount_stays(mounted: Mount, sample: Path) -> None:
    mount = mounted(sample, "--no-watchdog")
    assert [] == children(mount.pid)
    mount.kill()
    assert is_mounted(mount.path)
    mount.start()


def test_the_next_mount_is_not_taken_for_the_dead_one(mount: Mounted) -> None:
    for _ in range(3):
        watchdog_of(mount)
        mount.kill()
        mount.start()
        assert "alice" in os.listdir(mount.path)
    assert not threading.Event().wait(0.5)
    assert is_mounted(mount.path)


def test_only_a_loop_that_takes_nothing_more_is_not_well() -> None:
    counts: list[int | None] = [None, 5, 6, 6, None, 6]
    pulse = Pulse(lambda: counts.pop(0))
    assert [True, True, True, False, True, True] == [pulse() for _ in range(6)]
