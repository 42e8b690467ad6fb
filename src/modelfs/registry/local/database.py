"""The registry's database: connections and transactions. The only module that knows SQLite.

Owns the connection pool and the conversion of database errors into ours. Transactions are short.
Readers and one writer work at the same time, in one process or several (write-ahead log); writers
queue at the database for a while and then give up with Unavailable.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool, QueuePool
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from modelfs.errors import Corrupt, Error, InvalidName, NoSpace, Unavailable, Usage
from modelfs.registry.local import schema
from modelfs.registry.local.disk import disk_errors
from modelfs.waiting import DEADLINE

# Both waits of one transaction, for a connection and for the writers' turn, fit in a deadline.
_TURN = DEADLINE / 2 - 1

# More than the threads a server on a large machine uses; each connection is one open file.
_CONNECTIONS = 40

_ERRORS: tuple[tuple[str, type[Error], str], ...] = (
    ("SQLITE_BUSY", Unavailable, "registry is busy: another writer holds it"),
    ("SQLITE_LOCKED", Unavailable, "registry is busy: another writer holds it"),
    ("SQLITE_FULL", NoSpace, "the registry's disk is full"),
    ("SQLITE_CORRUPT", Corrupt, "registry.db is damaged"),
    ("SQLITE_NOTADB", Usage, "registry.db is not a registry of modelfs"),
    ("SQLITE_CANTOPEN", Usage, "registry.db cannot be opened"),
    ("SQLITE_READONLY", Usage, "registry.db cannot be written"),
)


class Database:
    """The database of one registry directory, for writing or for reading only."""

    def __init__(self, path: Path, *, is_read_only: bool = False) -> None:
        self._path = path
        self._engine = self._reading() if is_read_only else self._writing()
        # Shares the pool; its transactions take the writers' turn when they begin.
        self._writer = self._engine.execution_options(is_writer=True)
        event.listen(self._engine, "begin", _begin)

    def create(self) -> None:
        """Make the database where there is none, and check its layout."""
        with disk_errors("registry cannot be made"):
            self._path.touch(mode=0o600)
        with _converted(), closing(self._connect("rw")) as driver:
            _keep_log(driver)
        with self.write() as connection:
            schema.create(connection)

    def check(self) -> None:
        """Usage unless this is a registry whose layout we know. Makes nothing."""
        if not self._path.is_file():
            raise Usage(
                f"directory is not a registry: {self._path.parent}",
                hint="`modelfs serve` makes a registry of a directory",
            )
        with self.read() as connection:
            schema.check(connection)

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of everything."""
        return _transaction(self._engine)

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that may write, alone; durable once it is left without an error."""
        return _transaction(self._writer)

    def close(self) -> None:
        self._engine.dispose()

    def _writing(self) -> Engine:
        return create_engine(
            "sqlite://",
            creator=lambda: self._connect("rw"),
            poolclass=QueuePool,
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=_TURN,
        )

    def _reading(self) -> Engine:
        # A connection each time: how to open depends on whether a server is there now.
        return create_engine(
            "sqlite://", creator=lambda: self._connect(self._reading_mode()), poolclass=NullPool
        )

    def _reading_mode(self) -> str:
        log = self._path.with_name(f"{self._path.name}-wal")
        if os.access(self._path.parent, os.W_OK) or log.exists():
            return "ro"
        # Without a log there is no writer, and where we may not make one either, the database
        # opens only by this promise; it is kept for one short transaction at a time.
        return "ro&immutable=1"

    def _connect(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(os.fspath(self._path))}?mode={mode}",
            uri=True,
            timeout=_TURN,
            isolation_level=None,  # transactions begin where `_begin` says
            check_same_thread=False,  # the pool gives a connection to one thread at a time
        )
        connection.execute("PRAGMA foreign_keys=ON")
        # A version that was answered as created survives a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        return connection


def _keep_log(driver: sqlite3.Connection) -> None:
    """Write-ahead from now on, kept in the file: readers and the writer never wait for each other.

    SQLite does not wait by itself where two processes do this to a new database at once.
    """
    is_busy = retry_if_exception(lambda exc: _name(exc).startswith("SQLITE_BUSY"))
    waiting = Retrying(
        retry=is_busy, wait=wait_fixed(0.02), stop=stop_after_delay(_TURN), reraise=True
    )
    waiting(driver.execute, "PRAGMA journal_mode=WAL")


def _begin(connection: Connection) -> None:
    is_writer = connection.get_execution_options().get("is_writer", False)
    # A transaction that began as a reader's could not become a writer's without failing.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writer else "BEGIN")


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    with _converted(), engine.begin() as connection:
        yield connection


@contextmanager
def _converted() -> Iterator[None]:
    """Turns what SQLAlchemy and the driver raise into errors of ours."""
    try:
        yield
    except PoolTimeoutError as exc:
        raise Unavailable("registry is busy: no connection is free") from exc
    except IntegrityError as exc:
        raise Unavailable("registry changed meanwhile") from exc
    except DBAPIError as exc:
        raise _error(exc.orig) from exc
    except sqlite3.Error as exc:
        raise _error(exc) from exc
    except UnicodeEncodeError as exc:
        raise InvalidName("not Unicode text") from exc
    except OverflowError as exc:
        raise InvalidName("number is too large") from exc


def _error(cause: BaseException | None) -> Error:
    name = _name(cause)
    for prefix, kind, message in _ERRORS:
        if name.startswith(prefix):
            return kind(message)
    return Error(f"registry.db failed: {name or cause}")


def _name(cause: BaseException | None) -> str:
    """SQLite's name for an error of its driver; empty for any other."""
    return getattr(cause, "sqlite_errorname", "")
