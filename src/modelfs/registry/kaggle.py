"""Kaggle Models as a Registry, over its RPC protocol; also the embedded registry, which speaks it.

Owns the signed addresses of files until they expire, and for a moment what was told of versions,
which is asked for by who looks for one and by who lists its files (one lock, held for look-ups
only). Remembers nothing else: `caching` does.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote, urlsplit

from cachetools import TLRUCache, TTLCache

from modelfs.errors import Corrupt, Error, InvalidName, NotFound, Unauthenticated, Unsupported
from modelfs.model import (
    NOTES,
    Account,
    Document,
    Entry,
    File,
    Item,
    Manifest,
    Page,
    Query,
    Traits,
)
from modelfs.refs import Ref, name_fault
from modelfs.registry import frameworks, listed, metadata, replies
from modelfs.registry.base import Body
from modelfs.registry.http import Http
from modelfs.registry.kaggle_calls import Calls, message_of, objects, version_of
from modelfs.registry.transfer import RangeBody
from modelfs.waiting import Clock

_LEVELS = ("owner", "model", "framework", "instance", "version")
# One per open file of a mount and then some; an address has some 800 bytes.
_MOST_ADDRESSES = 4096
# What a version is called, noted and dated does not change; who lists its files has just found it.
_LATELY, _MOST_INSTANCES = 30.0, 16
# Kaggle unpacks uploaded archives after a version is there, large ones for minutes.
_SETTLING = 600.0
# The identity of the one that everybody means.
KAGGLE = "kaggle"


class KaggleRegistry:
    """Kaggle Models, or a server that speaks its protocol, read.

    `client` talks to the API; `has_login` says whether it has credentials. `owners` are listed at
    the root beside ourselves, since nobody can list all owners.
    """

    def __init__(
        self,
        client: Http,
        *,
        identity: str = "kaggle",
        has_login: bool = False,
        owners: tuple[str, ...] = (),
        clock: Clock = time.time,
    ) -> None:
        self._client = client
        self._calls = Calls(client)
        self._has_login = has_login
        self._owners = owners
        self._clock = clock
        self._lock = threading.Lock()
        self._addresses: TLRUCache[tuple[Ref, str], str] = TLRUCache(
            _MOST_ADDRESSES, ttu=lambda _, url, now: replies.expiry(url, now), timer=clock
        )
        self._told: TTLCache[Ref, tuple[replies.Reply, ...]] = TTLCache(
            _MOST_INSTANCES, ttl=_LATELY, timer=clock
        )
        self._traits = Traits(
            identity=identity,
            levels=_LEVELS,
            is_listed=(False, True, True, True, True),
            documents=((), (metadata.MODEL,), (), (metadata.INSTANCE,), (NOTES,)),
            settling=_SETTLING if identity == KAGGLE else 0.0,
        )

    @property
    def traits(self) -> Traits:
        return self._traits

    def account(self) -> Account:
        if not self._has_login:
            return Account()
        reply = self._client.call("v1/api.v1.DiagnosticsService/Hello", {})
        name = replies.text(reply, "userName")
        if not name:
            raise Unauthenticated("the registry does not know our credentials")
        if fault := name_fault(name):
            raise Corrupt(f"the registry calls us what is no name: {fault}")
        return Account(name)

    def canonical(self, ref: Ref) -> Ref:
        if ref.depth < 3:
            return ref
        try:
            framework = frameworks.parse(ref.parts[2])
        except InvalidName:
            return ref
        return Ref((*ref.parts[:2], framework, *ref.parts[3:]))

    # What there is

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        ref = self.canonical(ref)
        match ref.parts:
            case ():
                return self._known_owners()
            case (owner,):
                return self._models(owner)
            case (_, _):
                return self._frameworks(ref)
            case (_, _, framework):
                return _named(self._frameworks(ref.parent), framework, ref).children or ()
            case (_, _, _, _):
                return self._versions(ref)[0]
        raise NotFound(f"nothing is listed below a version: {ref}")

    def stat(self, ref: Ref) -> Entry:
        ref = self.canonical(ref)
        match ref.parts:
            case (owner,):
                self._check_owner(owner)
                return Entry(owner)
            case (_, _):
                reply = self._calls.ask("GetModel", ref)
                return Entry(ref.name, replies.moment(reply.get("updateTime")))
            case (_, _, _, _):
                self._calls.ask("GetModelInstance", ref)
                return Entry(ref.name)
            case (_, _, _) | (_, _, _, _, _):
                return _named(self.children(ref.parent), ref.name, ref)
        raise NotFound(f"not a name of this registry: {ref}")

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        ref = self.canonical(ref)
        if ref.depth == 2:
            return (replies.model_document(self._calls.ask("GetModel", ref), ref),)
        if ref.depth == 4:
            return (replies.instance_document(self._calls.ask("GetModelInstance", ref), ref),)
        return ()

    def manifest(self, ref: Ref) -> Manifest:
        ref = self.canonical(ref)
        number = version_of(ref)
        items = self._told_of(ref, number)
        with ThreadPoolExecutor(1) as beside:
            asked = None if items else beside.submit(self._versions, ref.parent)
            pages = self._calls.pages("ListModelInstanceVersionFiles", ref, "files")
            files = tuple(replies.files(pages))
            if asked is not None:
                items = asked.result()[1]
        mtime = _named(replies.versions(items), ref.name, ref).mtime
        if mtime is None:
            mtime = max((file.mtime for file in files if file.mtime is not None), default=None)
        return Manifest.of(files, self._notes(ref, number, items, mtime), mtime)

    def _told_of(self, ref: Ref, number: int) -> tuple[replies.Reply, ...]:
        """What was told of the versions beside `ref` a moment ago, if that one was among them."""
        with self._lock:
            items = self._told.get(ref.parent, ())
        numbers = (replies.number(item, "versionNumber") for item in items)
        return items if number in numbers else ()

    def _notes(
        self, ref: Ref, number: int, items: tuple[replies.Reply, ...], mtime: float | None
    ) -> tuple[Document, ...]:
        """The notes of a version.

        The embedded registry tells them with each version. Kaggle tells only those of an
        instance's current version, and nobody the notes of an older one.
        """
        for item in items:
            if replies.number(item, "versionNumber") == number and "versionNotes" in item:
                return replies.notes(item["versionNotes"], mtime)
        model = Ref(ref.parts[:2])
        for item in self._calls.pages("ListModelInstances", model, "instances"):
            if _is_instance(item, ref) and replies.number(item, "versionNumber") == number:
                return replies.notes(item.get("versionNotes"), mtime)
        return ()

    # In its own words

    def item(self, ref: Ref) -> Item:
        ref = self.canonical(ref)
        if ref.depth == 2:
            return Item(ref, self._calls.ask("GetModel", ref))
        if ref.depth == 4:
            return Item(ref, self._calls.ask("GetModelInstance", ref))
        if ref.depth == 5:
            version_of(ref)
            for item in listed.versions(self._versions(ref.parent)[1], ref.parent):
                if item.ref == ref:
                    return item
            raise NotFound(f"not found: {ref}")
        self.stat(ref)
        return Item(ref)

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        ref = self.canonical(ref)
        query = listed.narrowed(ref, query, size)
        paging: dict[str, object] = {"pageSize": size} if size else {}
        paging["pageToken"] = token
        if ref.depth < 2:
            asked = {"owner": query.owner, "search": query.search}
            if query.sort_by:
                asked["sortBy"] = listed.wire_order(query.sort_by)
            message = {key: value for key, value in asked.items() if value}
            reply = self._calls.call("ListModels", {**message, **paging}, ref)
            items = listed.models(replies.objects(reply, "models"), query.owner)
        elif ref.depth < 4:
            model = Ref(ref.parts[:2])
            reply = self._calls.call("ListModelInstances", {**message_of(model), **paging}, ref)
            items = listed.instances(replies.objects(reply, "instances"), model)
            items = tuple(item for item in items if item.ref.parts[: ref.depth] == ref.parts)
        elif ref.depth == 4:
            named = {**message_of(ref), **paging}
            reply = self._calls.call("ListModelInstanceVersions", named, ref)
            items = listed.versions(objects(reply, "versions"), ref)
        else:
            named = {**message_of(ref), **paging}
            reply = self._calls.call("ListModelInstanceVersionFiles", named, ref)
            items = listed.files(replies.objects(reply, "files"), ref)
        return Page(items, replies.text(reply, "nextPageToken"))

    def _known_owners(self) -> tuple[Entry, ...]:
        names = {self.account().name, *self._owners} - {""}
        return tuple(Entry(name) for name in sorted(names))

    def _check_owner(self, owner: str) -> None:
        """Raise NotFound unless `owner` has models that we see, is configured, or is ourselves."""
        if owner in self._owners:
            return
        reply = self._calls.call("ListModels", {"owner": owner, "pageSize": 1}, Ref((owner,)))
        if not replies.models(replies.objects(reply, "models"), owner):
            self._check_ours(owner)

    def _check_ours(self, owner: str) -> None:
        if owner not in self._owners and owner != self.account().name:
            raise NotFound(f"no such owner, or no model of theirs that we may see: {owner}")

    def _models(self, owner: str) -> tuple[Entry, ...]:
        items = self._calls.paged("ListModels", {"owner": owner}, "models", Ref((owner,)))
        found = replies.models(items, owner)
        if not found:
            self._check_ours(owner)
        return found

    def _frameworks(self, ref: Ref) -> tuple[Entry, ...]:
        found = replies.instances(self._calls.pages("ListModelInstances", ref, "instances"))
        if not found:
            self._calls.ask("GetModel", ref)  # nothing in it, or no such model?
        return found

    def _versions(self, ref: Ref) -> tuple[tuple[Entry, ...], tuple[replies.Reply, ...]]:
        """The versions of an instance, and what the registry said of each."""
        items = tuple(self._calls.pages("ListModelInstanceVersions", ref, "versions"))
        found = replies.versions(items)
        if not found:
            self._calls.ask("GetModelInstance", ref)  # nothing in it, or no such instance?
        with self._lock:
            self._told[ref] = items
        return found, items

    # Bytes

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        ref = self.canonical(ref)

        def locate(is_fresh: bool) -> str:
            return self._address(ref, file.path, is_fresh)

        try:
            body = self._client.open(locate, file.size, start, stop)
        except Error:
            # It may never have been the right one: a network's sign-in page redirects, too.
            with self._lock:
                self._addresses.pop((ref, file.path), None)
            raise
        _check_digests(body, file)
        return body

    def _address(self, ref: Ref, path: str, is_fresh: bool) -> str:
        """The signed address of a file, a remembered one unless it has to be fresh."""
        key = (ref, path)
        if not is_fresh:
            with self._lock:
                if known := self._addresses.get(key):
                    return known
        message = {**message_of(ref), "path": path}
        url = self._calls.locate("DownloadModelInstanceVersion", message, ref)
        last = unquote(urlsplit(url).path).rpartition("/")[2]
        if last == f"{path.rpartition('/')[2]}.zip":
            raise Unsupported(f"the registry keeps this file zipped, so no part of it: {path}")
        with self._lock:
            self._addresses[key] = url
        return url

    def close(self) -> None:
        self._client.close()


def _check_digests(body: RangeBody, file: File) -> None:
    """Raise Corrupt if the storage tells another hash than the listing did."""
    for kind in ("md5", "crc32c"):
        listed, told = getattr(file.digests, kind), getattr(body.digests, kind)
        if listed and told and listed != told:
            body.close()
            raise Corrupt(f"{file.path}: the storage has a file of another {kind}")


def _named(entries: tuple[Entry, ...], name: str, ref: Ref) -> Entry:
    for entry in entries:
        if entry.name == name:
            return entry
    raise NotFound(f"not found: {ref}")


def _is_instance(item: replies.Reply, ref: Ref) -> bool:
    try:
        framework = frameworks.parse(replies.text(item, "framework"))
    except InvalidName:
        return False
    return (framework, replies.text(item, "slug")) == ref.parts[2:4]
