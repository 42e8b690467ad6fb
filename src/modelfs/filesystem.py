"""An fsspec file system: `modelfs://owner/model/framework/instance/version/file`.

What a path means is decided by the same tree that a mount shows; bytes come through the same cache,
with no read-ahead of fsspec's on top. Read-only. Owns the parts it is made of, which start with
their first use, and anew in a process that was forked; one lock, for that alone.
"""

from __future__ import annotations

import errno
import io
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractFileSystem
from fsspec.utils import tokenize

from modelfs import config
from modelfs.api.downloading import open_file
from modelfs.api.opened import BUFFER, CachedReader
from modelfs.api.places import Wanted
from modelfs.assemble import Access, access
from modelfs.errors import Error, NotFound
from modelfs.fs.nodes import Kind, Node
from modelfs.fs.tree import Place, Tree
from modelfs.registry.base import Registry
from modelfs.registry.pinned import PinnedRegistry, Pins, open_pins

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Ranges that are read at once; the cache has more threads than that for their bytes.
_LANES = 8


@dataclass(frozen=True, slots=True)
class _Parts:
    """What answers in one process."""

    access: Access
    registry: Registry
    tree: Tree


class _Process:
    """The parts of one file system in this process, from their first use on."""

    def __init__(self, flags: dict[str, Any]) -> None:
        self._flags = flags
        self._lock = threading.Lock()
        self._parts: _Parts | None = None
        self._ending: weakref.finalize[Any, Any] | None = None
        _alive.add(self)

    @property
    def parts(self) -> _Parts:
        with self._lock:
            if self._parts is None:
                self._parts = self._start()
            return self._parts

    def stop(self) -> None:
        with self._lock:
            self._parts = None
            if self._ending is not None:
                self._ending()

    def forget(self) -> None:
        """As new: in a forked process the threads of the parts are gone, and their locks lost."""
        if self._ending is not None:
            self._ending.detach()
        self._lock, self._parts = threading.Lock(), None

    def _start(self) -> _Parts:
        flags = {name: value for name, value in self._flags.items() if value is not None}
        settings = config.load(flags, os.environ)
        found = access(settings)
        registry: Registry = found.registry
        pins = None
        if settings.pin is not None:
            pins = open_pins(settings.pin, [registry], lambda work: work())
            registry = PinnedRegistry(registry, pins)
        found.cache.start()
        self._ending = weakref.finalize(self, _stop, found, pins)
        return _Parts(found, registry, Tree({"": registry}, lambda _: 0))


def _stop(found: Access, pins: Pins | None) -> None:
    found.stop()
    if pins is not None:
        pins.close()


_alive: weakref.WeakSet[_Process] = weakref.WeakSet()


def _after_fork() -> None:
    for process in list(_alive):
        process.forget()


os.register_at_fork(after_in_child=_after_fork)


class ModelFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A registry of models as fsspec has file systems: listed, and read lazily.

    `registry` is a spec as the command line takes it, `token_file` holds the token for it,
    `cache_dir` is where downloaded bytes are kept; what is not given is configured as for the
    command line. With `offline` the registry is never asked. With `pin` only what that lock file
    locks is there. The last version of an instance can be called `latest`.

    Raises OSError: FileNotFoundError, PermissionError, and others by their errno.
    """

    protocol = "modelfs"
    root_marker = ""

    def __init__(
        self,
        registry: str | None = None,
        token_file: str | None = None,
        cache_dir: str | None = None,
        offline: bool = False,
        pin: str | None = None,
        **storage_options: Any,
    ) -> None:
        super().__init__(**storage_options)
        flags: dict[str, Any] = {
            "registries": registry,
            "token_file": token_file,
            "cache_dir": cache_dir,
            "is_offline": offline or None,
            "pin": pin,
        }
        self._process = _Process(flags)

    def close(self) -> None:
        """Give back threads and connections; the next use starts again."""
        self._process.stop()

    # What there is

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and type; of a file also its time and its digests, as far as known."""
        path = self._strip_protocol(path)
        with _told(path):
            return _described(path, self._resolved(path)[1])

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What a directory lists, without `latest`, or the file `path` itself."""
        path = self._strip_protocol(path)
        with _told(path):
            place, node = self._resolved(path)
            if node.kind is not Kind.DIRECTORY:
                return [_described(path, node)] if detail else [path]
            found: list[Any] = []
            for name, kind, _ino in self._process.parts.tree.listing(place):
                below = f"{path}/{name}" if path else name
                if kind == Kind.FILE and detail:
                    found.append(_described(below, self._resolved(below)[1]))
                elif kind != Kind.LINK:
                    found.append(_directory(below) if detail else below)
            return found

    def exists(self, path: str, **_: Any) -> bool:
        """True if there is something; raises OSError if that cannot be found out."""
        try:
            self.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def isdir(self, path: str) -> bool:
        return self.exists(path) and self.info(path)["type"] == "directory"

    def isfile(self, path: str) -> bool:
        return self.exists(path) and self.info(path)["type"] == "file"

    def modified(self, path: str) -> datetime:
        """When a file or a version was published."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def created(self, path: str) -> datetime:
        """The same: what is published does not change."""
        return self.modified(path)

    def checksum(self, path: str) -> int:
        """The same for the same bytes, where digests are known; else for the same file."""
        return int(self.ukey(path), 16)

    def ukey(self, path: str) -> str:
        """The same for the same bytes, where digests are known; else for the same file."""
        info = self.info(path)
        digest = info.get("sha256") or info.get("md5")
        return str(tokenize(info["size"], digest or info["name"]))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Ask anew for what may have changed: names of models and versions, never their files."""
        if path is None:
            self.close()
            return
        with _told(path):
            parts = self._process.parts
            parts.access.registry.forget(parts.tree.place(self._strip_protocol(path)).ref)

    # Bytes

    def _open(self, path: str, mode: str = "rb", **_: Any) -> ModelFile:
        if mode != "rb":
            self._refuse()
        with _told(path):
            return ModelFile(self, path, self._reader(path))

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """The bytes of a file, or of a range of it; what is negative counts from the end."""
        with self._open(self._strip_protocol(path)) as file:
            first, stop, _step = slice(start, end).indices(file.size)
            file.seek(first)
            return file.read(max(0, stop - first))

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[bytes | Exception]:
        """The bytes of many ranges, several at once; `on_error`: an error's place, or "raise"."""
        first = [starts] * len(paths) if starts is None or isinstance(starts, int) else starts
        last = [ends] * len(paths) if ends is None or isinstance(ends, int) else ends
        if not len(paths) == len(first) == len(last):
            raise ValueError("as many starts and ends as paths are needed")

        def read(place: tuple[str, int | None, int | None]) -> bytes | Exception:
            try:
                return self.cat_file(*place)
            except Exception as exc:
                if on_error == "return":
                    return exc
                raise

        with ThreadPoolExecutor(_LANES) as threads:
            return list(threads.map(read, zip(paths, first, last, strict=True)))

    # Changes

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise OSError(
            errno.EROFS, "modelfs:// is read only; publish with a mount, modelfs or modelfs.api"
        )

    mkdir = makedirs = rmdir = rm = rm_file = _rm = _refuse
    cp_file = copy = mv = put = put_file = pipe = pipe_file = touch = _refuse

    def _resolved(self, path: str) -> tuple[Place, Node]:
        """What `path` names, through `latest`."""
        parts = self._process.parts
        tree, depth = parts.tree, parts.registry.traits.depth
        names = [name for name in path.split("/") if name]
        if len(names) >= depth:
            link = tree.node(tree.place("/".join(names[:depth])))
            if link.kind is Kind.LINK:
                names[depth - 1] = (link.content or b"").decode()
        place = tree.place("/".join(names))
        return place, tree.node(place)

    def _reader(self, path: str) -> io.RawIOBase:
        _, node = self._resolved(path)
        if node.kind is Kind.DIRECTORY:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if node.origin is None:
            return _Text(node.content or b"")
        parts = self._process.parts
        wanted = Wanted(node.origin.ref, node.origin.file)
        return _Reader(open_file(parts.registry, parts.access.cache, wanted), path)


class ModelFile(io.BufferedReader):
    """A file of a version, open; it can be pickled, and is opened anew then."""

    def __init__(self, fs: ModelFileSystem, path: str, raw: io.RawIOBase) -> None:
        super().__init__(raw, BUFFER)
        self.fs = fs
        self.path = path
        self.size: int = raw.size  # type: ignore[attr-defined]

    def __reduce__(self) -> tuple[Callable[..., ModelFile], tuple[ModelFileSystem, str, int]]:
        return _reopened, (self.fs, self.path, self.tell())


class _Reader(CachedReader):
    """The bytes of a published file; what goes wrong is an OSError."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with _told(self.name):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with _told(self.name):
            return super().readall()


class _Text(io.RawIOBase):
    """A document, whose content is at hand."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self.size = len(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self._content.seek(offset, whence)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._content.readinto(buffer)


def _reopened(fs: ModelFileSystem, path: str, position: int) -> ModelFile:
    file: ModelFile = fs.open(path)
    file.seek(position)
    return file


@contextmanager
def _told(path: str) -> Iterator[None]:
    """Errors of ours as those of Python's that their errno stands for."""
    try:
        yield
    except NotFound as exc:
        raise FileNotFoundError(errno.ENOENT, str(exc), path) from exc
    except Error as exc:
        raise OSError(exc.errno, str(exc), path) from exc


def _described(path: str, node: Node) -> dict[str, Any]:
    if node.kind is Kind.DIRECTORY:
        return _directory(path) | {"mtime": node.mtime}
    file = {"name": path, "size": node.size, "type": "file", "mtime": node.mtime}
    if node.origin is None:
        return file
    digests = asdict(node.origin.file.digests)
    told = {name: value for name, value in digests.items() if value}
    return file | {"ref": str(node.origin.ref), "path": node.origin.file.path} | told


def _directory(path: str) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory"}
