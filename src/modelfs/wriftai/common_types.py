"""What WriftAI says of users, models and versions, as dictionaries with the names of its wire.

Times are texts in ISO format. What is None was never told.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NotRequired, TypedDict

__all__ = [
    "BaseUser",
    "Compatibilities",
    "Model",
    "ModelCategory",
    "ModelVersion",
    "ModelVersionWithDetails",
    "ModelVisibility",
    "NotRequired",
    "SchemaIO",
    "Schemas",
    "SortDirection",
    "StrEnum",
    "User",
    "UserWithDetails",
]


class SortDirection(StrEnum):
    """Which end of a list comes first."""

    ASC = "asc"
    DESC = "desc"


class ModelVisibility(StrEnum):
    """Who sees a model."""

    restricted = "restricted"
    private = "private"
    public = "public"


class BaseUser(TypedDict):
    """Somebody, as the owner of something."""

    account_id: str
    name: str
    avatar_url: str


class User(BaseUser):
    """Somebody, as lists have them."""

    display_name: str | None
    bio: str | None
    location: str | None
    company: str | None
    created_at: str
    updated_at: str | None


class UserWithDetails(User):
    """Somebody, with all that there is to say."""

    urls: list[str] | None


class SchemaIO(TypedDict):
    """What something takes and gives, as JSON Schema of 2020-12."""

    input: Mapping[str, Any]
    output: Mapping[str, Any]
    stream_output: NotRequired[Mapping[str, Any]]


class Schemas(TypedDict):
    """The schemas of a version."""

    prediction: SchemaIO


class Compatibilities(TypedDict):
    """Which interfaces of others a version answers to."""

    openai_chat_completions: bool
    openai_embeddings: bool
    openai_images_generations: bool
    openai_responses: bool
    anthropic_messages: bool


class ModelVersion(TypedDict):
    """A version, as lists have it."""

    number: int
    release_notes: str
    created_at: str


class ModelVersionWithDetails(ModelVersion):
    """A version, with all that there is to say; `size` is of the compressed image, in bytes."""

    schemas: Schemas
    compatibilities: Compatibilities
    size: NotRequired[int]
    container_image_digest: NotRequired[str]


class ModelCategory(TypedDict):
    """What a model is for."""

    name: str
    slug: str


class Model(TypedDict):
    """A model, as lists have it."""

    id: str
    name: str
    created_at: str
    visibility: ModelVisibility
    description: str | None
    updated_at: str | None
    owner: BaseUser
    predictions_count: int
    categories: list[ModelCategory]
    cover_image_url: str | None
