"""Resumable uploads: bytes on their way into the registry.

Owns `uploads/<token>/`: `data`, the bytes so far, and `state.json`, what was announced and how it
ended. What is in the file counts as received while the machine has not restarted since; after a
restart only what was synced does, for a file's length can outlive its bytes. A finished session's
data moves to the blobs and its state stays, so that asking again is answered for a week and more.
One writer at a time holds an advisory file lock on the data, also between processes; a second one
is refused, so nobody waits.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType

from modelfs.errors import InvalidName, NoSpace, NotFound, TooLarge, WrongState
from modelfs.model import Digests
from modelfs.refs import name_fault
from modelfs.registry.local.blobs import Blobs
from modelfs.registry.local.disk import (
    Hasher,
    digests_of,
    disk_errors,
    replace_content,
    write_all_at,
)
from modelfs.registry.local.records import Upload
from modelfs.waiting import Clock

# Google's storage keeps resumable sessions for a week and the kaggle client trusts one for six
# days; a day more, so that nobody's clock matters.
KEPT_FOR = 8 * 86400.0

# Larger than the largest single file of any public registry (a few TB are spread over shards).
LARGEST = 1 << 40

# Syncing this often costs little beside the writing, and little is sent again after a power cut.
_MARK = 64 << 20

_NONE_YET = Digests()

_TOKEN = re.compile(r"[0-9a-f]{48}")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class _State:
    """What `state.json` holds. `durable` bytes are synced; digests are set before data moves."""

    name: str
    size: int
    mtime: float
    owner: str
    boot: str
    durable: int = 0
    sha256: str = ""
    md5: str = ""
    crc32c: str = ""

    def upload(self, token: str, received: int, *, is_complete: bool) -> Upload:
        sums = (self.sha256, self.md5, self.crc32c) if is_complete else ("", "", "")
        return Upload(
            token, self.name, self.size, self.mtime, self.owner, received, is_complete, *sums
        )


class _Session:
    """One session's directory."""

    def __init__(self, directory: Path, blobs: Blobs, boot: str) -> None:
        self.token = directory.name
        self.data = directory / "data"
        self.boot = boot
        self.blobs = blobs
        self._state = directory / "state.json"

    def load(self) -> _State:
        try:
            with disk_errors("upload cannot be read"):
                content = self._state.read_bytes() if self._state.exists() else b""
            return _State(**json.loads(content))
        except (ValueError, TypeError) as exc:
            raise NotFound("no such upload, or it has expired") from exc

    def save(self, state: _State) -> None:
        # Losing a small session in a power cut costs its sender less than syncing all of them.
        content = json.dumps(asdict(state)).encode()
        replace_content(self._state, content, is_durable=state.size >= _MARK)

    def received(self, state: _State) -> int:
        try:
            length = self.data.stat().st_size
        except FileNotFoundError:
            return 0
        if not self.boot or state.boot != self.boot:
            length = min(length, state.durable)
        return min(length, state.size)

    def is_complete(self, state: _State) -> bool:
        return bool(state.sha256) and self.blobs.has(state.sha256, state.size)


