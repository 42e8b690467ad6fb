"""Who we are at Kaggle and at WriftAI: everywhere the official clients look, in their order.

Pure but for reading files of the home directory; the environment comes as a mapping. Knows no
network: an OAuth token that has expired says so, and whoever talks to the registry renews it.
Secrets are in no repr and in no message.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelfs.errors import Unauthenticated, Usage
from modelfs.waiting import Clock

# Renewed a little early, so that no request is on its way when the token ends.
_EARLY = 300.0
_SECONDS = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An Authorization header ("" for nobody), and where it was found.

    `refresh` is the token to ask a new one with, `expires` the time of day at which this one ends
    (None: never).
    """

    header: str = field(default="", repr=False)
    source: str = ""
    username: str = ""
    refresh: str = field(default="", repr=False)
    expires: float | None = None

    def __bool__(self) -> bool:
        return bool(self.header)

    def has_expired(self, now: float) -> bool:
        return self.expires is not None and now > self.expires - _EARLY


def bearer(token: str, source: str) -> Credentials:
    """Credentials of an access token; raises Usage if it cannot be one."""
    return Credentials(f"Bearer {_header_text(token.strip(), source)}", source)


def for_kaggle(environ: Mapping[str, str], home: Path) -> Credentials:
    """What the official clients would use: access token, API key, OAuth, nobody."""
    for find in (_access_token, _api_key, _oauth):
        if found := find(environ, home):
            return found
    return Credentials()


def for_wriftai(environ: Mapping[str, str]) -> Credentials:
    """What WriftAI's official client would use; nobody without it."""
    token = environ.get("WRIFTAI_ACCESS_TOKEN", "").strip()
    return bearer(token, "WRIFTAI_ACCESS_TOKEN") if token else Credentials()


def for_other(environ: Mapping[str, str], token_file: Path | None) -> Credentials:
    """For any other server: only what was given for it, never what is Kaggle's or WriftAI's."""
    if token_file is not None:
        text = _text(token_file)
        if text is None:
            raise Usage(f"no such token file: {token_file}")
        return bearer(text, str(token_file))
    if token := environ.get("MODELFS_TOKEN"):
        return bearer(token, "MODELFS_TOKEN")
    return Credentials()


def _access_token(environ: Mapping[str, str], home: Path) -> Credentials | None:
    if (named := environ.get("KAGGLE_API_V1_TOKEN")) and (text := _text(Path(named))):
        return bearer(text, "KAGGLE_API_V1_TOKEN")
    if given := environ.get("KAGGLE_API_TOKEN", "").strip():
        # The text of a token, or the path of a file that holds it.
        return bearer(_text(Path(given)) or given, "KAGGLE_API_TOKEN")
    for name in ("access_token", "access_token.txt"):
        path = home / ".kaggle" / name
        if text := _text(path):
            return bearer(text, str(path))
    return None


def _api_key(environ: Mapping[str, str], home: Path) -> Credentials | None:
    username, key = environ.get("KAGGLE_USERNAME", ""), environ.get("KAGGLE_KEY", "")
    if username and key:
        return _basic(username, key, "KAGGLE_USERNAME and KAGGLE_KEY")
    for directory in _config_directories(environ, home):
        path = directory / "kaggle.json"
        text = _text(path)
        if text is None:
            continue
        document = _object(text, path)
        username, key = _field(document, "username"), _field(document, "key")
        if not (username and key):
            raise Usage(f"{path} holds no username and key")
        return _basic(username, key, str(path))
    return None


def _config_directories(environ: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    if named := environ.get("KAGGLE_CONFIG_DIR"):
        return (Path(named),)
    config = environ.get("XDG_CONFIG_HOME")
    return (
        home / ".kaggle",
        *((Path(config) / "kaggle",) if config else ()),
        home / ".config" / "kaggle",
    )


def _basic(username: str, key: str, source: str) -> Credentials:
    username, key = username.strip(), key.strip()
    if ":" in username:
        raise Usage(f"the user name in {source} holds a colon")
    pair = base64.b64encode(f"{username}:{key}".encode()).decode()
    return Credentials(f"Basic {pair}", source, username)


def _oauth(environ: Mapping[str, str], home: Path) -> Credentials | None:
    path = home / ".kaggle" / "credentials.json"
    text = _text(path)
    if text is None:
        return None
    document = _object(text, path)
    access, refresh = _field(document, "access_token"), _field(document, "refresh_token")
    if not access and not refresh:
        raise Usage(f"{path} holds no token")
    return Credentials(
        bearer(access, str(path)).header if access else "Bearer none",
        str(path),
        _field(document, "username"),
        refresh,
        _moment(_field(document, "access_token_expiration")) if access else 0.0,
    )


def _field(document: Mapping[str, object], name: str) -> str:
    value = document.get(name)
    return value.strip() if isinstance(value, str) else ""


def _moment(text: str) -> float | None:
    """Seconds since the epoch of an ISO time, in UTC where it does not say; None if unclear."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _text(path: Path) -> str | None:
    """The text of a file without the white space around; None if there is none."""
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as exc:
        raise Usage(f"{path} is not text") from exc
    except PermissionError as exc:
        raise Usage(f"{path} cannot be read") from exc
    except (OSError, ValueError):  # not there; or a token that is no path at all
        return None


def _object(text: str, path: Path) -> dict[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Usage(f"{path} is not JSON") from exc
    if not isinstance(document, dict):
        raise Usage(f"{path} is not a JSON object")
    return document


def _header_text(token: str, source: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Usage(f"{source} holds what cannot be a token")
    return token


class Login:
    """The Authorization header of a registry; renews what expires with `renew(refresh token)`.

    Two threads may renew at once: both tokens are good, and the last one is kept.
    """

    def __init__(
        self,
        found: Credentials,
        renew: Callable[[str], Mapping[str, Any]],
        clock: Clock = time.time,
    ) -> None:
        self._found = found
        self._renew = renew
        self._clock = clock

    def header(self) -> str:
        found = self._found
        if not found.has_expired(self._clock()):
            return found.header
        ended = Unauthenticated(
            f"the login of {found.source} has ended", hint="run: kaggle auth login"
        )
        if not found.refresh:
            raise ended
        reply = self._renew(found.refresh)
        token, lifetime = reply.get("token"), str(reply.get("expiresIn", "")).removesuffix("s")
        if not isinstance(token, str) or not token:
            raise ended
        self._found = replace(
            found,
            header=bearer(token, found.source).header,
            expires=self._clock() + (int(lifetime) if _SECONDS.fullmatch(lifetime) else 0),
        )
        return self._found.header
