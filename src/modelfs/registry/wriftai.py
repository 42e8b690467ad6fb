"""WriftAI as a Registry, read; also the embedded registry, which speaks its protocol.

A version has no files: its content is a container image somewhere else, and what is here are
documents about it. Remembers nothing: `caching` does. No state but the client's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from modelfs.errors import Corrupt, InvalidName, NotFound, Unauthenticated, Usage
from modelfs.model import Account, Document, Entry, File, Item, Manifest, Page, Query, Traits
from modelfs.refs import Ref
from modelfs.registry import replies
from modelfs.registry import wriftai_documents as written
from modelfs.registry.base import Body
from modelfs.registry.credentials import Credentials
from modelfs.registry.http import Http
from modelfs.registry.retries import LIMITS, Limits
from modelfs.registry.wriftai_calls import Calls, Reply, check_size, is_name, is_number

log = logging.getLogger(__name__)

API = "https://api.wrift.ai/v1"
# The identity of the one that everybody means.
WRIFTAI = "wriftai"

_LEVELS = ("owner", "model", "version")
_ORDERS = ("created_at", "predictions_count")


def connect(
    base: str, found: Credentials, environ: Mapping[str, str], limits: Limits = LIMITS
) -> Calls:
    """The calls of the service at `base`, signed in with `found`. Sends nothing yet."""
    return Calls(Http(base, authorization=lambda: found.header, environ=environ, limits=limits))


def base_url(text: str) -> str:
    """The address of an API without the slash at its end; Usage if it cannot be one."""
    base = text.strip().rstrip("/")
    try:
        url = urlsplit(base)
        is_plain = url.username is None and url.password is None and not url.query
        is_address = url.scheme in ("http", "https") and url.hostname and (url.port or True)
    except ValueError:
        is_plain = is_address = False
    if not is_plain or not is_address or url.fragment:
        raise Usage("not the address of WriftAI's API", hint=f"it is like {API}")
    return base


class WriftAIRegistry:
    """WriftAI, or a server that speaks its protocol, read.

    `has_login` says whether the calls have credentials. `owners` are listed at the root beside
    ourselves: the service could list all its users, but they are no directory for people.
    """

    def __init__(
        self,
        calls: Calls,
        *,
        identity: str = WRIFTAI,
        has_login: bool = False,
        owners: tuple[str, ...] = (),
    ) -> None:
        self._calls = calls
        self._has_login = has_login
        self._owners = owners
        self._traits = Traits(
            identity=identity,
            levels=_LEVELS,
            is_listed=(False, True, True),
            documents=((), (written.MODEL,), written.OF_VERSION),
            notes_limit=written.NOTES_LIMIT,
            has_files=False,
            reworded=(written.VERSION,),
            is_made_alone=True,
        )

    @property
    def traits(self) -> Traits:
        return self._traits

    def account(self) -> Account:
        if not self._has_login:
            return Account()
        name = replies.text(self._calls.get("user"), "name")
        if not name:
            raise Unauthenticated("the registry does not know our credentials")
        return Account(name)

    def canonical(self, ref: Ref) -> Ref:
        return ref

    # What there is

    def children(self, ref: Ref) -> tuple[Entry, ...]:
        match ref.parts:
            case ():
                names = {self.account().name, *self._owners} - {""}
                return tuple(Entry(name) for name in sorted(names))
            case (owner,):
                return self._models(owner)
            case (_, _):
                return self._versions(ref)
        raise NotFound(f"nothing is listed below a version: {ref}")

    def stat(self, ref: Ref) -> Entry:
        return Entry(ref.name, written.changed(self._ask(ref)))

    def documents(self, ref: Ref) -> tuple[Document, ...]:
        if ref.depth != 2:
            return ()
        return (written.model_document(self._ask(ref), ref),)

    def manifest(self, ref: Ref) -> Manifest:
        if ref.depth != len(_LEVELS):
            raise NotFound(f"not a version: {ref}")
        reply = self._ask(ref)
        found = written.version_documents(reply)
        return Manifest.of((), found, written.changed(reply))

    def open(self, ref: Ref, file: File, start: int, stop: int) -> Body:
        raise NotFound(f"a version of this registry has no files: {ref}/{file.path}")

    # In its own words

    def item(self, ref: Ref) -> Item:
        return Item(ref, self._ask(ref))

    def page(
        self, ref: Ref, query: Query | None = None, *, size: int = 0, token: str = ""
    ) -> Page[Item]:
        names, narrowed = _asked(ref, query or Query())
        if size:
            check_size(size)
        if ref.depth == len(_LEVELS):
            self._ask(ref)
            return Page()
        options = {**narrowed, "page_size": size or None, "cursor": token or None}
        with _reading(ref):
            listed = self._calls.page(*names, options=options)
        if ref.depth < 2:
            owner = ref.name or (query.owner if query else "")
            return Page(tuple(_model_items(listed.items, owner)), listed.following)
        numbers = ((replies.number(reply, "number"), reply) for reply in listed.items)
        items = (Item(ref.child(str(number)), reply) for number, reply in numbers if number > 0)
        return Page(tuple(items), listed.following)

    # How it is asked

    def _ask(self, ref: Ref) -> Reply:
        """What the service says of `ref`, which is what it says it is about."""
        with _reading(ref):
            match ref.parts:
                case (owner,):
                    reply = self._calls.get("users", owner)
                    _check_same(replies.text(reply, "name"), ref)
                case (owner, model):
                    reply = self._calls.get("models", owner, model)
                    _check_same(replies.text(reply, "name"), ref)
                case (owner, model, number):
                    if not is_number(number):
                        raise NotFound(f"no such version: {ref}")
                    reply = self._calls.get("models", owner, model, "versions", number)
                    if str(replies.number(reply, "number")) != number:
                        raise Corrupt(f"another version was sent: {ref}")
                case _:
                    raise NotFound(f"not a name of this registry: {ref}")
        return reply

    def _models(self, owner: str) -> tuple[Entry, ...]:
        ref = Ref((owner,))
        with _reading(ref):
            items = list(_model_items(self._calls.pages("models", owner), owner))
        if not items and owner not in self._owners:
            self._ask(ref)  # nobody of that name, or nothing of theirs?
        found = {item.ref.name: Entry(item.ref.name, written.changed(item.facts)) for item in items}
        return tuple(found[name] for name in sorted(found))

    def _versions(self, ref: Ref) -> tuple[Entry, ...]:
        found: dict[int, Entry] = {}
        with _reading(ref):
            for reply in self._calls.pages("models", *ref.parts, "versions"):
                if (number := replies.number(reply, "number")) > 0:
                    found.setdefault(number, Entry(str(number), written.changed(reply)))
        if not found:
            self._ask(ref)  # nothing in it, or no such model?
        return tuple(found[number] for number in sorted(found))

    def close(self) -> None:
        self._calls.close()


def _asked(ref: Ref, query: Query) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Where what is below `ref` is listed, and the options that `query` stands for."""
    if ref.depth >= 2:
        if query != Query():
            raise InvalidName(f"{ref}: only models can be searched, chosen by owner or sorted")
        return ("models", *ref.parts, "versions"), {}
    if ref.parts and query.owner not in ("", ref.name):
        raise InvalidName(f"{ref}: has no models of {query.owner}")
    owner = ref.name or query.owner
    if query.search:
        if owner or query.sort_by:
            raise InvalidName("models are either searched, or chosen by owner and sorted")
        return ("search", "models"), {"q": query.search}
    order, _, direction = query.sort_by.partition(":")
    if query.sort_by and (order not in _ORDERS or direction not in ("", "asc", "desc")):
        raise InvalidName(
            f"order is not known: {query.sort_by!r}", hint=f"possible are {', '.join(_ORDERS)}"
        )
    options = {"sort_by": order, "sort_direction": direction}
    names = ("models", owner) if owner else ("models",)
    return names, {key: value for key, value in options.items() if value}


def _model_items(told: Iterable[Reply], owner: str) -> Iterator[Item]:
    """Models of one owner or, without one, of all; without those that no directory can hold."""
    for reply in told:
        holder = reply.get("owner")
        whose = replies.text(holder, "name") if isinstance(holder, dict) else owner
        name = replies.text(reply, "name")
        if not is_name(name) or not is_name(whose):
            log.info("left out a model whose name is none: %r of %r", name[:100], whose[:100])
        elif owner in ("", whose):
            yield Item(Ref((whose, name)), reply)


def _check_same(told: str, ref: Ref) -> None:
    """Raise NotFound for another spelling of a name: a directory has one."""
    if not told:
        raise Corrupt(f"an answer has no name: {ref}")
    if told != ref.name:
        raise NotFound(f"not found by that name: {ref}")


@contextmanager
def _reading(ref: Ref) -> Iterator[None]:
    """Says of `ref` what refusals mean to somebody who only reads."""
    try:
        yield
    except InvalidName as exc:
        # A name that cannot be right for the registry is one that it does not have.
        raise NotFound(f"not found: {ref}: {exc}") from exc