class Uploads:
    """Resumable uploads. A session survives a restart; a finished one answers for a week more."""

    def __init__(self, directory: Path, blobs: Blobs, clock: Clock) -> None:
        self._directory = directory
        self._blobs = blobs
        self._clock = clock

    def begin(self, name: str, size: int, mtime: float, owner: str) -> Upload:
        """A new session for a file of that base name and size."""
        if fault := name_fault(name):
            raise InvalidName(f"not a file name, {fault}: {name!r}")
        if size < 0 or not math.isfinite(mtime):
            raise InvalidName(f"{name}: size or time cannot be right: {size}, {mtime}")
        if size > LARGEST:
            raise TooLarge(f"{name}: larger than {LARGEST} bytes: {size}")
        token = secrets.token_hex(24)
        with disk_errors(f"{name}: upload cannot begin"):
            if size > shutil.disk_usage(self._directory).free:
                raise NoSpace(f"{name}: the registry's disk has no room for {size} bytes")
            (self._directory / token).mkdir(mode=0o700)
            state = _State(name, size, mtime, owner, _boot())
            self._session(token).save(state)
        return state.upload(token, 0, is_complete=False)

    def find(self, token: str) -> Upload:
        """The session as it is now; NotFound if there is none.

        A crash may have come between the last byte and the move to the blobs: that is made up
        for here.
        """
        session = self._session(token)
        state = session.load()
        if session.is_complete(state):
            return state.upload(token, state.size, is_complete=True)
        received = session.received(state)
        if 0 < received == state.size:
            try:
                with self.open(token, received) as writer:
                    return writer.finish()
            except WrongState:  # its writer is at it
                pass
        return state.upload(token, received, is_complete=False)

    def open(self, token: str, offset: int) -> UploadWriter:
        """A writer that goes on at `offset`, dropping what was received beyond it.

        WrongState if `offset` lies beyond what was received, if the session is complete, or if
        somebody else is writing it.
        """
        session = self._session(token)
        state = session.load()
        if session.is_complete(state):
            raise WrongState(f"{state.name}: upload is complete")
        with disk_errors("upload cannot be written"):
            fd = os.open(session.data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with disk_errors("upload cannot be written"):
                return UploadWriter(session, *_claimed(session, fd, offset))
        except BaseException:
            os.close(fd)
            raise

    def sweep(self) -> int:
        """Forget sessions that nobody touched for a week and more; how many."""
        limit = self._clock() - KEPT_FOR
        swept = 0
        for directory in list(self._directory.iterdir()):
            if _touched(directory) < limit:
                shutil.rmtree(directory, ignore_errors=True)
                swept += 1
        return swept

    def _session(self, token: str) -> _Session:
        if not _TOKEN.fullmatch(token):
            raise NotFound("no such upload, or it has expired")
        return _Session(self._directory / token, self._blobs, _boot())


class UploadWriter:
    """Writes a session's bytes in order; a context manager, used by one thread.

    What was written is kept when it is left without `finish`, as by a broken connection.
    """

    def __init__(self, session: _Session, fd: int, state: _State, offset: int) -> None:
        self._session = session
        self._fd = fd
        self._state = state
        self._offset = offset
        # Only a writer that saw every byte can tell the digests without reading them back.
        self._hasher = Hasher() if offset == 0 else None

    def write(self, data: bytes) -> None:
        """Append `data`; TooLarge if that is more than was announced."""
        if self._offset + len(data) > self._state.size:
            raise TooLarge(f"{self._state.name}: more than the {self._state.size} bytes announced")
        with disk_errors(f"{self._state.name}: upload cannot be written"):
            write_all_at(self._fd, data, self._offset)
            self._offset += len(data)
            if self._hasher:
                self._hasher.update(data)
            if self._offset - self._state.durable >= _MARK:
                self._mark()

    def finish(self) -> Upload:
        """Make what came durable and, if that is everything, hash it and move it to the blobs."""
        with disk_errors(f"{self._state.name}: upload cannot be finished"):
            if self._offset < self._state.size:
                self._mark()
                return self._state.upload(self._session.token, self._offset, is_complete=False)
            digests = self._hasher.digests() if self._hasher else digests_of(self._fd)
            self._mark(digests)
            self._session.blobs.adopt(self._session.data, digests.sha256)
            if self._state.size >= _MARK:  # the names of others are synced with their version
                self._session.blobs.sync([digests.sha256])
        return self._state.upload(self._session.token, self._offset, is_complete=True)

    def _mark(self, digests: Digests = _NONE_YET) -> None:
        os.fsync(self._fd)
        self._state = replace(
            self._state,
            durable=self._offset,
            sha256=digests.sha256,
            md5=digests.md5,
            crc32c=digests.crc32c,
        )
        self._session.save(self._state)

    def __enter__(self) -> UploadWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with disk_errors(f"{self._state.name}: upload cannot be kept"):
                if self._offset > self._state.durable:
                    self._mark()
        finally:
            os.close(self._fd)


def _claimed(session: _Session, fd: int, offset: int) -> tuple[int, _State, int]:
    """The session's data, locked, cut at `offset` and ready to be written there."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise WrongState("upload is being written by another request") from exc
    state = session.load()
    if session.is_complete(state) or not _is_at(session.data, fd):
        # Between our open and our lock the file may have become a blob, which must not change.
        raise WrongState(f"{state.name}: upload is complete")
    received = session.received(state)
    if not 0 <= offset <= received:
        raise WrongState(f"{state.name}: upload goes on at {received}, not at {offset}")
    os.ftruncate(fd, offset)
    durable = min(state.durable, offset)
    changed = replace(state, boot=session.boot, durable=durable, sha256="", md5="", crc32c="")
    if changed != state:
        session.save(changed)
    return fd, changed, offset


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _touched(directory: Path) -> float:
    """When anything of a session last changed; never, if it is gone."""
    moments = []
    for path in (directory, *directory.glob("*")):
        try:
            moments.append(path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return max(moments, default=math.inf)


@cache
def _boot() -> str:
    """Which start of the machine this is; empty where that cannot be told."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
