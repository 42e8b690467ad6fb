"""Models whose versions are container images, as frozen values. No I/O.

Times are float seconds since the epoch; a text that nobody set is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Who may see a model: everybody, or its owner.
PUBLIC = "public"
VISIBILITIES = ("private", PUBLIC, "restricted")

# What a version runs on where nobody said.
DEFAULT_HARDWARE = "cpu"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can own models."""

    uuid: str
    name: str
    display_name: str | None
    bio: str | None
    location: str | None
    company: str | None
    urls: tuple[str, ...] | None
    created: float
    updated: float | None


@dataclass(frozen=True, slots=True)
class Configuration:
    """What may change of a version: what it runs on, and which variables it is given."""

    hardware_identifier: str = DEFAULT_HARDWARE
    variable_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerVersion:
    """A version; all but its configuration never changes. `schemas` are as they were sent."""

    number: int
    release_notes: str
    container_image_digest: str
    schemas: Mapping[str, Any]
    compatibilities: frozenset[str]
    configuration: Configuration
    created: float


@dataclass(frozen=True, slots=True)
class ContainerModel:
    """A model. `categories` are slugs; `latest` is the highest version, not told in lists."""

    uuid: str
    owner: str
    owner_uuid: str
    name: str
    visibility: str
    description: str | None
    overview: str | None
    source_url: str | None
    license_url: str | None
    paper_url: str | None
    created: float
    updated: float | None
    categories: tuple[str, ...] = ()
    latest: ContainerVersion | None = None


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What a new version is to be. What is None is as in the version before it."""

    release_notes: str
    container_image_digest: str
    schemas: Mapping[str, Any]
    compatibilities: frozenset[str] = frozenset()
    hardware_identifier: str | None = None
    variable_names: tuple[str, ...] | None = None
