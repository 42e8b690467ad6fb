"""The directory a registry is mounted on: whether it will do, and how it becomes free again."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import time
from pathlib import Path

from modelfs.errors import Error, Usage
from modelfs.fs import processes
from modelfs.mount import watchdog

log = logging.getLogger(__name__)

# As root or not, these are what can take a FUSE mount away; the first that there is serves.
_HELPERS = (("fusermount", "-u", "-z"), ("fusermount3", "-u", "-z"), ("umount", "", "-l"))
_DEADLINE = 10.0
_INTERVAL = 0.02
# As many as the kernel follows.
_MOST_LINKS = 40


def prepare(path: Path) -> None:
    """Make `path` a directory that can be mounted on; raises Usage, saying why it cannot be.

    What a dead daemon left is taken away; a missing directory is made: read-only, so that nothing
    written into it while unmounted is taken for published, unless the helper that mounts for
    ordinary users would refuse it then.
    """
    with watchdog.clearing(str(path)):
        if is_stale(path):
            unmount(path, is_lazy=True)
    try:
        path.mkdir(mode=0o555 if os.geteuid() == 0 else 0o755)
    except FileExistsError:
        pass
    except OSError as exc:
        raise Usage(f"cannot make the mountpoint {path}: {exc.strerror}") from exc
    if not path.is_dir():
        raise Usage(f"the mountpoint is not a directory: {path}")
    if path.is_mount():
        raise Usage(f"something is mounted there already: {path}", hint=f"modelfs umount {path}")
    try:
        is_empty = not any(path.iterdir())
    except OSError as exc:
        raise Usage(f"cannot read the mountpoint {path}: {exc.strerror}") from exc
    if not is_empty:
        raise Usage(f"the mountpoint is not empty: {path}", hint="choose an empty directory")


def located(path: Path) -> Path:
    """Where `path` leads, as the kernel names it; who serves there is not asked.

    So a mount is the same one by every link that leads to it.
    """
    place = Path(os.path.abspath(path))
    for _ in range(_MOST_LINKS):
        place = Path(os.path.realpath(place.parent), place.name)
        if _kind(place) or not place.is_symlink():
            break
        place = place.parent / os.readlink(place)
    return place


def is_stale(path: Path) -> bool:
    """True for a mountpoint whose daemon is gone."""
    return watchdog.is_stale(str(path))


def is_ours(path: Path) -> bool:
    """True for the mountpoint of a modelfs, alive or dead. Asks the kernel, not the daemon."""
    return _kind(path) == "fuse.modelfs"


def covering(path: Path) -> Path | None:
    """The mountpoint of the modelfs, alive or dead, that `path` is in. Asks the kernel only."""
    mounted = next((above for above in (path, *path.parents) if _kind(above)), None)
    return mounted if mounted is not None and is_ours(mounted) else None


def unmount(path: Path, *, is_lazy: bool = False) -> None:
    """Take the mount at `path` away; raises Error with the helper's reason.

    Lazily: at once out of the tree, and ended when its last user is gone.
    """
    command = helper(path, is_lazy=is_lazy)
    name = os.path.basename(command[0])
    try:
        done = subprocess.run(
            command,
            # Nothing of ours, which may hold a token; and it speaks English then.
            env={},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE,
        )
    except subprocess.TimeoutExpired as exc:
        raise Error(f"cannot unmount {path}: {name} did not answer") from exc
    if done.returncode and _fields(path):  # else its watchdog was faster
        reason = done.stderr.strip().rpartition(": ")[2] or f"{name} failed"
        raise Error(
            f"cannot unmount {path}: {reason.lower()}",
            hint="see who uses it with: fuser -vm PATH, or use --lazy" if "busy" in reason else "",
        )


def helper(path: Path, *, is_lazy: bool) -> list[str]:
    """The command that takes the mount at `path` away; raises Error if there is none."""
    for name, flag, lazy in _HELPERS:
        if found := shutil.which(name):
            flags = [word for word in (flag, lazy if is_lazy else "") if word]
            return [found, *flags, "--", str(path)]
    raise Error("no fusermount, fusermount3 or umount on this machine")


def record(path: Path) -> str:
    """What a line of `/proc/self/mountinfo` begins with for the mount at `path`."""
    return " ".join(_fields(path)[:5])


def wait_until_gone(path: Path, pid: int | None) -> None:
    """Wait until nothing of ours is mounted at `path` and the daemon `pid` has ended."""
    end = time.monotonic() + _DEADLINE
    while is_ours(path) or (pid is not None and processes.is_alive(pid)):
        if time.monotonic() > end:
            raise Error(f"the daemon of {path} has not ended: pid {pid}")
        time.sleep(_INTERVAL)


def read_ahead(path: Path, size: int) -> None:
    """Let the kernel read `size` bytes ahead in the mount at `path`, if we may tell it to.

    Only root may; everybody else keeps the kernel's 128 KiB. More than a block would be faster
    still where the bytes are here, and fetch what nobody wants where they are not: a tensor of
    0.6 MB cost 2.9 MB at 512 KiB, 7.6 MB at 1 MiB (safetensors, which maps the file).
    """
    fields = _fields(path)
    if fields:
        try:
            Path(f"/sys/class/bdi/{fields[2]}/read_ahead_kb").write_text(str(size >> 10))
        except OSError as exc:
            log.debug("the kernel's read-ahead stays as it is: %s", exc.strerror)


def _kind(path: Path) -> str:
    """The type of the file system mounted at exactly `path`; empty if none is."""
    fields = _fields(path)
    return fields[fields.index("-") + 1] if fields else ""


def _fields(path: Path) -> list[str]:
    """What the kernel tells of the topmost mount at exactly `path`; empty if there is none."""
    wanted = str(path.absolute())
    found: list[str] = []
    # Others' names may be no UTF-8.
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        where = os.fsencode(fields[4]).decode("unicode_escape").encode("latin-1")
        if os.fsdecode(where) == wanted:
            found = fields
    return found
