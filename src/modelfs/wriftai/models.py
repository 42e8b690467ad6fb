"""Models: what versions are of.

Every method has a twin that is awaited.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NotRequired, TypedDict, cast

from modelfs.registry.wriftai_calls import Reply
from modelfs.wriftai import identifiers
from modelfs.wriftai.common_types import (
    Model,
    ModelVersionWithDetails,
    ModelVisibility,
    SortDirection,
)
from modelfs.wriftai.pagination import PaginatedResponse, PaginationOptions, page
from modelfs.wriftai.service import Resource


class ModelWithDetails(Model):
    """A model, with all that there is to say."""

    overview: str | None
    latest_version: ModelVersionWithDetails | None
    source_url: str | None
    license_url: str | None
    paper_url: str | None


class ModelsSortBy(StrEnum):
    """What models are sorted by."""

    CREATED_AT = "created_at"
    PREDICTIONS_COUNT = "predictions_count"


class ModelPaginationOptions(PaginationOptions):
    """What is asked for of a page of models."""

    sort_by: NotRequired[ModelsSortBy]
    sort_direction: NotRequired[SortDirection]
    category_slugs: NotRequired[list[str]]


class UpdateModelParams(TypedDict):
    """What is to change of a model; None takes a text away."""

    name: NotRequired[str]
    description: NotRequired[str | None]
    visibility: NotRequired[ModelVisibility]
    source_url: NotRequired[str | None]
    license_url: NotRequired[str | None]
    paper_url: NotRequired[str | None]
    overview: NotRequired[str | None]
    category_slugs: NotRequired[list[str]]


class CreateModelParams(TypedDict):
    """A new model of ours."""

    name: str
    visibility: NotRequired[ModelVisibility]
    description: NotRequired[str | None]
    source_url: NotRequired[str | None]
    license_url: NotRequired[str | None]
    paper_url: NotRequired[str | None]
    overview: NotRequired[str | None]
    category_slugs: NotRequired[list[str]]


class ModelsResource(Resource):
    """The models of the service: `owner/name`."""

    def get(self, identifier: str) -> ModelWithDetails:
        return cast(ModelWithDetails, self._calls.get(*_model(identifier)))

    def list(
        self, pagination_options: ModelPaginationOptions | None = None, owner: str | None = None
    ) -> PaginatedResponse[Model]:
        """Models of an owner or, without one, of all."""
        names = ("models", owner) if owner else ("models",)
        return page(self._calls, *names, options=pagination_options, kind=Model)

    def search(
        self, q: str, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[Model]:
        options = {**(pagination_options or {}), "q": q}
        return page(self._calls, "search", "models", options=options, kind=Model)

    def create(self, params: CreateModelParams) -> ModelWithDetails:
        """A new model, asked for once. Unavailable: whether it was made is not known."""
        made = self._calls.create("models", message=cast(Reply, params))
        return cast(ModelWithDetails, made)

    def update(self, identifier: str, params: UpdateModelParams) -> ModelWithDetails:
        found = self._calls.update(*_model(identifier), message=cast(Reply, params))
        return cast(ModelWithDetails, found)

    def delete(self, identifier: str) -> None:
        """Delete a model with all its versions."""
        self._calls.delete(*_model(identifier))

    async def async_get(self, identifier: str) -> ModelWithDetails:
        return await self._service.aside(self.get, identifier)

    async def async_list(
        self, pagination_options: ModelPaginationOptions | None = None, owner: str | None = None
    ) -> PaginatedResponse[Model]:
        return await self._service.aside(self.list, pagination_options, owner)

    async def async_search(
        self, q: str, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[Model]:
        return await self._service.aside(self.search, q, pagination_options)

    async def async_create(self, params: CreateModelParams) -> ModelWithDetails:
        return await self._service.aside(self.create, params)

    async def async_update(self, identifier: str, params: UpdateModelParams) -> ModelWithDetails:
        return await self._service.aside(self.update, identifier, params)

    async def async_delete(self, identifier: str) -> None:
        await self._service.aside(self.delete, identifier)


def _model(identifier: str) -> tuple[str, ...]:
    return ("models", *identifiers.model(identifier).parts)
