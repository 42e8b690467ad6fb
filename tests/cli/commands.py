"""`modelfs` as a person types it: commands that end, and mounts that go on in the background."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mounting import is_mounted
from polling import wait_for
from serving import MODELFS, own_environ

# As long as a mount may take for what it has under way when it is asked to end.
ENDING = 30.0


class Shell:
    """Runs `modelfs` with a home, a cache and a state of its own; a context manager.

    What is still mounted below `folder` at its end is taken away.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.environ = own_environ(
            folder / "home",
            MODELFS_STATE_DIR=str(self.state),
            MODELFS_CACHE_DIR=str(folder / "cache"),
        )

    def run(
        self, *words: str | Path, before: Sequence[str] = (), **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `modelfs *words`, behind the command `before`."""
        return subprocess.run(
            [*before, str(MODELFS), *map(str, words)],
            check=False,
            env=self.environ | environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=40,
        )

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start `modelfs *words`, which goes on; whoever starts it ends it."""
        return subprocess.Popen(
            [str(MODELFS), *map(str, words)],
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def mount(self, registry: Path | str, *options: str, **environ: str) -> Path:
        """Mount in the background; the mountpoint."""
        spec = f"local:{registry}" if isinstance(registry, Path) else registry
        path = self.folder / "mnt"
        done = self.run("mount", path, "--registry", spec, *options, **environ)
        assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
        return path

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in self.state.glob("log/mount-*.log"))

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        for path in self.folder.iterdir():
            if is_mounted(path):
                self.run("umount", "--lazy", path)
        try:
            # Who is unmounted lazily ends by itself, a little later.
            wait_for(lambda: not self._left(), ENDING, "no processes left behind")
        except AssertionError as exc:
            exc.add_note(self.log)
            raise
        finally:
            for pid in self._left():
                os.kill(pid, 9)

    def _left(self) -> list[int]:
        pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
        return [pid for pid in pids if _is_ours(pid, str(self.folder))]


def _is_ours(pid: int, folder: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return False
    return "mount" in words and any(word.startswith(folder) for word in words)
