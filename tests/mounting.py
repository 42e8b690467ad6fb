"""A mount as its users have it: `modelfs mount` in a process of its own.

Owns the process, its log and its mountpoint. Knows nothing of what is mounted.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType

from polling import wait_for
from serving import MODELFS, START, own_environ

# For a process to end that was told to, or killed: its disk keeps it until it has answered.
_DYING = 60.0


def is_mounted(path: Path) -> bool:
    """Whether something is mounted at `path`, also if its process is gone."""
    entries = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(path).replace(" ", "\\040") in {entry.split(" ")[4] for entry in entries}


def is_serving(path: Path) -> bool:
    """Whether something is mounted at `path` and answers."""
    try:
        # Unlike stat, which the kernel may answer for a daemon that is gone. And this first: what
        # a daemon left may be taken away in between, and then the directory below answers.
        return bool(os.statvfs(path)) and is_mounted(path)
    except OSError:
        return False


class Mounted:
    """A running `modelfs mount`; a context manager that ends by asserting that nothing is left.

    What it makes is below `folder`: the mountpoint, the cache, the state. Two of them can share
    a cache by `cache`. `environ` is added to the environment of all its commands.
    """

    def __init__(
        self,
        folder: Path,
        registry: str,
        *options: str,
        token: str = "",
        cache: Path | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.path = folder / "mnt"
        self.cache = cache or folder / "cache"
        self._command = [
            *(str(MODELFS), "mount", str(self.path), "--foreground"),
            *("--registry", registry, "--cache-dir", str(self.cache)),
            *options,
        ]
        self._environ = {"MODELFS_STATE_DIR": str(folder / "state"), **environ}
        if token:
            self._environ["MODELFS_TOKEN"] = token
        self._home = folder / "home"
        self._log = folder / "mount.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether its process is gone, for a reason of its own."""
        return self._process is None or self._process.poll() is not None

    def start(self, *more: str) -> None:
        """Mount, by these options as well."""
        if not is_mounted(self.path):  # a dead mount is what the command itself has to clear away
            self.path.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, *more],
                env=own_environ(self._home, **self._environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._is_ready, START, f"{self.path} is mounted")

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"modelfs mount ended: {self.log}"
        return is_serving(self.path)

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run another modelfs command of the same user; it never ends with a traceback."""
        done = subprocess.run(
            [MODELFS, *map(str, arguments)],
            check=False,
            env=self.environ,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    @property
    def environ(self) -> dict[str, str]:
        return own_environ(self._home, **self._environ)

    def kill(self) -> None:
        """End the mount's process with no warning; its mountpoint is free soon afterwards."""
        assert self._process is not None
        process, self._process = self._process, None
        process.kill()
        process.wait(_DYING)

    def stop(self) -> None:
        """Unmount as a user does; asserts that the mount's process ends well."""
        if self._process is None:
            self.clear()
            return
        process, self._process = self._process, None
        try:
            done = subprocess.run(
                [str(MODELFS), "umount", str(self.path)],
                check=False,
                env=own_environ(self._home, **self._environ),
                capture_output=True,
                text=True,
                timeout=_DYING,
            )
            assert done.returncode == 0, f"modelfs umount: {done.stdout}{done.stderr}{self.log}"
            status = process.wait(_DYING)
            assert status == 0, f"modelfs mount ended with {status}: {self.log}"
            assert not is_mounted(self.path)
            assert "Traceback" not in self.log, self.log
        finally:
            process.kill()
            process.wait(_DYING)
            self.clear()

    def clear(self) -> None:
        """Take away what a process that is gone has left mounted."""
        if is_mounted(self.path):
            subprocess.run(["umount", "--lazy", str(self.path)], check=False, timeout=_DYING)

    def __enter__(self) -> Mounted:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
