"""Models whose versions are container images: the tables of them, read and written.

A version here is a few texts about an image that is kept elsewhere, so there are no files. Each
call is one transaction; safe for many threads and processes. Fields are checked for what they mean
to the wire before they come here.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, delete, insert, update

from modelfs.errors import Exists, InvalidName, NotFound
from modelfs.registry.local import container_catalog as catalog
from modelfs.registry.local.container_records import (
    Account,
    Configuration,
    ContainerModel,
    ContainerVersion,
    NewVersion,
)
from modelfs.registry.local.cursors import Turn, Window
from modelfs.registry.local.database import Database
from modelfs.registry.local.schema import (
    accounts,
    container_categories,
    container_models,
    container_versions,
)
from modelfs.waiting import Clock

# What WriftAI gives to who does not say how many.
_FIRST = Turn(size=25)


class Containers:
    """Accounts, container models and their versions. `viewer` None sees what everybody has."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    # Accounts

    def account(self, name: str) -> Account:
        with self._database.read() as connection:
            return catalog.account(catalog.account_row(connection, name))

    def join(self, name: str) -> Account:
        """The account of that name, which is made where there is none."""
        try:
            return self.account(name)
        except NotFound:
            with self._database.write() as connection:
                return catalog.account(self._joined(connection, name))

    def accounts(
        self, *, search: str = "", is_descending: bool = True, turn: Turn = _FIRST
    ) -> Window[Account]:
        with self._database.read() as connection:
            return catalog.list_accounts(
                connection, search=search, is_descending=is_descending, turn=turn
            )

    def update_account(self, name: str, changes: Mapping[str, object]) -> Account:
        """Change what an account says of itself; fields are named as in Account."""
        with self._database.write() as connection:
            before = self._joined(connection, name)
            values = dict(changes)
            if "urls" in values and values["urls"] is not None:
                values["urls"] = json.dumps(values["urls"])
            display_name = values.get("display_name", before["display_name"])
            values |= {"searched": _searched(name, display_name), "updated": self._clock()}
            connection.execute(update(accounts).where(accounts.c.id == before["id"]).values(values))
            return catalog.account(catalog.account_row(connection, name))

    # Models

    def models(
        self,
        *,
        viewer: str | None,
        owner: str = "",
        search: str = "",
        categories: Sequence[str] = (),
        is_descending: bool = True,
        turn: Turn = _FIRST,
    ) -> Window[ContainerModel]:
        """Models, newest first; NotFound for an owner who has no account."""
        with self._database.read() as connection:
            return catalog.list_models(
                connection,
                viewer=viewer,
                owner=owner,
                search=search,
                categories=categories,
                is_descending=is_descending,
                turn=turn,
            )

    def model(self, owner: str, name: str, *, viewer: str | None) -> ContainerModel:
        with self._database.read() as connection:
            return catalog.model(connection, catalog.model_row(connection, owner, name, viewer))

    def create_model(
        self, owner: str, name: str, fields: Mapping[str, object], categories: Sequence[str] = ()
    ) -> ContainerModel:
        """A new model; Exists if the owner has one of that name."""
        with self._database.write() as connection:
            account = self._joined(connection, owner)
            _check_free(connection, owner, name)
            values = {
                **fields,
                "uuid": str(uuid.uuid4()),
                "account_id": account["id"],
                "name": name,
                "searched": _searched(name, fields.get("description")),
                "created": self._clock(),
                "last_number": 0,
            }
            connection.execute(insert(container_models).values(values))
            row = catalog.model_row(connection, owner, name, None)
            _put_categories(connection, row["id"], categories)
            return catalog.model(connection, row)

    def update_model(
        self,
        owner: str,
        name: str,
        changes: Mapping[str, object],
        categories: Sequence[str] | None = None,
    ) -> ContainerModel:
        """Change a model, also its name; Exists if that is taken."""
        with self._database.write() as connection:
            before = catalog.model_row(connection, owner, name, None)
            renamed = str(changes.get("name", name))
            if renamed != name:
                _check_free(connection, owner, renamed)
            description = changes.get("description", before["description"])
            values = {
                **changes,
                "searched": _searched(renamed, description),
                "updated": self._clock(),
            }
            query = update(container_models).where(container_models.c.id == before["id"])
            connection.execute(query.values(values))
            if categories is not None:
                _put_categories(connection, before["id"], categories)
            return catalog.model(connection, catalog.model_row(connection, owner, renamed, None))

    def delete_model(self, owner: str, name: str) -> None:
        """Delete a model with all its versions."""
        with self._database.write() as connection:
            row = catalog.model_row(connection, owner, name, None)
            connection.execute(delete(container_models).where(container_models.c.id == row["id"]))

    def categories(self, *, viewer: str | None, turn: Turn = _FIRST) -> Window[str]:
        """The slugs of the categories that models are in."""
        with self._database.read() as connection:
            return catalog.list_categories(connection, viewer=viewer, turn=turn)

    # Versions

    def versions(
        self, owner: str, name: str, *, viewer: str | None, turn: Turn = _FIRST
    ) -> Window[ContainerVersion]:
        """Versions of a model, newest first."""
        with self._database.read() as connection:
            parent = catalog.model_row(connection, owner, name, viewer)
            return catalog.list_versions(connection, parent["id"], turn)

    def version(
        self, owner: str, name: str, number: int, *, viewer: str | None
    ) -> ContainerVersion:
        with self._database.read() as connection:
            parent = catalog.model_row(connection, owner, name, viewer)
            return catalog.version(catalog.version_row(connection, parent, number))

    def create_version(
        self, owner: str, name: str, new: NewVersion, request_key: str = ""
    ) -> ContainerVersion:
        """The next version of a model, under a number that was never used.

        A request with a key that one had before is that one again, by somebody who got no answer:
        its version is given, and nothing made; InvalidName if it asked for something else.
        """
        digest = _digest(new)
        with self._database.write() as connection:
            parent = catalog.model_row(connection, owner, name, None)
            if request_key and (made := _made(connection, parent["id"], request_key, digest)):
                return catalog.version(made)
            number = parent["last_number"] + 1
            configuration = _inherited(new, catalog.latest(connection, parent["id"]))
            values = {
                "model_id": parent["id"],
                "number": number,
                "release_notes": new.release_notes,
                "container_image_digest": new.container_image_digest,
                "schemas": json.dumps(new.schemas),
                "compatibilities": json.dumps(sorted(new.compatibilities)),
                **_columns(configuration),
                "created": self._clock(),
                "request_key": request_key or None,
                "request_digest": digest if request_key else None,
            }
            connection.execute(insert(container_versions).values(values))
            query = update(container_models).where(container_models.c.id == parent["id"])
            connection.execute(query.values(last_number=number))
            return catalog.version(catalog.version_row(connection, parent, number))

    def delete_version(self, owner: str, name: str, number: int) -> None:
        """Delete a version; its number is not given again."""
        with self._database.write() as connection:
            parent = catalog.model_row(connection, owner, name, None)
            row = catalog.version_row(connection, parent, number)
            table = container_versions
            connection.execute(delete(table).where(table.c.id == row["id"]))

    def configure(
        self,
        owner: str,
        name: str,
        number: int,
        *,
        hardware_identifier: str | None = None,
        variable_names: tuple[str, ...] | None = None,
    ) -> Configuration:
        """Change the configuration of a version; what is None stays."""
        with self._database.write() as connection:
            parent = catalog.model_row(connection, owner, name, None)
            row = catalog.version_row(connection, parent, number)
            before = catalog.version(row).configuration
            after = Configuration(
                before.hardware_identifier if hardware_identifier is None else hardware_identifier,
                before.variable_names if variable_names is None else variable_names,
            )
            query = update(container_versions).where(container_versions.c.id == row["id"])
            connection.execute(query.values(_columns(after)))
            return after

    def _joined(self, connection: Connection, name: str) -> RowMapping:
        """The row of that account, which is made where there is none."""
        try:
            return catalog.account_row(connection, name)
        except NotFound:
            values = {
                "uuid": str(uuid.uuid4()),
                "name": name,
                "searched": _searched(name, None),
                "created": self._clock(),
            }
            connection.execute(insert(accounts).values(values))
            return catalog.account_row(connection, name)


