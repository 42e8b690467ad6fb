"""Who asks, and whether a browser asks for somebody else.

Owns the two secrets of a served directory: the token that clients present, and the key that signs
storage addresses. Without a token the registry is open: whoever comes is who they say they are.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import hmac
import ipaddress
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from modelfs.errors import Forbidden, InvalidName, Unauthenticated

TOKEN_FILE = "token"  # noqa: S105 - a name
KEY_FILE = "storage.key"

# The rule that Kaggle's own command line has for owners.
_SLUG = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a request comes from. `is_trusted`: nobody checks what belongs to whom."""

    user: str
    is_trusted: bool = False

    @property
    def viewer(self) -> str | None:
        """Whose private models are shown; None for everybody's."""
        return None if self.is_trusted else self.user

    def check_owner(self, owner: str) -> None:
        """Raise Forbidden unless the caller may change what belongs to `owner`."""
        if not self.is_trusted and owner != self.user:
            raise Forbidden(f"{owner} is not you: signed in as {self.user}")


class Gate:
    """Tells callers from the Authorization header; `token` None lets everybody in."""

    def __init__(self, token: str | None, user: str) -> None:
        self._token = token
        self._user = user

    @property
    def is_open(self) -> bool:
        return self._token is None

    def caller(self, authorization: str) -> Caller:
        """The caller with this header; Unauthenticated if it does not hold our token."""
        name, secret = _credentials(authorization)
        if self._token is None:
            return Caller(checked_user(name) if name else self._user, is_trusted=True)
        if not secret:
            raise Unauthenticated("a token is needed")
        if not self.is_token(secret):
            raise Unauthenticated("the token is not the one of this registry")
        return Caller(self._user)

    def is_token(self, text: str) -> bool:
        """Whether `text` is our token; every text is, when there is none."""
        if self._token is None:
            return True
        return hmac.compare_digest(text.encode(errors="replace"), self._token.encode())

    @property
    def user(self) -> str:
        """Whom the token belongs to."""
        return self._user


def check_browser(host: str, is_proxied: bool, origin: str, known: str) -> None:
    """Raise Forbidden for a request that a web page made a browser send.

    An open registry has nothing but this against a page that posts to it, or that points its own
    name at this machine. `host` is the Host header, `known` the host we were told to listen on.
    Programs send no Origin; a request to us as a proxy may name any host.
    """
    name = _host_name(host)
    if origin and _host_name(urlsplit(origin).netloc) != name:
        raise Forbidden("requests of web pages are not answered")
    if not is_proxied and not (name == known.lower() or _is_local_name(name)):
        raise Forbidden(f"not a name of this machine: {name}")


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def checked_user(name: str) -> str:
    """`name`, if an owner can be called that; else InvalidName."""
    if not _SLUG.fullmatch(name):
        raise InvalidName(
            f"not a user name: {name!r}",
            hint="lower-case letters and digits, with single - or _ between them",
        )
    return name


def login_user() -> str:
    """The login name as an owner's name: `Jo.Doe` is `jo-doe`."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a numeric user of a container
        name = ""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "me"


def keep_secret(path: Path, make: Callable[[], str] = lambda: secrets.token_urlsafe(32)) -> str:
    """The secret in the file `path`, which is made (for its owner only) if it is missing."""
    try:
        if secret := path.read_text().strip():
            return secret
    except FileNotFoundError:
        pass
    secret = make()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return secret


def _credentials(authorization: str) -> tuple[str, str]:
    """User name and secret of an Authorization header; empty where there is none."""
    scheme, _, value = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return "", value.strip()
    if scheme.lower() == "basic":
        try:
            text = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise Unauthenticated("the Authorization header is malformed") from exc
        name, _, secret = text.partition(":")
        return name, secret
    if scheme:
        raise Unauthenticated("the Authorization header is neither Bearer nor Basic")
    return "", ""


def _host_name(authority: str) -> str:
    try:
        return (urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return ""


def _is_local_name(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
