"""Kaggle Models as a Registry, over its RPC protocol; also the embedded registry, which speaks it.

Owns the signed addresses of files until they expire (one lock, held for look-ups only). Remembers
nothing else: `caching` does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from cachetools import TLRUCache

from modelfs.errors import (
    Corrupt,
    Error,
    Forbidden,
    InvalidName,
    NotFound,
    Unauthenticated,
    Unsupported,
)
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
from modelfs.registry.credentials import Credentials, Login
from modelfs.registry.http import Http
from modelfs.registry.retries import LIMITS, Limits
from modelfs.registry.transfer import RangeBody
from modelfs.waiting import Clock

_LEVELS = ("owner", "model", "framework", "instance", "version")
MODELS = "v1/models.ModelApiService"
# The most that the official client's help allows. The live service gives fewer of some things,
# so a short page never means the last.
_PAGE = 200
# A million names of one level is a registry that pages for ever, not a directory.
_MOST_PAGES = 5000
# One per open file of a mount and then some; an address has some 800 bytes.
_MOST_ADDRESSES = 4096


def connect(
    base: str, found: Credentials, environ: Mapping[str, str], limits: Limits = LIMITS
) -> Http:
    """A client of the API at `base` that signs in with `found`. Sends nothing yet."""

    def renew(refresh: str) -> Mapping[str, Any]:
        message = {
            "refreshToken": refresh,
            "apiVersion": "API_VERSION_V1",
            "expirationDuration": "43200s",
        }
        # Without the token that has expired, hence not the client that is being made.
        with closing(Http(base, environ=environ, limits=limits)) as anonymous:
            return anonymous.call("v1/users.AccountService/GenerateAccessToken", message)

    authorization = Login(found, renew).header
    return Http(base, authorization=authorization, environ=environ, limits=limits)


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
        self._has_login = has_login
        self._owners = owners
        self._clock = clock
        self._lock = threading.Lock()
        self._addresses: TLRUCache[tuple[Ref, str], str] = TLRUCache(
            _MOST_ADDRESSES, ttu=lambda _, url, now: replies.expiry(url, now), timer=clock
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
                reply = self._ask("GetModel", ref)
                return Entry(ref.name, replies.moment(reply.get("updateTime")))
            case (_, _, _, _):
                self._ask("GetModelInstance", ref)
                return Entry(ref.name)
            case (_, _, _) | (_, _, _, _, _):
                return _named(self.children(ref.parent), ref.name, ref)
        raise NotFound(f"not a name of this registry: {ref}")

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        ref = self.canonical(ref)
        if ref.depth == 2:
            return (replies.model_document(self._ask("GetModel", ref), ref),)
        if ref.depth == 4:
            return (replies.instance_document(self._ask("GetModelInstance", ref), ref),)
        return ()

    def manifest(self, ref: Ref) -> Manifest:
        ref = self.canonical(ref)
        number = _version(ref)
        listed = tuple(self._pages("ListModelInstanceVersionFiles", ref, "files"))
        found, items = self._versions(ref.parent)
        entry = _named(found, ref.name, ref)
        files = tuple(replies.files(listed))
        mtime = entry.mtime
        if mtime is None:
            mtime = max((file.mtime for file in files if file.mtime is not None), default=None)
        return Manifest.of(files, self._notes(ref, number, items, mtime), mtime)

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
        for item in self._pages("ListModelInstances", model, "instances"):
            if _is_instance(item, ref) and replies.number(item, "versionNumber") == number:
                return replies.notes(item.get("versionNotes"), mtime)
        return ()

    # In its own words

    def item(self, ref: Ref) -> Item:
        ref = self.canonical(ref)
        if ref.depth == 2:
            return Item(ref, self._ask("GetModel", ref))
        if ref.depth == 4:
            return Item(ref, self._ask("GetModelInstance", ref))
        if ref.depth == 5:
            _version(ref)
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
            reply = self._call("ListModels", {**message, **paging}, ref)
            items = listed.models(replies.objects(reply, "models"), query.owner)
        elif ref.depth < 4:
            model = Ref(ref.parts[:2])
            reply = self._call("ListModelInstances", {**message_of(model), **paging}, ref)
            items = listed.instances(replies.objects(reply, "instances"), model)
            items = tuple(item for item in items if item.ref.parts[: ref.depth] == ref.parts)
        elif ref.depth == 4:
            reply = self._call("ListModelInstanceVersions", {**message_of(ref), **paging}, ref)
            items = listed.versions(_listed(reply, "versions"), ref)
        else:
            reply = self._call("ListModelInstanceVersionFiles", {**message_of(ref), **paging}, ref)
            items = listed.files(replies.objects(reply, "files"), ref)
        return Page(items, replies.text(reply, "nextPageToken"))

    def _known_owners(self) -> tuple[Entry, ...]:
        names = {self.account().name, *self._owners} - {""}
        return tuple(Entry(name) for name in sorted(names))

    def _check_owner(self, owner: str) -> None:
        """Raise NotFound unless `owner` has models that we see, is configured, or is ourselves."""
        if owner in self._owners:
            return
        reply = self._call("ListModels", {"owner": owner, "pageSize": 1}, Ref((owner,)))
        if not replies.models(replies.objects(reply, "models"), owner):
            self._check_ours(owner)

    def _check_ours(self, owner: str) -> None:
        if owner not in self._owners and owner != self.account().name:
            raise NotFound(f"no such owner, or no model of theirs that we may see: {owner}")

    def _models(self, owner: str) -> tuple[Entry, ...]:
        items = self._paged("ListModels", {"owner": owner}, "models", Ref((owner,)))
        found = replies.models(items, owner)
        if not found:
            self._check_ours(owner)
        return found

    def _frameworks(self, ref: Ref) -> tuple[Entry, ...]:
        found = replies.instances(self._pages("ListModelInstances", ref, "instances"))
        if not found:
            self._ask("GetModel", ref)  # nothing in it, or no such model?
        return found

    def _versions(self, ref: Ref) -> tuple[tuple[Entry, ...], tuple[replies.Reply, ...]]:
        """The versions of an instance, and what the registry said of each."""
        items = tuple(self._pages("ListModelInstanceVersions", ref, "versions"))
        found = replies.versions(items)
        if not found:
            self._ask("GetModelInstance", ref)  # nothing in it, or no such instance?
        return found, items

    # How it is asked

    def _ask(self, method: str, ref: Ref) -> Mapping[str, Any]:
        return self._call(method, message_of(ref), ref)

    def _call(self, method: str, message: Mapping[str, object], ref: Ref) -> Mapping[str, Any]:
        with _reading(ref):
            return self._client.call(f"{MODELS}/{method}", message)

    def _pages(self, method: str, ref: Ref, key: str) -> Iterator[replies.Reply]:
        return self._paged(method, message_of(ref), key, ref)

    def _paged(
        self, method: str, message: Mapping[str, object], key: str, ref: Ref
    ) -> Iterator[replies.Reply]:
        """The objects under `key` of all pages, in order."""
        seen = {""}
        token = ""
        for _ in range(_MOST_PAGES):
            asked = {**message, "pageSize": _PAGE, "pageToken": token}
            reply = self._call(method, asked, ref)
            yield from _listed(reply, key)
            token = replies.text(reply, "nextPageToken")
            if not token:
                return
            if token in seen:
                raise Corrupt(f"the pages of a list go in a circle: {ref}")
            seen.add(token)
        raise Corrupt(f"a list does not end after {_MOST_PAGES} pages: {ref}")

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
        with _reading(ref):
            url = self._client.locate(f"{MODELS}/DownloadModelInstanceVersion", message)
        last = unquote(urlsplit(url).path).rpartition("/")[2]
        if last == f"{path.rpartition('/')[2]}.zip":
            raise Unsupported(f"the registry keeps this file zipped, so no part of it: {path}")
        with self._lock:
            self._addresses[key] = url
        return url

    def close(self) -> None:
        self._client.close()


@contextmanager
def _reading(ref: Ref) -> Iterator[None]:
    """Says of `ref` what refusals mean to somebody who only reads."""
    try:
        yield
    except Forbidden as exc:
        raise replies.hidden(exc, ref) from exc
    except InvalidName as exc:
        # A name that cannot be right for the registry is one that it does not have.
        raise NotFound(f"not found: {ref}: {exc}") from exc


def _check_digests(body: RangeBody, file: File) -> None:
    """Raise Corrupt if the storage tells another hash than the listing did."""
    for kind in ("md5", "crc32c"):
        listed, told = getattr(file.digests, kind), getattr(body.digests, kind)
        if listed and told and listed != told:
            body.close()
            raise Corrupt(f"{file.path}: the storage has a file of another {kind}")


def message_of(ref: Ref) -> dict[str, object]:
    """The fields of a request that name `ref`, a model or below."""
    keys = ("ownerSlug", "modelSlug", "framework", "instanceSlug", "versionNumber")
    message: dict[str, object] = dict(zip(keys, ref.parts, strict=False))
    if ref.depth > 2:
        try:
            message["framework"] = frameworks.wire(ref.parts[2])
        except InvalidName as exc:
            raise NotFound(f"no such framework: {ref.parts[2]}") from exc
    if ref.depth > 4:
        message["versionNumber"] = _version(ref)
    return message


def _listed(reply: replies.Reply, key: str) -> tuple[replies.Reply, ...]:
    """The objects of a page, versions being wrapped once more."""
    holder = reply.get("versionList") if key == "versions" else None
    return replies.objects(holder if isinstance(holder, dict) else reply, key)


def _version(ref: Ref) -> int:
    """The number of a version; NotFound for what is no number, or not written as one is."""
    name = ref.name
    # Nine digits are what a 32-bit number holds for certain.
    if not (name.isascii() and name.isdigit() and len(name) < 10 and name[0] != "0"):
        raise NotFound(f"no such version: {ref}")
    return int(name)


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
