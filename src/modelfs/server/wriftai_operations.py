"""What WriftAI's clients can ask of the registry.

Each operation takes one request and gives the JSON value of its reply, or a window of a list.
Blocks (the store's disk); called in threads, holds no state of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelfs.errors import Forbidden, InvalidName
from modelfs.registry.local.container_records import DEFAULT_HARDWARE
from modelfs.registry.local.containers import Containers
from modelfs.registry.local.cursors import Window
from modelfs.server import wriftai_bodies as bodies
from modelfs.server import wriftai_replies as replies
from modelfs.server.auth import Caller
from modelfs.server.wriftai_replies import Reply

# `GET /v1/models/list` was Kaggle's before: nobody could list the models of such an owner.
_NEVER_AN_OWNER = "list"
_DIRECTIONS = ("desc", "asc")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: who asks, and what path, query, body and headers say."""

    caller: Caller
    names: Mapping[str, str]
    query: Mapping[str, str]
    category_slugs: tuple[str, ...]
    body: Mapping[str, object]
    key: str

    @property
    def model(self) -> tuple[str, str]:
        return self.names["owner"], self.names["name"]

    @property
    def number(self) -> int:
        return bodies.number(self.names["number"])

    @property
    def viewer(self) -> str | None:
        return self.caller.viewer

    @property
    def is_descending(self) -> bool:
        return bodies.one_of(self.query, "sort_direction", _DIRECTIONS) == "desc"


class WriftaiOperations:
    """The registry's operations on accounts and container models."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    # Users

    def get_me(self, ask: Ask) -> Reply:
        return replies.user_with_details(self._containers.join(ask.caller.user))

    def update_me(self, ask: Ask) -> Reply:
        changes = bodies.account_changes(ask.body)
        if changes.pop("name", ask.caller.user) != ask.caller.user:
            raise Forbidden("a user's name is what the registry was started with")
        account = self._containers.update_account(ask.caller.user, changes)
        return replies.user_with_details(account)

    def list_my_models(self, ask: Ask) -> Window[Reply]:
        self._containers.join(ask.caller.user)
        return self._models(ask, owner=ask.caller.user)

    def get_user(self, ask: Ask) -> Reply:
        return replies.user_with_details(self._containers.account(ask.names["owner"]))

    def list_users(self, ask: Ask) -> Window[Reply]:
        bodies.one_of(ask.query, "sort_by", ("created_at",))
        turn = bodies.turn(ask.query)
        return self._containers.accounts(is_descending=ask.is_descending, turn=turn).map(
            replies.user
        )

    def search_users(self, ask: Ask) -> Window[Reply]:
        search, turn = bodies.searched(ask.query), bodies.turn(ask.query)
        return self._containers.accounts(search=search, turn=turn).map(replies.user)

    # Models

    def list_models(self, ask: Ask) -> Window[Reply]:
        """All or one owner's. There are no predictions: by their count is by time, too."""
        bodies.one_of(ask.query, "sort_by", ("created_at", "predictions_count"))
        return self._models(
            ask,
            owner=ask.names.get("owner", ""),
            categories=ask.category_slugs,
            is_descending=ask.is_descending,
        )

    def search_models(self, ask: Ask) -> Window[Reply]:
        return self._models(ask, search=bodies.searched(ask.query))

    def get_model(self, ask: Ask) -> Reply:
        record = self._containers.model(*ask.model, viewer=ask.viewer)
        return replies.model_with_details(record)

    def create_model(self, ask: Ask) -> Reply:
        owner = ask.caller.user
        if owner == _NEVER_AN_OWNER:
            raise InvalidName(f"owner of models cannot be called {owner}")
        values = {"visibility": "private"} | bodies.new_model(ask.body)
        name, categories = values.pop("name"), values.pop("category_slugs", ())
        record = self._containers.create_model(owner, name, values, categories)
        return replies.model_with_details(record)

    def update_model(self, ask: Ask) -> Reply:
        self._check_owner(ask)
        changes = bodies.model_changes(ask.body)
        categories = changes.pop("category_slugs", None)
        record = self._containers.update_model(*ask.model, changes, categories)
        return replies.model_with_details(record)

    def delete_model(self, ask: Ask) -> None:
        self._check_owner(ask)
        self._containers.delete_model(*ask.model)

    # Versions

    def list_versions(self, ask: Ask) -> Window[Reply]:
        turn = bodies.turn(ask.query)
        page = self._containers.versions(*ask.model, viewer=ask.viewer, turn=turn)
        return page.map(replies.version)

    def get_version(self, ask: Ask) -> Reply:
        record = self._containers.version(*ask.model, ask.number, viewer=ask.viewer)
        return replies.version_with_details(record)

    def create_version(self, ask: Ask) -> Reply:
        self._check_owner(ask)
        new = bodies.new_version(ask.body)
        return replies.created_version(self._containers.create_version(*ask.model, new, ask.key))

    def delete_version(self, ask: Ask) -> None:
        self._check_owner(ask)
        self._containers.delete_version(*ask.model, ask.number)

    def get_configuration(self, ask: Ask) -> Reply:
        """For its owner only: it names the owner's variables."""
        self._check_owner(ask)
        record = self._containers.version(*ask.model, ask.number, viewer=ask.viewer)
        return replies.configuration(record.configuration)

    def update_configuration(self, ask: Ask) -> Reply:
        self._check_owner(ask)
        changes = bodies.configuration_changes(ask.body)
        return replies.configuration(self._containers.configure(*ask.model, ask.number, **changes))

    # What there is to choose from

    def list_hardware(self, ask: Ask) -> Window[Reply]:
        """This machine, as what a version runs on where nobody said."""
        if bodies.turn(ask.query).cursor:
            raise InvalidName("page token is not one of ours")
        ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        since = self._containers.join(ask.caller.user).created
        return Window((replies.hardware(DEFAULT_HARDWARE, os.cpu_count() or 1, ram, since),))

    def list_categories(self, ask: Ask) -> Window[Reply]:
        """Those that a model is in: a category is there once somebody uses it."""
        page = self._containers.categories(viewer=ask.viewer, turn=bodies.turn(ask.query))
        return page.map(replies.category)

    def _models(self, ask: Ask, **choice: Any) -> Window[Reply]:
        turn = bodies.turn(ask.query)
        return self._containers.models(viewer=ask.viewer, turn=turn, **choice).map(replies.model)

    def _check_owner(self, ask: Ask) -> None:
        """Forbidden for what is somebody else's; NotFound, if they may not know of it."""
        if ask.caller.user != ask.names["owner"]:
            self._containers.model(*ask.model, viewer=ask.viewer)
        ask.caller.check_owner(ask.names["owner"])