def _check_free(connection: Connection, owner: str, name: str) -> None:
    try:
        catalog.model_row(connection, owner, name, None)
    except NotFound:
        return
    raise Exists(f"{owner}/{name}: model exists")


def _put_categories(connection: Connection, model_id: int, slugs: Sequence[str]) -> None:
    table = container_categories
    connection.execute(delete(table).where(table.c.model_id == model_id))
    for slug in sorted(set(slugs)):
        connection.execute(insert(table).values(model_id=model_id, slug=slug))


def _made(connection: Connection, model_id: int, key: str, digest: str) -> RowMapping | None:
    row = catalog.version_asked_for(connection, model_id, key)
    if row is not None and row["request_digest"] != digest:
        raise InvalidName("the key of this request was that of another one")
    return row


def _digest(new: NewVersion) -> str:
    """Of everything that is asked for: two requests that are the same have the same."""
    configuration = (new.hardware_identifier, new.variable_names)
    texts = (new.release_notes, new.container_image_digest, sorted(new.compatibilities))
    asked = json.dumps((*texts, new.schemas, *configuration), sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _inherited(new: NewVersion, before: ContainerVersion | None) -> Configuration:
    inherited = Configuration() if before is None else before.configuration
    hardware, names = new.hardware_identifier, new.variable_names
    return Configuration(
        inherited.hardware_identifier if hardware is None else hardware,
        inherited.variable_names if names is None else names,
    )


def _columns(configuration: Configuration) -> dict[str, object]:
    return {
        "hardware_identifier": configuration.hardware_identifier,
        "variable_names": json.dumps(configuration.variable_names),
    }


def _searched(name: str, text: object) -> str:
    return f"{name}\n{text or ''}".casefold()
