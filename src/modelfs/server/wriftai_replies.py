"""What the registry keeps of container models, as WriftAI's client reads it.

Every key is always there; what this registry does not have (predictions, pictures) is zero, empty
or null. Pure: records in, JSON objects out.
"""

from __future__ import annotations

from typing import Any

from modelfs.registry.local.container_records import (
    Account,
    Configuration,
    ContainerModel,
    ContainerVersion,
)
from modelfs.registry.local.facts import time_text
from modelfs.server.wriftai_bodies import COMPATIBILITIES

Reply = dict[str, Any]

# Everybody's picture: a grey square that needs no request.
_AVATAR = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1 1'%3E"
    "%3Crect width='1' height='1' fill='%23888'/%3E%3C/svg%3E"
).replace(" ", "%20")


def user(account: Account) -> Reply:
    """User."""
    return _base_user(account.uuid, account.name) | {
        "display_name": account.display_name,
        "bio": account.bio,
        "location": account.location,
        "company": account.company,
        "created_at": time_text(account.created),
        "updated_at": _time(account.updated),
    }


def user_with_details(account: Account) -> Reply:
    """UserWithDetails."""
    return user(account) | {"urls": None if account.urls is None else list(account.urls)}


def model(record: ContainerModel) -> Reply:
    """Model."""
    return {
        "id": record.uuid,
        "name": record.name,
        "created_at": time_text(record.created),
        "visibility": record.visibility,
        "description": record.description,
        "updated_at": _time(record.updated),
        "owner": _base_user(record.owner_uuid, record.owner),
        "predictions_count": 0,
        "categories": [category(slug) for slug in record.categories],
        "cover_image_url": None,
    }


def model_with_details(record: ContainerModel) -> Reply:
    """ModelWithDetails."""
    return model(record) | {
        "overview": record.overview,
        "latest_version": None if record.latest is None else version_with_details(record.latest),
        "source_url": record.source_url,
        "license_url": record.license_url,
        "paper_url": record.paper_url,
    }


def version(record: ContainerVersion) -> Reply:
    """ModelVersion."""
    return {
        "number": record.number,
        "release_notes": record.release_notes,
        "created_at": time_text(record.created),
        # Part of it in clients up to 0.30; later ones take it for one of the details.
        "container_image_digest": record.container_image_digest,
    }


def version_with_details(record: ContainerVersion) -> Reply:
    """ModelVersionWithDetails; without a size, for the image is kept elsewhere."""
    return version(record) | {
        "schemas": record.schemas,
        "compatibilities": {name: name in record.compatibilities for name in COMPATIBILITIES},
    }


def created_version(record: ContainerVersion) -> Reply:
    """ModelVersionWithDetailsAndConfiguration."""
    return version_with_details(record) | {"configuration": configuration(record.configuration)}


def configuration(record: Configuration) -> Reply:
    """ModelVersionConfiguration."""
    return {
        "hardware_identifier": record.hardware_identifier,
        "variable_names": list(record.variable_names),
    }


def category(slug: str) -> Reply:
    """ModelCategory; its name is the slug's words."""
    return {"name": slug.replace("-", " ").replace("_", " ").capitalize(), "slug": slug}


def hardware(identifier: str, cpus: int, ram: int, created: float) -> Reply:
    """Hardware without GPUs; `ram` in bytes."""
    return {
        "name": identifier.upper(),
        "identifier": identifier,
        "gpus": 0,
        "cpus": cpus,
        "vram_gb": 0,
        "ram_gib": ram >> 30,
        "created_at": time_text(created),
        "description": "the machine of this registry, which runs no models",
    }


def _base_user(uuid: str, name: str) -> Reply:
    return {"account_id": uuid, "name": name, "avatar_url": _AVATAR}


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time_text(seconds)
