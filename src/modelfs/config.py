"""The settings of one run, read once: flags > environment > file > default.

Below this module nobody reads the environment or the home directory: what is needed of them is
here as values. Secrets are left out of the repr.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import platformdirs

from modelfs import buffers
from modelfs.errors import Usage

GIB = 1 << 30
VERIFY = ("quick", "complete", "first")

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_UNITS |= {unit + "i": 1 << 10 * power for power, unit in enumerate("kmgt", start=1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[kmgt]i?)?)b?", re.IGNORECASE)
_SIZES = ("cache_size", "cache_floor", "buffer_memory")
_LEAST = f"{buffers.LEAST >> 20} MiB is the least"
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Mount:
    """One registry of a mount: the name it has in the tree ("" if it is the root) and its spec."""

    name: str
    spec: str


@dataclass(frozen=True)
class Config:
    """Everything that can be set. Sizes in bytes, times in seconds."""

    registries: tuple[Mount, ...] = (Mount("", "kaggle"),)
    cache_dir: Path = field(default_factory=lambda: platformdirs.user_cache_path("modelfs"))
    state_dir: Path = field(default_factory=lambda: platformdirs.user_state_path("modelfs"))
    cache_size: int = 50 * 10**9
    # Room on the cache's disk that is left to others.
    cache_floor: int = 1 * GIB
    # What all bytes on their way may take up in memory.
    buffer_memory: int = buffers.DEFAULT
    is_offline: bool = False
    is_read_only: bool = False
    # The lock file that says what may be seen; nothing is changed then.
    pin: Path | None = None
    # May published versions, instances and models be deleted?
    is_deleting: bool = False
    # When bytes of a mount are handed out: "complete" as they come, the last of a file once all of
    # it agrees with its digest; "quick" once it agrees with its crc32c, where the registry tells
    # that with an md5; "first" none before all of it agrees.
    verify: str = "quick"
    # How long a draft whose NOTES were copied with it must be quiet before it is published.
    settle: float = 2.0
    # Owners to show in a registry that cannot list its owners.
    owners: tuple[str, ...] = ()
    token_file: Path | None = None
    # Of new instances, unless their metadata file says another; Kaggle's own template has this one.
    license: str = "Apache 2.0"
    home: Path = field(default_factory=Path.home)
    # What is left of the environment: proxies, CA bundles, the official clients' credentials.
    environ: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({}), repr=False, compare=False
    )

    @property
    def registry(self) -> str:
        """The spec for commands that talk to one registry."""
        return self.registries[0].spec


def load(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """The configuration of this run; a flag that is None was not given.

    Raises Usage for a value that makes no sense, naming where it came from.
    """
    _require_home()
    settings = _from_file(environ)
    settings |= _from_environ(environ)
    settings |= {name: value for name, value in flags.items() if value not in (None, ())}
    known = {item.name for item in fields(Config)}
    if unknown := sorted(set(settings) - known):
        raise Usage(f"unknown setting: {', '.join(unknown)}")
    if "registries" in settings:
        settings["registries"] = parse_registries(settings["registries"])
    for name in _SIZES:
        if name in settings:
            settings[name] = parse_size(settings[name])
    for name in ("cache_dir", "state_dir", "token_file", "pin"):
        if name in settings:
            if not str(settings[name]):
                raise Usage(f"the name is empty: {name.replace('_', '-')}")
            settings[name] = located(settings[name])
    if settings.get("buffer_memory", buffers.LEAST) < buffers.LEAST:
        raise Usage(f"too little memory for buffers: {settings['buffer_memory']}", hint=_LEAST)
    if settings.get("verify", VERIFY[0]) not in VERIFY:
        raise Usage(f"not a way to verify: {settings['verify']!r}", hint=f"{' or '.join(VERIFY)}")
    if "owners" in settings:
        settings["owners"] = tuple(settings["owners"])
    if home := environ.get("HOME"):
        settings["home"] = Path(home)
    return Config(**settings, environ=MappingProxyType(dict(environ)))


def _require_home() -> None:
    """As in a container, where a number without an account runs programs, and sets no HOME."""
    try:
        platformdirs.user_config_path("modelfs")
        Path.home()
    except RuntimeError as exc:
        hint = "set HOME to a directory of yours"
        raise Usage(f"no home directory: user {os.geteuid()}", hint=hint) from exc


def located(path: str | os.PathLike[str]) -> Path:
    """Where a path leads that a person wrote; Usage for the home of somebody who is not there."""
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as exc:
        raise Usage(f"there is no such home directory: {path}") from exc


def parse_size(value: int | str) -> int:
    """Bytes from `50GB`, `1.5 GiB`, `4096`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(str(value).strip())
    if not match:
        raise Usage(f"not a size: {value!r}", hint="write it like 50GB, 500MiB or 4096")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_registries(values: object) -> tuple[Mount, ...]:
    """The registries of `SPEC` alone, or of one or more `NAME=SPEC`."""
    specs = [values] if isinstance(values, str) else list(values)  # type: ignore[call-overload]
    mounts = []
    for text in specs:
        named = _NAMED.fullmatch(str(text))
        mounts.append(Mount(named[1], named[2]) if named else Mount("", str(text)))
    names = [mount.name for mount in mounts]
    if len(mounts) > 1 and "" in names:
        raise Usage("several registries need a name each: --registry NAME=SPEC")
    if len(set(names)) < len(names):
        raise Usage(f"two registries have one name: {', '.join(names)}")
    return tuple(mounts)


# Environment variable -> setting.
_VARIABLES = {
    "MODELFS_REGISTRY": "registries",
    "MODELFS_CACHE_DIR": "cache_dir",
    "MODELFS_CACHE_SIZE": "cache_size",
    "MODELFS_BUFFER_MEMORY": "buffer_memory",
    "MODELFS_STATE_DIR": "state_dir",
    "MODELFS_TOKEN_FILE": "token_file",
    "MODELFS_VERIFY": "verify",
    "MODELFS_LICENSE": "license",
}


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    return {name: environ[key] for key, name in _VARIABLES.items() if environ.get(key)}


def _from_file(environ: Mapping[str, str]) -> dict[str, Any]:
    named = environ.get("MODELFS_CONFIG")
    path = Path(named) if named else platformdirs.user_config_path("modelfs") / "config.toml"
    try:
        settings = tomllib.loads(path.read_text())
    except FileNotFoundError:
        if named:
            raise Usage(f"no such configuration file: {path}") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise Usage(f"cannot read the configuration file {path}: {exc}") from exc
    if "registry" in settings:
        settings["registries"] = settings.pop("registry")
    allowed = {"registries", "owners", *_VARIABLES.values(), "cache_floor"}
    if unknown := sorted(set(settings) - allowed):
        raise Usage(f"{path}: unknown setting: {', '.join(unknown)}")
    for name, value in settings.items():
        if fault := _fault(name, value):
            raise Usage(f"{path}: {name.replace('registries', 'registry')} {fault}: {value!r}")
    return settings


def _fault(name: str, value: Any) -> str:
    """Why a value of the file cannot be one of that setting; empty if it can."""
    if name in ("owners", "registries") and isinstance(value, list):
        return "" if all(isinstance(each, str) for each in value) else "is a list of texts"
    if name == "owners":
        return "is a list of texts"
    if name in _SIZES and isinstance(value, int | float):
        return ""
    return "" if isinstance(value, str) else "is a text"
