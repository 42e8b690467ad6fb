"""The tables of a registry, and the version of their layout.

Owns the layout only; `database.py` opens it. Plain SQL types, so that another database than
SQLite can hold it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
    update,
)

from modelfs.errors import Usage

# Raised by one with every change of the tables; a registry of an older layout is then migrated in
# `create`, one of a newer layout is refused.
VERSION = 3

metadata = MetaData()

# Paths sort by code point everywhere: SQLite does so by itself, PostgreSQL if told.
_Name = String().with_variant(String(collation="C"), "postgresql")
# SQLite numbers rows by itself only in a column of exactly this type.
_Id = BigInteger().with_variant(Integer(), "sqlite")

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

models = Table(
    "models",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("owner", _Name, nullable=False),
    Column("slug", _Name, nullable=False),
    Column("title", Text, nullable=False),
    Column("subtitle", Text, nullable=False),
    Column("is_private", Boolean, nullable=False),
    Column("description", Text, nullable=False),
    Column("publish_time", Double),
    Column("provenance_sources", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    # Slug, title and subtitle, case-folded: databases differ in what they fold by themselves.
    Column("searched", Text, nullable=False),
    UniqueConstraint("owner", "slug"),
    Index("models_by_update", "updated", "id"),
    # An id is never given twice: archives on disk are named by ids.
    sqlite_autoincrement=True,
)

instances = Table(
    "instances",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), nullable=False),
    Column("framework", _Name, nullable=False),
    Column("slug", _Name, nullable=False),
    Column("overview", Text, nullable=False),
    Column("usage", Text, nullable=False),
    Column("license_name", Text, nullable=False),
    Column("fine_tunable", Boolean, nullable=False),
    Column("training_data", Text, nullable=False),  # a JSON list of strings
    Column("instance_type", Text, nullable=False),
    Column("base_model_instance", Text, nullable=False),
    Column("external_base_model_url", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double, nullable=False),
    # The highest number ever given, so that none is given twice.
    Column("last_number", Integer, nullable=False),
    UniqueConstraint("model_id", "framework", "slug"),
    sqlite_autoincrement=True,
)

versions = Table(
    "versions",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("instance_id", ForeignKey("instances.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("notes", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("file_count", Integer, nullable=False),
    Column("total_bytes", BigInteger, nullable=False),
    UniqueConstraint("instance_id", "number"),
    sqlite_autoincrement=True,
)

files = Table(
    "files",
    metadata,
    Column("version_id", ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("path", _Name, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False, index=True),
    Column("md5", String(32), nullable=False),
    Column("crc32c", String(8), nullable=False),
)

# Archives of whole versions that were asked for and built.
archives = Table(
    "archives",
    metadata,
    Column("version_id", ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("md5", String(32), nullable=False),
    Column("crc32c", String(8), nullable=False),
)

# Uploads that became part of a version. Since layout 2.
used_uploads = Table(
    "used_uploads",
    metadata,
    Column("token", String(48), primary_key=True),
    Column(
        "version_id",
        ForeignKey("versions.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
)


# Models whose versions are container images (WriftAI's), and the people they belong to. They share
# nothing with the models above but the directory. Since layout 3.
accounts = Table(
    "accounts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("name", _Name, nullable=False, unique=True),
    Column("display_name", Text),
    Column("bio", Text),
    Column("location", Text),
    Column("company", Text),
    Column("urls", Text),  # a JSON list of strings
    Column("searched", Text, nullable=False),  # as in models
    Column("created", Double, nullable=False),
    Column("updated", Double),
    sqlite_autoincrement=True,
)

container_models = Table(
    "container_models",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("account_id", ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("name", _Name, nullable=False),
    Column("visibility", String(16), nullable=False),
    Column("description", Text),
    Column("overview", Text),
    Column("source_url", Text),
    Column("license_url", Text),
    Column("paper_url", Text),
    Column("searched", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("updated", Double),
    # As in instances.
    Column("last_number", Integer, nullable=False),
    UniqueConstraint("account_id", "name"),
    Index("container_models_by_creation", "created", "id"),
    sqlite_autoincrement=True,
)

container_categories = Table(
    "container_categories",
    metadata,
    Column("model_id", ForeignKey("container_models.id", ondelete="CASCADE"), primary_key=True),
    Column("slug", _Name, primary_key=True, index=True),
)

container_versions = Table(
    "container_versions",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("model_id", ForeignKey("container_models.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("release_notes", Text, nullable=False),
    Column("container_image_digest", String(71), nullable=False),
    Column("schemas", Text, nullable=False),  # JSON, as it was sent
    Column("compatibilities", Text, nullable=False),  # a JSON list of those that it has
    Column("hardware_identifier", Text, nullable=False),
    Column("variable_names", Text, nullable=False),  # a JSON list of strings
    Column("created", Double, nullable=False),
    # What told the request that made it from others, and the digest of what it asked for.
    Column("request_key", Text),
    Column("request_digest", String(64)),
    UniqueConstraint("model_id", "number"),
    UniqueConstraint("model_id", "request_key"),
    sqlite_autoincrement=True,
)


def create(connection: Connection) -> None:
    """Make the tables where there are none; Usage if what is there is not ours, or newer."""
    if not inspect(connection).get_table_names():
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=VERSION))
    elif check(connection) < VERSION:
        metadata.create_all(connection)  # those that are missing
        connection.execute(update(schema_version).values(version=VERSION))


def check(connection: Connection) -> int:
    """The layout, which readers may take older than ours; Usage for one that we do not know."""
    if not inspect(connection).has_table(schema_version.name):
        raise Usage("registry.db is not a registry of modelfs")
    found: int = connection.execute(select(schema_version.c.version)).scalar_one()
    if found > VERSION:
        raise Usage(
            f"registry is of a newer modelfs, layout {found} where we know {VERSION}",
            hint="update modelfs",
        )
    return found
