"""Model registries: one protocol (`base`), several backends, one list of them (here)."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from modelfs.config import Config, located
from modelfs.errors import Usage
from modelfs.registry.base import Registry

_KAGGLE_API = "https://api.kaggle.com"
# What kagglehub calls the one archive that it sends in place of many files, and what the embedded
# registry unpacks as it is. Kaggle does so too, later, and tells no hash of what came out of it:
# there, files are sent as they are (docs/decisions/0009-archives.md).
_ARCHIVE = "archive.zip"
_POSSIBLE = (
    "kaggle, wriftai, local:DIR, and for other servers that speak these protocols"
    " kaggle+http://HOST:PORT, kaggle+https://HOST, wriftai+http://HOST:PORT, wriftai+https://HOST"
)


def open_registry(spec: str, config: Config) -> Registry:
    """The registry that `spec` names; raises Usage for one that there is not. Asks nobody yet."""
    if spec == "kaggle":
        return _kaggle(config)
    if spec == "wriftai":
        return _wriftai(config)
    kind, separator, rest = spec.partition(":")
    if kind in ("kaggle+http", "kaggle+https") and separator:
        return _other_kaggle(spec, config)
    if kind in ("wriftai+http", "wriftai+https") and separator:
        return _other_wriftai(spec, config)
    if kind == "local" and rest:
        return _local(located(rest), config)
    raise Usage(f"not a registry: {spec!r}", hint=f"possible are {_POSSIBLE}")


def _kaggle(config: Config) -> Registry:
    from modelfs.registry import credentials, kaggle, kaggle_calls, kaggle_writing

    found = credentials.for_kaggle(config.environ, config.home)
    client = kaggle_calls.connect(_KAGGLE_API, found, config.environ)
    if not found:  # nobody publishes as nobody
        return kaggle.KaggleRegistry(client, owners=config.owners)
    return kaggle_writing.WritableKaggleRegistry(
        client, license_name=config.license, has_login=True, owners=config.owners
    )


def _other_kaggle(spec: str, config: Config) -> Registry:
    """A server that speaks Kaggle's protocol. It never gets the credentials that are Kaggle's."""
    from modelfs.registry import credentials, kaggle_calls, kaggle_writing

    base, identity = _address(spec)
    found = credentials.for_other(config.environ, config.token_file)
    return kaggle_writing.WritableKaggleRegistry(
        kaggle_calls.connect(base, found, config.environ),
        license_name=config.license,
        has_first_notes=True,
        archive=_ARCHIVE,
        identity=identity,
        has_login=bool(found),
        owners=config.owners,
    )


def _wriftai(config: Config) -> Registry:
    from modelfs.registry import credentials, wriftai, wriftai_writing

    found = credentials.for_wriftai(config.environ)
    base = wriftai.base_url(config.environ.get("WRIFTAI_API_BASE_URL") or wriftai.API)
    calls = wriftai.connect(base, found, config.environ)
    identity = wriftai.WRIFTAI if base == wriftai.API else f"wriftai+{base}"
    if not found:  # nobody publishes as nobody
        return wriftai.WriftAIRegistry(calls, identity=identity, owners=config.owners)
    return wriftai_writing.WritableWriftAIRegistry(
        calls, identity=identity, has_login=True, owners=config.owners
    )


def _other_wriftai(spec: str, config: Config) -> Registry:
    """A server that speaks WriftAI's protocol. It never gets the credentials that are WriftAI's."""
    from modelfs.registry import credentials, wriftai, wriftai_writing

    base, identity = _address(spec)
    found = credentials.for_other(config.environ, config.token_file)
    return wriftai_writing.WritableWriftAIRegistry(
        wriftai.connect(f"{base}/v1", found, config.environ),
        identity=identity,
        has_login=bool(found),
        owners=config.owners,
    )


def _address(spec: str) -> tuple[str, str]:
    """The address of the server in `PROTOCOL+http://HOST:PORT`, and its identity."""
    protocol, _, text = spec.partition("+")
    try:
        url = urlsplit(text)
        is_plain = url.username is None and url.password is None and not url.query
        port = url.port
    except ValueError as exc:
        raise Usage(f"not an address: {spec!r}") from exc
    if not url.hostname or not is_plain or url.fragment or url.path not in ("", "/"):
        raise Usage(f"not the address of a registry: {url.scheme}://HOST:PORT is needed")
    base = f"{url.scheme}://{url.netloc.lower()}"
    return base, f"{protocol}+{base}" if port else f"{protocol}+{base}:{_port(url.scheme)}"


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _local(directory: Path, config: Config) -> Registry:
    if not directory.is_dir():
        raise Usage(f"no such directory: {directory}", hint=f"modelfs serve {directory} makes one")
    try:
        from modelfs.registry.local import LocalRegistry, WritableLocalRegistry
    except ModuleNotFoundError as exc:
        if exc.name and exc.name.startswith("modelfs"):
            raise
        raise Usage(
            f"a local registry needs a package that is not installed: {exc.name}",
            hint='pip install "modelfs[server]"',
        ) from exc
    if os.access(directory, os.W_OK):
        return WritableLocalRegistry(directory, config.license)
    return LocalRegistry(directory)
