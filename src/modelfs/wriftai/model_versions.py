"""Versions of models: container images, described.

Every method has a twin that is awaited.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict, cast

from modelfs.registry.wriftai_calls import Reply
from modelfs.wriftai import identifiers
from modelfs.wriftai.common_types import ModelVersion, ModelVersionWithDetails, Schemas
from modelfs.wriftai.pagination import PaginatedResponse, PaginationOptions, page
from modelfs.wriftai.service import Resource


class CreateCompatibilities(TypedDict):
    """Which interfaces of others a new version answers to; none that is not said."""

    openai_chat_completions: NotRequired[bool]
    openai_embeddings: NotRequired[bool]
    openai_images_generations: NotRequired[bool]
    openai_responses: NotRequired[bool]
    anthropic_messages: NotRequired[bool]


class ModelVersionConfiguration(TypedDict):
    """What a version runs on, and the names of the variables that it is given."""

    hardware_identifier: str
    variable_names: list[str]


class UpdateModelVersionConfigurationParams(TypedDict):
    """What is to change of a configuration; the names replace all that there are."""

    hardware_identifier: NotRequired[str]
    variable_names: NotRequired[list[str]]


class CreateModelVersionParams(TypedDict):
    """A new version: notes of at most 255 characters, and the digest of an image: `sha256:…`.

    Without a `configuration` it has that of the version before it.
    """

    release_notes: str
    schemas: Schemas
    container_image_digest: str
    compatibilities: NotRequired[CreateCompatibilities]
    configuration: NotRequired[ModelVersionConfiguration]


class ModelVersionWithDetailsAndConfiguration(ModelVersionWithDetails):
    """A version as its creator sees it."""

    configuration: ModelVersionConfiguration


class ModelVersions(Resource):
    """The versions of models: `owner/name` is a model, `owner/name:number` a version."""

    def get(self, identifier: str) -> ModelVersionWithDetails:
        return cast(ModelVersionWithDetails, self._calls.get(*_version(identifier)))

    def list(
        self, identifier: str, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[ModelVersion]:
        """Versions of a model, newest first."""
        return page(
            self._calls, *_versions(identifier), options=pagination_options, kind=ModelVersion
        )

    def create(
        self, identifier: str, options: CreateModelVersionParams
    ) -> ModelVersionWithDetailsAndConfiguration:
        """A new version, asked for once.

        If the answer is lost, the list of versions is looked at. Unavailable: whether there is a
        new version is not known.
        """
        model = identifiers.model(identifier)
        made = self._calls.create_version(model, cast(Reply, options))
        if "configuration" not in made:
            number = f"{identifier}:{made['number']}"
            made = {**made, "configuration": self.get_configuration(number)}
        return cast(ModelVersionWithDetailsAndConfiguration, made)

    def delete(self, identifier: str) -> None:
        self._calls.delete(*_version(identifier))

    def get_configuration(self, identifier: str) -> ModelVersionConfiguration:
        found = self._calls.get(*_version(identifier), "configuration")
        return cast(ModelVersionConfiguration, found)

    def update_configuration(
        self, identifier: str, params: UpdateModelVersionConfigurationParams
    ) -> ModelVersionConfiguration:
        place = (*_version(identifier), "configuration")
        found = self._calls.update(*place, message=cast(Reply, params))
        return cast(ModelVersionConfiguration, found)

    async def async_get(self, identifier: str) -> ModelVersionWithDetails:
        return await self._service.aside(self.get, identifier)

    async def async_list(
        self, identifier: str, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[ModelVersion]:
        return await self._service.aside(self.list, identifier, pagination_options)

    async def async_create(
        self, identifier: str, options: CreateModelVersionParams
    ) -> ModelVersionWithDetailsAndConfiguration:
        return await self._service.aside(self.create, identifier, options)

    async def async_delete(self, identifier: str) -> None:
        await self._service.aside(self.delete, identifier)

    async def async_get_configuration(self, identifier: str) -> ModelVersionConfiguration:
        return await self._service.aside(self.get_configuration, identifier)

    async def async_update_configuration(
        self, identifier: str, params: UpdateModelVersionConfigurationParams
    ) -> ModelVersionConfiguration:
        return await self._service.aside(self.update_configuration, identifier, params)


def _versions(identifier: str) -> tuple[str, ...]:
    return ("models", *identifiers.model(identifier).parts, "versions")


def _version(identifier: str) -> tuple[str, ...]:
    owner, name, number = identifiers.version(identifier).parts
    return ("models", owner, name, "versions", number)
