"""The face of the Python API: one registry, as calls that block.

Owns the parts that it is made of, which start with their first use. One lock, for that alone.
Every wait ends: questions within the registry client's time-outs, transfers once nothing arrives.
"""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, overload

from modelfs.api import places, publishing
from modelfs.api.downloading import LANES, Transfers, open_file
from modelfs.api.listing import Listing
from modelfs.api.opened import BUFFER, CachedReader
from modelfs.api.progress import Tell
from modelfs.api.targets import converted, write
from modelfs.assemble import Access, access
from modelfs.cache.crew import Crew
from modelfs.config import Config, load, located, parse_registries
from modelfs.errors import InvalidName, NotFound, Unavailable, Unsupported, WrongState
from modelfs.fs.folder import Folder
from modelfs.model import Account, Document, Item, Manifest, Page, Query, Traits
from modelfs.refs import Ref
from modelfs.registry.caching import CachingRegistry

# Inside the class, `list` is its method.
_Paths = list[Path]

# Registries give the number.
_NEW = "new"
# For the threads to end; what hangs in a request by then is left behind.
_STOP = 5.0


class Client:
    """A registry of models: read, downloaded from, published to.

    `registry` is a spec as the command line takes it; without one, and for all else, the
    environment and the configuration file count, or `config` alone if it is given. Safe for many
    threads. Nothing is asked or started before the first call; `close`, or leaving a `with` block,
    ends it.

    Refs are texts like `owner/model/framework/instance/version`, and the version may be `latest`.
    Raises the errors of `modelfs.errors`.
    """

    def __init__(
        self,
        registry: str | None = None,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        is_offline: bool = False,
        config: Config | None = None,
    ) -> None:
        flags: dict[str, Any] = {
            "registries": registry,
            "cache_dir": _path(cache_dir),
            "token_file": _path(token_file),
            "is_offline": is_offline or None,
        }
        self._config = load(flags, os.environ) if config is None else _with(config, flags)
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._crew: Crew | None = None
        self._is_closed = False

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back threads and connections; every call afterwards raises WrongState."""
        with self._lock:
            self._is_closed = True
            found, self._access = self._access, None
            crew, self._crew = self._crew, None
        if crew is not None:
            crew.stop(_STOP)
        if found is not None:
            found.stop()

    # What there is

    @property
    def traits(self) -> Traits:
        """Facts about the registry: its levels, whether it can be written, and so on."""
        return self._registry.traits

    def account(self) -> Account:
        """Who the registry says we are."""
        return self._registry.account()

    def list(
        self,
        ref: str | Ref = "",
        *,
        search: str = "",
        owner: str = "",
        sort_by: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> Listing:
        """What is directly below `ref`: models, instances, versions, or the files of a version.

        `search`, `owner` and `sort_by` are for models. The registry is asked page by page while
        the listing is iterated.
        """
        query = Query(search, owner, sort_by)
        registry = self._registry

        def ask(token: str) -> Page[Item]:
            return registry.page(places.ref_of(registry, ref), query, size=page_size, token=token)

        return Listing(ask, page_token)

    def stat(self, ref: str | Ref) -> Item:
        """What the registry says of a model, an instance or a version."""
        registry = self._registry
        return registry.item(places.ref_of(registry, ref))

    def resolve(self, ref: str | Ref) -> Ref:
        """The one spelling of `ref`, with the number that `latest` stands for now."""
        return places.ref_of(self._registry, ref)

    def manifest(self, ref: str | Ref) -> Manifest:
        """All files of a version, with sizes and digests; of the latest one of an instance."""
        registry = self._registry
        return registry.manifest(places.version_of(registry, ref))

    # Metadata

    def metadata(self, ref: str | Ref) -> dict[str, Any]:
        """What the metadata document of a model or an instance says."""
        registry = self._registry
        document = self._document(places.ref_of(registry, ref))
        told: dict[str, Any] = json.loads(document.content)
        return told

    def update(self, ref: str | Ref, changes: Mapping[str, Any]) -> None:
        """Change keys of a metadata document; what is not in `changes` stays as it is."""
        registry = self._registry
        ref = places.ref_of(registry, ref)
        current = self._document(ref)
        registry.update(ref, _merged(current, changes))

    def create(self, ref: str | Ref, metadata: Mapping[str, Any] | None = None) -> Item:
        """Create a model without a version; private, unless `metadata` says otherwise."""
        registry = self._registry
        ref = places.ref_of(registry, ref)
        blank = registry.blank(ref)
        if not blank:
            raise Unsupported(f"nothing by itself, so it cannot be created: {ref}")
        registry.add(ref, (_merged(blank[0], metadata or {}), *blank[1:]))
        return registry.item(ref)

    def delete(self, ref: str | Ref) -> None:
        """Delete a version, an instance or a model with all below it; no error if it is gone."""
        registry = self._registry
        registry.delete(places.ref_of(registry, ref))

    # Bytes

    @overload
    def open(self, path: str, mode: Literal["rb"] = ...) -> io.BufferedReader: ...
    @overload
    def open(
        self, path: str, mode: Literal["r", "rt"], encoding: str | None = ...
    ) -> io.TextIOWrapper: ...
    def open(
        self, path: str, mode: str = "rb", encoding: str | None = None
    ) -> io.BufferedReader | io.TextIOWrapper:
        """The file at `owner/…/version/path`, for reading: only what is read is downloaded.

        Notes and metadata documents can be opened by their names too.
        """
        if mode not in ("r", "rt", "rb"):
            raise ValueError(f"not a mode for what is published: {mode!r}")
        found = places.named(self._registry, path)
        if isinstance(found, Document):
            raw: Any = io.BytesIO(found.content)
        else:
            raw = CachedReader(open_file(self._registry, self._started.cache, found), str(found))
        buffered = io.BufferedReader(raw, BUFFER)
        return buffered if mode == "rb" else io.TextIOWrapper(buffered, encoding or "utf-8")

    def download(
        self,
        ref: str | Ref,
        directory: str | os.PathLike[str],
        *,
        files: Iterable[str] = (),
        patterns: Iterable[str] = (),
        is_forced: bool = False,
        is_replacing: bool = True,
        link: bool = False,
        progress: Tell | None = None,
    ) -> _Paths:
        """Put the files of a version into `directory`, which is made; where they are.

        `files` are paths, `patterns` are as in `fnmatch`; without both, all files. A file that is
        there with the right bytes stays, unless `is_forced`; another of that name is replaced, or
        Exists without `is_replacing`. The files are the caller's own, unless `link`: they are the
        cache's then, only to be read.
        """
        registry = self._registry
        version = places.version_of(registry, ref)
        manifest = registry.manifest(version)
        wanted = places.chosen(version, manifest, files, patterns)
        target = located(directory)
        with converted(str(target)):
            target.mkdir(parents=True, exist_ok=True)
        if not registry.traits.has_files:
            for document in manifest.documents:
                write(target, document.name, document.content)
            return [target / document.name for document in manifest.documents]
        self._transfers().download(
            wanted,
            target,
            progress,
            is_forced=is_forced,
            is_replacing=is_replacing,
            is_linked=link,
        )
        return [target / each.file.path for each in wanted]

    def warm(
        self,
        refs: str | Ref | Iterable[str | Ref],
        *,
        progress: Tell | None = None,
    ) -> None:
        """Have all bytes of versions, of directories in them or of files in the cache.

        And what a mount needs to find them while the registry is away.
        """
        registry = self._registry
        each = [refs] if isinstance(refs, str | Ref) else refs
        wanted = dict.fromkeys(found for path in each for found in places.under(registry, path))
        for ref in {found.ref for found in wanted}:
            places.look_up(registry, ref)
        self._transfers().warm(wanted, progress)

    # Publishing

    def publish(
        self,
        folder: str | os.PathLike[str],
        ref: str | Ref,
        *,
        notes: str = "",
        directories: Literal["tree", "skip"] = "tree",
        ignore: Iterable[str] = (),
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        progress: Tell | None = None,
    ) -> Ref:
        """Publish the files of a folder as one new version of the instance `ref`; the version.

        Checked before anything is sent, hashed, uploaded side by side, created exactly once, and
        compared with what the registry lists. A call that was interrupted is continued by the next
        one with the same folder and `ref`. Nothing in the folder changes.

        `notes` are the version's; without them, a file NOTES in the folder. `directories` says
        whether folders in it are published or skipped. `ignore` is like `*.log` or, for folders,
        `build/`; what is left out is told as `Progress.ignored`. What does not exist above the
        version is created as `metadata` says, by the names of the documents, or else as files of
        those names in the folder say, or else blank and private.
        """
        found = self._started
        registry, traits = found.registry, found.registry.traits
        if self._config.is_offline:
            raise Unavailable("offline: nothing is published")
        if not traits.is_writable:
            raise Unsupported(f"this registry is only read: {traits.identity}")
        ref = places.instance_of(registry, ref)
        if directories not in ("tree", "skip"):
            raise InvalidName(f"not a way to treat folders: {directories!r}")
        directory = located(folder)
        if not directory.is_dir():
            raise NotFound(f"no such folder: {directory}")
        material = Folder(
            directory,
            ref.child(_NEW),
            traits,
            state=self._config.state_dir,
            spare=self._config.cache_dir / "incoming",
            notes=notes.strip(),
            documents={name: json.dumps(told).encode() for name, told in (metadata or {}).items()},
            ignore=tuple(ignore),
            has_directories=directories == "tree",
        )
        try:
            version, manifest = publishing.publish(
                registry.direct(),
                found.cache,
                self._running_crew(),
                material,
                ref.child(_NEW),
                progress,
            )
        except BaseException:
            registry.forget(ref)
            raise
        finally:
            material.clean()
        registry.made(version, manifest)
        return version

    # The parts

    @property
    def _registry(self) -> CachingRegistry:
        return self._parts.registry

    @property
    def _parts(self) -> Access:
        with self._lock:
            if self._is_closed:
                raise WrongState("the client is closed")
            if self._access is None:
                self._access = access(self._config)
            return self._access

    @property
    def _started(self) -> Access:
        """The parts, with the cache started."""
        found = self._parts
        with self._lock:
            if self._is_closed:  # since a moment ago
                raise WrongState("the client is closed")
            if self._crew is None:
                found.cache.start()
                self._crew = Crew(LANES, "client")
                self._crew.start()
        return found

    def _transfers(self) -> Transfers:
        found = self._started
        return Transfers(found.registry, found.cache, self._running_crew())

    def _running_crew(self) -> Crew:
        if self._crew is None:
            raise WrongState("the client is closed")
        return self._crew

    def _document(self, ref: Ref) -> Document:
        """The metadata document of what `ref` names."""
        documents = self._registry.documents(ref)
        if not documents:
            raise NotFound(f"has no metadata: {ref}")
        return documents[0]


def _path(value: str | os.PathLike[str] | None) -> str | None:
    return None if value is None else os.fspath(value)


def _with(config: Config, flags: Mapping[str, Any]) -> Config:
    """`config`, with what was asked for besides."""
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    if "registries" in given:
        given["registries"] = parse_registries(given["registries"])
    for name in ("cache_dir", "token_file"):
        if name in given:
            given[name] = located(given[name])
    return replace(config, **given)


def _merged(document: Document, changes: Mapping[str, Any]) -> Document:
    """A metadata document with other values for some of its keys."""
    try:
        told = {**json.loads(document.content), **changes}
        return Document(document.name, json.dumps(told, indent=2, ensure_ascii=False).encode())
    except (TypeError, ValueError) as exc:
        raise InvalidName(f"{document.name}: not values of JSON: {exc}") from exc
