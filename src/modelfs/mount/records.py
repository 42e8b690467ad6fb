"""Notes in the state directory of who serves which mountpoint.

Each mount owns one file, written when it begins to serve and removed when it ends. A note whose
process is gone is of a mount that was killed; the next one at that mountpoint replaces it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from modelfs.errors import Error
from modelfs.fs import processes
from modelfs.mount import mountpoint
from modelfs.mount.keeping import open_private

# The extended attribute of a mountpoint that says, in JSON, what goes on in the mount.
GAUGES = "user.modelfs.gauges"


@dataclass(frozen=True, slots=True)
class Shown:
    """A registry that a mount shows; `name` is its directory there, empty if it is the root."""

    name: str
    spec: str
    identity: str
    # False if nothing can be published through this mount.
    has_drafts: bool


@dataclass(frozen=True, slots=True)
class Serving:
    """What a note says; `since` is in seconds of the epoch."""

    mountpoint: Path
    pid: int
    since: float
    registries: tuple[Shown, ...]
    # None if it logs to the standard error of who started it.
    log: Path | None

    @property
    def is_alive(self) -> bool:
        """True if the mount is there and its process too. Asks the kernel, not the daemon."""
        return processes.is_alive(self.pid) and mountpoint.is_ours(self.mountpoint)


def name_of(path: Path) -> str:
    """What files about the mount at `path` are called."""
    return sha256(os.fsencode(path)).hexdigest()[:16]


class Record:
    """The note of the mount at `path`."""

    def __init__(self, state_dir: Path, path: Path) -> None:
        self._file = _directory(state_dir) / f"{name_of(path)}.json"
        self._path = path

    def write(self, registries: Sequence[Shown], log: Path | None) -> None:
        """Note that this process serves them, and where it logs."""
        value = {
            "pid": os.getpid(),
            "mountpoint": str(self._path),
            "since": time.time(),
            "registries": [asdict(shown) for shown in registries],
            "log": str(log) if log else None,
        }
        temporary = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            with open(temporary, "x", opener=open_private) as file:
                json.dump(value, file)
            temporary.replace(self._file)
        except OSError as exc:
            temporary.unlink(missing_ok=True)
            raise Error(f"cannot write {self._file}: {exc.strerror}") from exc

    def remove(self, pid: int | None) -> None:
        """Remove what `pid` noted; what another mount there has noted since stays."""
        if self.pid() == pid:
            self._file.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """The daemon's process, if there is a note of it."""
        serving = _read(self._file)
        return serving.pid if serving else None


def recorded(state_dir: Path) -> list[Serving]:
    """All mounts there are notes of, also of those that are gone."""
    found = [_read(file) for file in _directory(state_dir).glob("*.json")]
    return sorted((each for each in found if each is not None), key=lambda each: each.mountpoint)


def _directory(state_dir: Path) -> Path:
    return state_dir / "mounts"


def _read(file: Path) -> Serving | None:
    try:
        value = json.loads(file.read_text())
        return Serving(
            mountpoint=Path(value["mountpoint"]),
            pid=int(value["pid"]),
            since=float(value["since"]),
            registries=tuple(Shown(**shown) for shown in value["registries"]),
            log=Path(log) if (log := value.get("log")) else None,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
