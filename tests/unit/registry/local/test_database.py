"""Opening the database: layouts, other processes, errors."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from modelfs.errors import Corrupt, Unavailable, Usage
from modelfs.refs import Ref
from modelfs.registry.local import LocalRegistry, Store, database
from unit.registry.local.filling import BASE, Filling


def test_a_registry_of_a_newer_layout_is_refused_and_kept(store: Store, directory: Path) -> None:
    store.stop()
    with closing(sqlite3.connect(directory / "registry.db")) as connection, connection:
        connection.execute("UPDATE schema_version SET version = 99")
    for opening in (Store(directory).start, lambda: LocalRegistry(directory).children(Ref())):
        with pytest.raises(Usage, match="layout 99"):
            opening()


def test_a_database_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
    with pytest.raises(Usage, match="not a registry"):
        Store(tmp_path).start()
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert [("cookies",)] == tables


def test_a_place_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(Usage, match="cannot be a registry"):
            Store(place).start()


def test_starting_twice_at_once_makes_one_registry(directory: Path) -> None:
    stores = [Store(directory) for _ in range(4)]
    failures: list[BaseException] = []

    def start(store: Store) -> None:
        try:
            store.start()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=start, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [] == failures
    stores[0].create_model("alice", "bert", title="")
    assert ("alice",) == stores[3].owners()
    for store in stores:
        store.stop()


def test_two_processes_worth_of_writers_never_lose_a_version(
    store: Store, fill: Filling, directory: Path
) -> None:
    fill.instance({"w": b"w"})
    other = Store(directory)
    other.start()
    failures: list[BaseException] = []

    def publish(into: Store) -> None:
        try:
            for _ in range(10):
                Filling(into).paths()
                into.create_version(*BASE, bundle=Filling(into).bundle({"w": b"w"}))
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=publish, args=(into,)) for into in (store, other, store)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [] == failures
    numbers = [version.number for version in other.all_versions(*BASE)]
    assert list(range(1, 32)) == numbers
    other.stop()


def test_a_writer_that_never_gets_its_turn_says_so(
    directory: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_TURN", 0.05)
    other = Store(directory)
    with closing(sqlite3.connect(directory / "registry.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="busy"):
            other.create_model("alice", "bert", title="")
        assert () == other.owners(), "readers do not wait"
        holder.execute("ROLLBACK")
    other.stop()


def test_a_damaged_database_is_said_to_be_damaged(
    store: Store, fill: Filling, directory: Path
) -> None:
    fill.instance({str(number): b"" for number in range(50)})
    store.stop()
    path = directory / "registry.db"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    local = LocalRegistry(directory)
    with pytest.raises(Corrupt, match="damaged"):
        local.children(Ref())
