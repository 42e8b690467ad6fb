"""Users: who owns models.

Every method has a twin that is awaited.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NotRequired, cast

from modelfs.wriftai.common_types import SortDirection, User, UserWithDetails
from modelfs.wriftai.pagination import PaginatedResponse, PaginationOptions, page
from modelfs.wriftai.service import Resource


class UsersSortBy(StrEnum):
    """What users are sorted by."""

    CREATED_AT = "created_at"


class UserPaginationOptions(PaginationOptions):
    """What is asked for of a page of users."""

    sort_by: NotRequired[UsersSortBy]
    sort_direction: NotRequired[SortDirection]


class UsersResource(Resource):
    """The users of the service, by name."""

    def get(self, name: str) -> UserWithDetails:
        return cast(UserWithDetails, self._calls.get("users", name))

    def list(
        self, pagination_options: UserPaginationOptions | None = None
    ) -> PaginatedResponse[User]:
        return page(self._calls, "users", options=pagination_options, kind=User)

    def search(
        self, q: str, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[User]:
        options = {**(pagination_options or {}), "q": q}
        return page(self._calls, "search", "users", options=options, kind=User)

    async def async_get(self, name: str) -> UserWithDetails:
        return await self._service.aside(self.get, name)

    async def async_list(
        self, pagination_options: UserPaginationOptions | None = None
    ) -> PaginatedResponse[User]:
        return await self._service.aside(self.list, pagination_options)

    async def async_search(
        self, q: str, pagination_options: PaginationOptions | None = None
    ) -> PaginatedResponse[User]:
        return await self._service.aside(self.search, q, pagination_options)
