"""Lock files: which versions are meant, and what is in them, as text that people and `diff` read.

JSON with a line per file, in one order, so that the same content is the same text. Several
processes, on several machines, may add to one file: each reads it again, adds, and replaces it as a
whole, while it holds the lock of the operating system on the file that it replaces. Knows no
registry. No state.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelfs.errors import Error, InvalidName, Unavailable, Usage
from modelfs.model import Digests, File
from modelfs.refs import Ref, file_path_fault, highest

_FORMAT, _KIND = 1, "modelfs_lock"
_HEX_DIGITS = {"sha256": 64, "md5": 32, "crc32c": 8}

# Others hold the file while they write it anew.
_PATIENCE, _PAUSE = 10.0, 0.01


@dataclass(frozen=True, slots=True)
class Locked:
    """What one version holds: its files, sorted by path, and when it was published."""

    files: tuple[File, ...]
    mtime: float | None = None

    def learned(self, other: Locked) -> Locked:
        """With the digests that `other` has and we do not, where it is of the same files."""
        theirs = {file.path: file.digests for file in other.files}
        files = tuple(
            replace(file, digests=united(file.digests, theirs.get(file.path, Digests())))
            for file in self.files
        )
        return replace(self, files=files)


@dataclass(frozen=True, slots=True)
class Section:
    """What is locked of one registry. `latest`: what that means, by the ref it is below."""

    latest: Mapping[Ref, str] = field(default_factory=dict)
    versions: Mapping[Ref, Locked] = field(default_factory=dict)

    def joined(self, other: Section) -> Section:
        """With what `other` has and we do not, but nothing that is later than `latest` here."""
        latest = {
            ref: highest([name, *(each.name for each in self.versions if each.parent == ref)])
            for ref, name in other.latest.items()
        }
        latest.update(self.latest)
        versions = {
            ref: locked.learned(other.versions[ref]) if ref in other.versions else locked
            for ref, locked in self.versions.items()
        }
        for ref, locked in other.versions.items():
            if not _is_later(ref, latest):
                versions.setdefault(ref, locked)
        return Section(latest, versions)

    def is_later(self, ref: Ref) -> bool:
        """True for a version with a higher number than what is `latest`."""
        return _is_later(ref, self.latest)


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file's content, by the identity of the registry.

    `is_recording`: mounts still add to it what they use.
    """

    registries: Mapping[str, Section] = field(default_factory=dict)
    is_recording: bool = False

    def section(self, identity: str) -> Section:
        return self.registries.get(identity, Section())

    def joined(self, other: Lock) -> Lock:
        """With what `other` has and we do not; what is here already stays as it is."""
        names = {**self.registries, **other.registries}
        return replace(
            self,
            registries={name: self.section(name).joined(other.section(name)) for name in names},
        )

    def text(self) -> str:
        """The file's content: the same for the same lock."""
        value: dict[str, Any] = {_KIND: _FORMAT}
        if self.is_recording:
            value["is_recording"] = True
        value["registries"] = {
            name: _dump_section(section) for name, section in sorted(self.registries.items())
        }
        return "".join(_lines(value)) + "\n"


def _is_later(ref: Ref, latest: Mapping[Ref, str]) -> bool:
    name = latest.get(ref.parent, "")
    return ref.name.isdecimal() and name.isdecimal() and int(ref.name) > int(name)


def united(known: Digests, other: Digests) -> Digests:
    """What either of them tells; `known` where both do."""
    return Digests(
        md5=known.md5 or other.md5,
        crc32c=known.crc32c or other.crc32c,
        sha256=known.sha256 or other.sha256,
    )


