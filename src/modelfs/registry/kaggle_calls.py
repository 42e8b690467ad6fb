"""Kaggle's RPC protocol, call by call: what names a ref in a request, pages, what refusals mean.

No state but the client's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from modelfs.errors import Forbidden, InvalidName, NotFound
from modelfs.refs import Ref
from modelfs.registry import frameworks, paging, replies
from modelfs.registry.credentials import Credentials, Login
from modelfs.registry.http import Http
from modelfs.registry.retries import LIMITS, Limits

MODELS = "v1/models.ModelApiService"
# The most that the official client's help allows. The live service gives fewer of some things,
# so a short page never means the last.
_PAGE = 200


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


class Calls:
    """The calls of one service, for who only reads."""

    def __init__(self, client: Http) -> None:
        self._client = client

    def ask(self, method: str, ref: Ref) -> Mapping[str, Any]:
        return self.call(method, message_of(ref), ref)

    def call(self, method: str, message: Mapping[str, object], ref: Ref) -> Mapping[str, Any]:
        with _reading(ref):
            return self._client.call(f"{MODELS}/{method}", message)

    def locate(self, method: str, message: Mapping[str, object], ref: Ref) -> str:
        """The address that a call redirects to."""
        with _reading(ref):
            return self._client.locate(f"{MODELS}/{method}", message)

    def pages(self, method: str, ref: Ref, key: str) -> Iterator[replies.Reply]:
        return self.paged(method, message_of(ref), key, ref)

    def paged(
        self, method: str, message: Mapping[str, object], key: str, ref: Ref
    ) -> Iterator[replies.Reply]:
        """The objects under `key` of all pages, in order."""

        def page(token: str) -> tuple[Iterable[replies.Reply], str]:
            asked = {**message, "pageSize": _PAGE, "pageToken": token}
            reply = self.call(method, asked, ref)
            return objects(reply, key), replies.text(reply, "nextPageToken")

        return paging.every(page, str(ref))


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
        message["versionNumber"] = version_of(ref)
    return message


def objects(reply: replies.Reply, key: str) -> tuple[replies.Reply, ...]:
    """The objects of a page, versions being wrapped once more."""
    holder = reply.get("versionList") if key == "versions" else None
    return replies.objects(holder if isinstance(holder, dict) else reply, key)


def version_of(ref: Ref) -> int:
    """The number of a version; NotFound for what is no number, or not written as one is."""
    name = ref.name
    # Nine digits are what a 32-bit number holds for certain.
    if not (name.isascii() and name.isdigit() and len(name) < 10 and name[0] != "0"):
        raise NotFound(f"no such version: {ref}")
    return int(name)
