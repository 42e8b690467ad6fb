"""Ourselves: who the access token is of.

Every method has a twin that is awaited.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict, cast

from modelfs.registry.wriftai_calls import Reply
from modelfs.wriftai.common_types import Model, UserWithDetails
from modelfs.wriftai.pagination import PaginatedResponse, PaginationOptions, page
from modelfs.wriftai.service import Resource


class UpdateUserParams(TypedDict):
    """What is to change of us; None takes something away."""

    name: NotRequired[str]
    display_name: NotRequired[str | None]
    bio: NotRequired[str | None]
    urls: NotRequired[list[str] | None]
    company: NotRequired[str | None]
    location: NotRequired[str | None]


class AuthenticatedUser(Resource):
    """Ourselves; Unauthenticated without a token, or with one that is not good."""

    def get(self) -> UserWithDetails:
        return cast(UserWithDetails, self._calls.get("user"))

    def models(
        self, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[Model]:
        """Our models, also those that nobody else sees."""
        return page(self._calls, "user", "models", options=pagination_options, kind=Model)

    def update(self, params: UpdateUserParams) -> UserWithDetails:
        return cast(UserWithDetails, self._calls.update("user", message=cast(Reply, params)))

    async def async_get(self) -> UserWithDetails:
        return await self._service.aside(self.get)

    async def async_models(
        self, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[Model]:
        return await self._service.aside(self.models, pagination_options)

    async def async_update(self, params: UpdateUserParams) -> UserWithDetails:
        return await self._service.aside(self.update, params)