def read(path: Path) -> Lock:
    """The lock in the file at `path`.

    FileNotFoundError if there is none; Usage if it cannot be read or is no lock file.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise Usage(f"cannot read the lock file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise Usage(f"not a lock file of modelfs: {path}") from exc
    except Usage as exc:
        raise Usage(f"{exc}: {path}") from exc


def parse(text: str) -> Lock:
    """The lock that is written as `text`; raises Usage, saying what is wrong with it."""
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise Usage(f"damaged lock file, {str(exc) or 'too deep'}") from exc
    if not isinstance(value, dict) or _KIND not in value:
        raise Usage("not a lock file of modelfs")
    if value[_KIND] != _FORMAT:
        raise Usage(f"lock file of another modelfs, its version is {value[_KIND]}, not {_FORMAT}")
    try:
        return Lock(
            {name: _load_section(section) for name, section in value["registries"].items()},
            is_recording=value.get("is_recording") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, InvalidName) as exc:
        raise Usage(f"damaged lock file, {type(exc).__name__}: {exc}") from exc


def create(path: Path, lock: Lock) -> bool:
    """Make the file, whole; False if there is one already."""
    with _writing(path) as temporary:
        _write(temporary, lock.text(), path)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def write(path: Path, lock: Lock) -> None:
    """Make the file, or replace it as a whole."""
    path = path.resolve()
    with _writing(path) as temporary:
        _write(temporary, lock.text(), path)
        os.replace(temporary, path)


def change(path: Path, change: Callable[[Lock], Lock]) -> Lock:
    """Replace what is in the file by what `change` makes of it; nobody else does meanwhile."""
    path = path.resolve()
    with _held(path):
        old = read(path)
        new = change(old)
        if new != old:
            write(path, new)
        return new


@contextmanager
def _writing(path: Path) -> Iterator[str]:
    """A new file beside `path`, which is gone afterwards; OSError becomes a sentence."""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        os.close(descriptor)
        try:
            yield temporary
        finally:
            try:
                os.unlink(temporary)
            except FileNotFoundError:  # it is the file now
                pass
    except OSError as exc:
        raise Error(f"cannot write the lock file {path}: {exc.strerror}") from exc


def _write(temporary: str, text: str, path: Path) -> None:
    """Durable, and as open to others as the file it replaces or any new one."""
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        mode = 0o666 & ~_umask()
    with open(temporary, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _umask() -> int:
    """Of this process; the other way of asking changes it for a moment, for all threads."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"^Umask:\s*(\d+)$", status, re.MULTILINE)
    return int(found[1], 8) if found else 0o077


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Nobody else changes the file at `path` meanwhile.

    The lock is on the file itself, which who holds it replaces: so whoever gets it looks whether
    the file still is that one.
    """
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as exc:
            raise Error(f"cannot write the lock file {path}: {exc.strerror}") from exc
        try:
            if _is_ours(fd, path):
                yield
                return
        finally:
            os.close(fd)
        if time.monotonic() > end:
            raise Unavailable(f"the lock file is held by another process: {path}")
        time.sleep(_PAUSE)


def _is_ours(fd: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError as exc:
        raise Error(f"cannot lock the lock file {path}: {exc.strerror}") from exc


# The text


def _dump_section(section: Section) -> dict[str, Any]:
    latest = {str(ref): name for ref, name in section.latest.items()}
    versions = {
        str(ref): _dump_version(locked)
        for ref, locked in sorted(section.versions.items(), key=lambda item: _order(item[0]))
    }
    return {"latest": dict(sorted(latest.items())), "versions": versions}


def _dump_version(locked: Locked) -> dict[str, Any]:
    published = {} if locked.mtime is None else {"published": _moment(locked.mtime)}
    return {**published, "files": {file.path: _dump_file(file) for file in locked.files}}


def _dump_file(file: File) -> dict[str, Any]:
    told = {name: getattr(file.digests, name) for name in _HEX_DIGITS}
    return {"size": file.size, **{name: value for name, value in told.items() if value}}


def _order(ref: Ref) -> tuple[tuple[str, int, str], ...]:
    """Numbers by their value: version 10 comes after version 9."""
    names = ref.parts
    last = int(names[-1]) if names and names[-1].isdecimal() else 0
    return (*((name, 0, "") for name in names[:-1]), ("", last, ref.name))


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """JSON, indented; what holds no other object is one line."""
    if not isinstance(value, dict) or ("size" in value and not _holds_objects(value)):
        yield json.dumps(value, ensure_ascii=False)
        return
    if not value:
        yield "{}"
        return
    inner = indent + "  "
    separator = "{\n"
    for name, item in value.items():
        yield f"{separator}{inner}{json.dumps(name, ensure_ascii=False)}: "
        yield from _lines(item, inner)
        separator = ",\n"
    yield f"\n{indent}}}"


def _holds_objects(value: dict[str, Any]) -> bool:
    return any(isinstance(item, dict) for item in value.values())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name twice is what a bad merge leaves behind."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"twice: {next(name for name in names if names.count(name) > 1)}")
    return found


def _load_section(value: dict[str, Any]) -> Section:
    versions = {Ref.parse(text): _load_version(each) for text, each in value["versions"].items()}
    latest = {Ref.parse(text): name for text, name in value["latest"].items()}
    for ref, name in latest.items():
        if not isinstance(name, str) or ref.child(name) not in versions:
            raise ValueError(f"latest of {ref} is not locked")
    section = Section(latest, versions)
    if later := [ref for ref in versions if section.is_later(ref)]:
        raise ValueError(f"later than latest: {later[0]}")
    return section


def _load_version(value: dict[str, Any]) -> Locked:
    published = value.get("published")
    mtime = None if published is None else datetime.fromisoformat(published).timestamp()
    files = [_load_file(path, each) for path, each in value["files"].items()]
    return Locked(tuple(sorted(files, key=lambda file: file.path)), mtime)


def _load_file(path: str, value: dict[str, Any]) -> File:
    if fault := file_path_fault(path):
        raise ValueError(f"{fault}: {path!r}")
    size = value["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ValueError(f"not a size: {size!r}")
    digests = {name: value.get(name, "") for name in _HEX_DIGITS}
    for name, told in digests.items():
        if told and not re.fullmatch(rf"[0-9a-f]{{{_HEX_DIGITS[name]}}}", told):
            raise ValueError(f"not a {name}: {told!r}")
    return File(path, size, digests=Digests(**digests))


def _moment(mtime: float) -> str:
    text = datetime.fromtimestamp(mtime, UTC).isoformat()
    return text.replace("+00:00", "Z")
