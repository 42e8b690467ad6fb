"""The life of a mount: it serves before the command returns, and ends when it is told to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from cli.commands import Shell
from cli.conftest import CONTENT, MODEL, VERSION
from mounting import is_mounted, is_serving
from polling import wait_for
from sims.kaggle import Kaggle
from sims.raw import STALL


def pid_of(shell: Shell) -> int:
    (record,) = (shell.state / "mounts").glob("*.json")
    return int(json.loads(record.read_text())["pid"])


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only what is left until its parent looks."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_mount_serves_when_the_command_returns(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    assert CONTENT == (path / VERSION / "w").read_bytes()
    pid = pid_of(shell)
    assert is_alive(pid)
    done = shell.run("umount", path)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert not is_mounted(path)
    assert not is_alive(pid)
    assert [] == os.listdir(shell.state / "mounts")
    assert "Traceback" not in shell.log


def test_the_status_tells_where_the_log_is(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    _, _, log = shell.run("status").stdout.strip().rpartition(", log ")
    assert f"serving local:{registry} at {path}" in Path(log).read_text()
    (mount,) = json.loads(shell.run("status", "--json").stdout)["mounts"]
    assert log == mount["log"]


def test_a_daemon_has_let_go_of_its_terminal(shell: Shell, registry: Path) -> None:
    shell.mount(registry)
    pid = pid_of(shell)
    assert os.getsid(pid) == pid or os.getsid(pid) != os.getsid(0)
    assert "/" == os.readlink(f"/proc/{pid}/cwd")
    assert ["/dev/null", "/dev/null"] == [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1)]
    assert os.readlink(f"/proc/{pid}/fd/2").startswith(str(shell.state))


def test_the_kernel_is_told_who_mounts_and_how(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    (entry,) = [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4] == str(path)
    ]
    options, _, super_block = entry.partition(" - ")
    assert ["fuse.modelfs", "modelfs"] == super_block.split()[:2]
    assert {"nosuid", "nodev", "noatime"} <= set(options.split()[5].split(","))
    assert "default_permissions" in super_block
    assert "allow_other" not in super_block


def test_a_mountpoint_is_made_if_it_is_missing(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    shell.run("umount", path)
    # Read-only, so that nobody takes what he writes there for published.
    assert 0o555 == path.stat().st_mode & 0o777
    assert path == shell.mount(registry)


def test_a_mount_is_the_same_one_by_every_link_to_it(shell: Shell, registry: Path) -> None:
    disk = shell.folder / "disk"
    disk.mkdir()
    (shell.folder / "home-of-me").symlink_to("disk")
    (disk / "link").symlink_to("../home-of-me/models")
    (disk / "models").mkdir()
    command = ("mount", "--registry", f"local:{registry}")
    for given in ("home-of-me/models", "disk/link", "home-of-me/link"):
        path = shell.folder / given
        done = shell.run(*command, path)
        assert (0, "", "") == (done.returncode, done.stdout, done.stderr), given
        told = shell.run("status").stdout
        assert str(disk / "models") in told, given
        assert "dead" not in told, given
        assert "already" in shell.run(*command, disk / "models").stderr, given
        done = shell.run("warm", path / VERSION)
        assert (0, "") == (done.returncode, done.stderr), given
        done = shell.run("umount", path)
        assert (0, "", "") == (done.returncode, done.stdout, done.stderr), given
        assert not is_mounted(disk / "models")
        shell.run(*command, path)
        os.kill(pid_of(shell), signal.SIGKILL)
        assert "dead" in shell.run("status").stdout, given
        assert 0 == shell.run("umount", path).returncode, given
        assert not is_mounted(disk / "models")


def test_a_mountpoint_may_have_an_odd_name(shell: Shell, registry: Path) -> None:
    for name in ("with space", "grüße", "-o", "a,b", "back\\slash", "tab\there"):
        path = shell.folder / name
        done = shell.run("mount", "--registry", f"local:{registry}", "--", path)
        assert (0, "") == (done.returncode, done.stderr), name
        assert CONTENT == (path / VERSION / "w").read_bytes()
        done = shell.run("umount", "--", path)
        assert (0, "") == (done.returncode, done.stderr), name
        assert not path.is_mount()


def test_a_full_disk_of_the_state_directory_is_said_in_a_sentence(
    shell: Shell, registry: Path
) -> None:
    disk = shell.folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", str(disk)]
    if os.geteuid() or subprocess.run(command, check=False, timeout=20).returncode:
        pytest.skip("only root can have a full disk here")
    try:
        with suppress(OSError), open(disk / "filler", "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        for name in ("log", "mounts"):
            (disk / name).mkdir(mode=0o700)
        path = shell.folder / "mnt"
        words = ("mount", "--read-only", "--registry", f"local:{registry}", path)
        done = shell.run(*words, MODELFS_STATE_DIR=str(disk))
        assert 1 == done.returncode
        assert "Traceback" not in done.stderr
        assert f"modelfs: cannot write {disk}/mounts/" in done.stderr
        assert "No space left on device" in done.stderr
        assert not is_mounted(path)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True, timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_mount_well(number: signal.Signals, shell: Shell, registry: Path) -> None:
    path = shell.folder / "mnt"
    process = shell.start("mount", path, "--foreground", "--registry", f"local:{registry}")
    try:
        wait_for(lambda: is_serving(path), 30)
        assert CONTENT == (path / VERSION / "w").read_bytes()
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait(10)
    assert 0 == process.returncode, output
    assert not is_mounted(path)
    assert [] == os.listdir(shell.state / "mounts")
    assert "Traceback" not in output


def test_a_signal_ends_a_mount_whose_readers_are_stalled(shell: Shell) -> None:
    with ExitStack() as stack:
        kaggle = stack.enter_context(Kaggle([MODEL]))
        path = shell.mount(f"kaggle+{kaggle.url}")
        os.stat(path / VERSION / "w")
        kaggle.storage = lambda *_: [STALL]
        readers = [stack.enter_context(reading(path / VERSION / "w")) for _ in range(5)]
        wait_for(lambda: kaggle.calls()["GET"])
        pid = pid_of(shell)
        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: all(reader.poll() is not None for reader in readers), 10)
        assert all(reader.returncode for reader in readers)
        wait_for(lambda: not is_mounted(path), 10)
        wait_for(lambda: not is_alive(pid), 20)
    assert "Traceback" not in shell.log


def reading(path: Path) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(["cat", path], stdout=quiet, stderr=quiet)


def test_a_busy_mount_is_not_taken_away_unless_lazily(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    pid = pid_of(shell)
    with (path / VERSION / "w").open("rb") as file:
        done = shell.run("umount", path)
        assert 1 == done.returncode
        assert "busy" in done.stderr
        assert "--lazy" in done.stderr
        assert 2 == len(done.stderr.splitlines())
        assert is_serving(path)

        done = shell.run("umount", "--lazy", path)
        assert (0, "") == (done.returncode, done.stderr)
        assert not is_mounted(path)
        assert CONTENT == file.read()
    wait_for(lambda: not is_alive(pid), 15)


def test_a_mount_that_was_unmounted_lazily_leaves_the_next_one_alone(
    shell: Shell, registry: Path
) -> None:
    path = shell.mount(registry)
    first = pid_of(shell)
    with (path / VERSION / "w").open("rb"):
        assert 0 == shell.run("umount", "--lazy", path).returncode
        shell.mount(registry)
    wait_for(lambda: not is_alive(first), 30)
    assert is_serving(path)
    assert first != pid_of(shell)
    assert f"{path}  local:{registry}  up " in shell.run("status").stdout


def test_a_dead_mount_is_replaced(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    pid = pid_of(shell)
    for _ in range(3):
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: not is_alive(pid))
        assert path == shell.mount(registry)
        assert CONTENT == (path / VERSION / "w").read_bytes()
        pid = pid_of(shell)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))
    done = shell.run("umount", path)
    assert (0, "") == (done.returncode, done.stderr)
    assert not is_mounted(path)


@pytest.fixture
def handed_in(shell: Shell) -> Iterator[Path]:
    """The folder of the mountpoint as a container is given it: mounts in it are seen there."""
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("only root can play a container")
    done = subprocess.run(["mount", "--bind", shell.folder, shell.folder], check=False, timeout=20)
    if done.returncode:
        pytest.skip("no mounts of directories here")
    try:
        subprocess.run(["mount", "--make-shared", shell.folder], check=True, timeout=20)
        yield shell.folder
    finally:
        subprocess.run(["umount", "--lazy", shell.folder], check=True, timeout=20)


def test_a_container_that_has_the_directory_above_sees_the_next_mount(
    handed_in: Path, shell: Shell, registry: Path
) -> None:
    """And one that is there before the first."""
    with subprocess.Popen(
        [
            "unshare",
            "--mount",
            "--propagation",
            "slave",
            "sh",
            "-c",
            "while read -r f; do cat $f || exit; done",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as container:
        assert container.stdin
        assert container.stdout
        try:
            for _ in range(2):
                path = shell.mount(registry)
                container.stdin.write(f"{path / VERSION / 'w'}\n".encode())
                container.stdin.flush()
                assert CONTENT == container.stdout.read(len(CONTENT))
                pid = pid_of(shell)
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda pid=pid: not is_alive(pid))
        finally:
            container.stdin.close()
            container.wait(20)
    shell.run("umount", shell.folder / "mnt")


def test_what_others_unmount_is_cleaned_up(shell: Shell, registry: Path) -> None:
    path = shell.mount(registry)
    pid = pid_of(shell)
    subprocess.run(["umount", path], check=True, timeout=20)
    wait_for(lambda: not is_alive(pid), 15)
    assert [] == os.listdir(shell.state / "mounts")


def test_nobody_is_asked_before_something_looks(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        spec = f"kaggle+http://127.0.0.1:{silent.getsockname()[1]}"
        path = shell.mount(spec, MODELFS_TOKEN="KGAT_secret")
        assert is_mounted(path)
        assert os.statvfs(path).f_blocks > 0
        assert path.stat().st_mode
        with pytest.raises(FileNotFoundError):
            (path / ".hidden").stat()
        for name in (".trackerignore", ".nomedia", ".metadata_never_index"):
            assert b"" == (path / name).read_bytes()
            with pytest.raises(OSError, match="Read-only"):
                (path / name).write_bytes(b"")
        # What every write to a file asks for.
        for name in ("security.capability", "system.posix_acl_access"):
            with pytest.raises(OSError, match="not supported"):
                os.getxattr(path, name)
        done = shell.run("status", path)
        assert (0, "") == (done.returncode, done.stderr)
        assert str(path) in done.stdout
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_the_log_says_what_is_in_effect(shell: Shell, registry: Path) -> None:
    """Flags before the environment, and that before what is written nowhere."""
    shell.mount(
        registry,
        *("--verify", "first", "--settle", "3", "--cache-size", "2GB", "-o", "max_read=65536"),
        MODELFS_VERIFY="complete",
    )
    (line,) = [line for line in shell.log.splitlines() if "in effect: " in line]
    told = line.partition("in effect: ")[2].split(", ")
    assert {
        "writable",
        f"cache {shell.folder / 'cache'} of 2000000000 bytes",
        "verify first",
        "settle 3 s",
        "passthrough auto",
        "patience 60 s",
        "nosuid",
        "max_read=65536",
    } <= set(told)
