"""Who we are at Kaggle: everywhere the official clients look, in their order.

Pure but for reading files of the home directory; the environment comes as a mapping. Knows no
network: an OAuth token that has expired says so, and whoever talks to the registry renews it.
Secrets are in no repr and in no message.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from modelfs.errors import Unauthenticated, Usage

# Renewed a little early, so that no request is on its way when the token ends.
_EARLY = 300.0


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


def for_other(environ: Mapping[str, str], token_file: Path | None) -> Credentials:
    """For a registry that is not Kaggle's: only what was given for it, never what is Kaggle's."""
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
        username, key = document.get("username"), document.get("key")  # type: ignore[assignment]
        if not (isinstance(username, str) and username and isinstance(key, str) and key):
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
    values = {
        name: document.get(name, "")
        for name in ("access_token", "refresh_token", "access_token_expiration", "username")
    }
    if not all(isinstance(value, str) for value in values.values()):
        raise Usage(f"{path} is not what kaggle auth login writes")
    if not values["access_token"] and not values["refresh_token"]:
        raise Usage(f"{path} holds no token")
    return Credentials(
        bearer(values["access_token"] or "none", str(path)).header,
        str(path),
        values["username"],
        values["refresh_token"],
        _moment(values["access_token_expiration"]) if values["access_token"] else 0.0,
    )


def renewed(old: Credentials, token: object, lifetime: object, now: float) -> Credentials:
    """`old` with the access token that the registry gave for its refresh token."""
    if not isinstance(token, str) or not token:
        raise Unauthenticated(f"the login of {old.source} has ended", hint="run: kaggle auth login")
    seconds = float(lifetime) if isinstance(lifetime, int | float) else 0.0
    expires = now + seconds if seconds > 0 else None
    header = bearer(token, old.source).header
    return Credentials(header, old.source, old.username, old.refresh, expires)


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
