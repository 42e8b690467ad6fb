"""Folders become versions: once, whole or not at all, and the folder stays as it is."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drafting import HASTY
from modelfs.api import Client, Progress
from modelfs.api.publishing import publish
from modelfs.cache.blocks import BlockCache
from modelfs.cache.crew import Crew
from modelfs.errors import (
    Exists,
    Forbidden,
    InvalidName,
    NotFound,
    Unavailable,
    Unsupported,
    WrongState,
)
from modelfs.fs.folder import Folder
from modelfs.refs import Ref
from modelfs.registry.local import Store
from modelfs.server.app import Settings, running
from sims.desk import Desk
from sims.relay import Relay

INSTANCE = "alice/mine/pytorch/base"
FILES = {"config.json": b"{}", "empty": b"", "deep/a/weights.bin": os.urandom(300_000)}


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What would show that somebody touched a file."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_ctime_ns, path.stat().st_nlink)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "folder", FILES)


@pytest.fixture(params=["local", "served"])
def client(
    request: pytest.FixtureRequest, tmp_path: Path, make_client: Callable[..., Client]
) -> Iterator[Client]:
    directory = tmp_path / "registry"
    store = Store(directory)
    store.start()
    store.stop()
    if request.param == "local":
        yield make_client(f"local:{directory}")
        return
    with running(Settings(directory, "alice")) as address:
        token = (directory / "token").read_text().strip()
        client = make_client(f"kaggle+{address}", environ={"MODELFS_TOKEN": token})
        yield client
        client.close()


def content(client: Client, version: Ref, tmp_path: Path) -> dict[str, bytes]:
    target = tmp_path / f"out-{version.name}"
    paths = client.download(version, target)
    return {path.relative_to(target).as_posix(): path.read_bytes() for path in paths}


def test_a_folder_becomes_a_version_with_all_above_it(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    before = state(folder)
    version = client.publish(folder, INSTANCE, notes="the first")
    assert Ref.parse(f"{INSTANCE}/1") == version
    assert FILES == content(client, version, tmp_path)
    with client.open(f"{version}/NOTES", "r") as file:
        assert "the first\n" == file.read()
    assert client.metadata("alice/mine")["isPrivate"]
    assert "MIT" == client.metadata(INSTANCE)["licenseName"]
    assert before == state(folder)
    assert Ref.parse(f"{INSTANCE}/2") == client.publish(folder, f"{INSTANCE}/2")
    assert Ref.parse(f"{INSTANCE}/2") == client.resolve(f"{INSTANCE}/latest")


def test_what_was_published_is_not_downloaded_back(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    version = client.publish(folder, INSTANCE, notes="n")
    manifest = client.manifest(version)
    kept = sum(path.stat().st_size for path in (tmp_path / "cache/blocks").rglob("*-*-300000*"))
    assert len(manifest.files) == 3
    assert 300_000 == kept
    assert not list((tmp_path / "cache/incoming").iterdir())


def test_a_publication_asks_for_what_is_documented_and_the_first_look_for_nothing(
    folder: Path, tmp_path: Path, make_client: Callable[..., Client]
) -> None:
    directory = tmp_path / "registry"
    with running(Settings(directory, "alice")) as address, Relay(address) as relay:
        token = (directory / "token").read_text().strip()
        client = make_client(f"kaggle+{relay.url}", environ={"MODELFS_TOKEN": token})

        def asked() -> Counter[str]:
            names = [request.path.rpartition("/")[2] for request in relay.requests]
            relay.requests.clear()
            return Counter(names)

        client.publish(folder, INSTANCE)
        made = {"StartBlobUpload": 3, "upload": 3, "ListModelInstanceVersionFiles": 1}
        # The version is there: nothing is known of the instance, but that it is new.
        assert made.items() <= asked().items()
        assert "1" == client.resolve(f"{INSTANCE}/latest").name
        asked()
        version = client.publish(folder, INSTANCE)
        # What is there is asked for at the start, and after the creation with the files.
        made |= {"ListModelInstanceVersions": 2, "CreateModelInstanceVersion": 1}
        assert made == asked()
        assert version == client.resolve(f"{INSTANCE}/latest")
        assert 3 == len(client.manifest(version).files)
        assert {} == asked()


def test_writing_to_the_folder_afterwards_changes_no_version(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    version = client.publish(folder, INSTANCE)
    with (folder / "deep/a/weights.bin").open("r+b") as file:
        file.write(b"changed")
    assert FILES == content(client, version, tmp_path)


def test_metadata_comes_from_the_folder_or_from_the_caller(client: Client, folder: Path) -> None:
    told = {
        "ownerSlug": "alice",
        "modelSlug": "mine",
        "instanceSlug": "base",
        "framework": "pyTorch",
        "licenseName": "GPL 3",
    }
    fill(folder, {"model-instance-metadata.json": json.dumps(told).encode()})
    model = {
        "ownerSlug": "alice",
        "slug": "mine",
        "title": "Mine",
        "isPrivate": False,
        "description": "",
    }
    version = client.publish(folder, INSTANCE, metadata={"model-metadata.json": model})
    assert "GPL 3" == client.metadata(INSTANCE)["licenseName"]
    assert "Mine" == client.metadata("alice/mine")["title"]
    assert set(FILES) == {file.path for file in client.manifest(version).files}


def test_what_is_left_out_is_told(client: Client, folder: Path) -> None:
    fill(
        folder, {".git/x": b"", "build/b": b"b", "a.log": b"", "sub/build/c": b"", "build.txt": b""}
    )
    told: list[Progress] = []
    version = client.publish(folder, INSTANCE, ignore=["*.log", "build/"], progress=told.append)
    assert {*FILES, "build.txt"} == {file.path for file in client.manifest(version).files}
    assert {".git", "build", "a.log", "sub/build", "sub/"} == set(told[-1].ignored)
    last = told[-1]
    assert last.files == last.files_done == 4
    assert last.bytes == last.bytes_done


def test_folders_can_be_skipped(client: Client, folder: Path) -> None:
    told: list[Progress] = []
    version = client.publish(folder, INSTANCE, directories="skip", progress=told.append)
    assert {"config.json", "empty"} == {file.path for file in client.manifest(version).files}
    assert ("deep",) == told[-1].ignored


def test_what_cannot_be_published_is_refused_before_anything_is_sent(
    client: Client, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotFound):
        client.publish(tmp_path / "nothing", INSTANCE)
    for wrong in ("alice", "alice/mine/pytorch", "alice/bad_name/pytorch/base"):
        with pytest.raises(InvalidName):
            client.publish(folder, wrong)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidName, match="nothing to publish"):
        client.publish(tmp_path / "empty", INSTANCE)
    with pytest.raises(InvalidName, match="NOTES is not a text in UTF-8"):
        client.publish(folder, INSTANCE, notes=os.fsdecode(b"caf\xe9"))
    for where in ("nowhere", "."):
        (folder / "link").symlink_to(where)
        with pytest.raises(InvalidName, match="link"):
            client.publish(folder, INSTANCE)
        (folder / "link").unlink()
    with pytest.raises(NotFound):
        client.stat("alice/mine")


def test_others_models_are_not_ours_to_add_to(
    client: Client, folder: Path, request: pytest.FixtureRequest
) -> None:
    if "local" in request.node.name:
        pytest.skip("who may write a directory may write all of it")
    with pytest.raises(Forbidden):
        client.publish(folder, "bob/mine/pytorch/base")


def test_a_registry_that_is_only_read_takes_nothing(
    folder: Path, make_client: Callable[..., Client]
) -> None:
    with pytest.raises(Unsupported):
        make_client("kaggle", environ={}).publish(folder, INSTANCE)


def test_a_model_is_created_changed_and_deleted(client: Client) -> None:
    item = client.create("alice/mine", {"title": "Mine"})
    assert ("Mine", "alice/mine") == (item.facts["title"], item.facts["ref"])
    with pytest.raises(Exists):
        client.create("alice/mine")
    client.update("alice/mine", {"subtitle": "new"})
    assert ("Mine", "new") == tuple(client.metadata("alice/mine")[k] for k in ("title", "subtitle"))
    with pytest.raises(InvalidName):
        client.update("alice/mine", {"title": ""})
    with pytest.raises(Unsupported):
        client.create("alice/mine/pytorch")
    client.delete("alice/mine")
    client.delete("alice/mine")
    with pytest.raises(NotFound):
        client.stat("alice/mine")


# What goes wrong on the way.


class Bench:
    """Publishes a folder to a registry that fails on demand, as several runs would."""

    def __init__(self, tmp_path: Path, desk: Desk) -> None:
        self.desk = desk
        self.folder = fill(tmp_path / "folder", FILES)
        self._tmp_path = tmp_path
        self.cache = BlockCache(tmp_path / "blocks", budget=1 << 30, floor=0)
        self.crew = Crew(4, "test")
        self.cache.start()
        self.crew.start()

    def publish(self, **options: object) -> Ref:
        material = Folder(
            self.folder,
            Ref.parse("alice/mine/new"),
            self.desk.traits,
            state=self._tmp_path / "state",
            spare=self._tmp_path / "spare",
            notes="notes",
        )
        arguments = {"progress": None, "patience": HASTY} | options
        ref = Ref.parse("alice/mine/new")
        return publish(self.desk, self.cache, self.crew, material, ref, **arguments)[0]  # type: ignore[arg-type]

    def stop(self) -> None:
        self.crew.stop(5)
        self.cache.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, Desk())
    yield bench
    bench.stop()


def test_an_answer_that_was_lost_makes_no_second_version(bench: Bench) -> None:
    def lose(call: str, moment: str) -> None:
        if (call, moment) == ("create", "after"):
            bench.desk.hook = lambda *_: None
            raise Unavailable("lost")

    bench.desk.hook = lose
    assert Ref.parse("alice/mine/1") == bench.publish()
    assert 1 == bench.desk.held.creations


def test_an_interrupted_call_goes_on_with_the_next(bench: Bench) -> None:
    reached = threading.Event()
    gate = threading.Event()

    def hold(call: str, moment: str) -> None:
        if (call, moment) == ("send", "after") and not gate.is_set():
            reached.set()
        if call == "create":
            gate.wait(5)
            raise Unavailable("interrupted")

    def stop(_: Progress) -> None:
        if reached.is_set() and bench.desk.calls["create"]:
            gate.set()
            raise KeyboardInterrupt

    bench.desk.hook = hold
    with pytest.raises(KeyboardInterrupt):
        bench.publish(progress=stop)
    bench.desk.hook = lambda *_: None
    sent = bench.desk.calls["send"]
    assert Ref.parse("alice/mine/1") == bench.publish()
    assert sent == bench.desk.calls["send"]
    assert 1 == bench.desk.held.creations


def test_a_version_of_before_is_told_apart_from_what_the_folder_is_now(bench: Bench) -> None:
    def lose(call: str, moment: str) -> None:
        if (call, moment) == ("create", "after") or bench.desk.held.creations:
            raise Unavailable("lost")

    def stop(_: Progress) -> None:
        if bench.desk.held.creations:
            raise KeyboardInterrupt

    bench.desk.hook = lose
    with pytest.raises(KeyboardInterrupt):
        bench.publish(progress=stop)
    bench.desk.hook = lambda *_: None
    (bench.folder / "config.json").write_bytes(b"[]")
    with pytest.raises(WrongState, match="before"):
        bench.publish()
    assert Ref.parse("alice/mine/2") == bench.publish()
    held = bench.desk.held.versions
    assert b"{}" == held[Ref.parse("alice/mine/1")].files["config.json"]
    assert b"[]" == held[Ref.parse("alice/mine/2")].files["config.json"]


def test_a_refusal_is_told_and_the_next_call_sends_nothing_twice(bench: Bench) -> None:
    bench.desk.refusal = Forbidden("not you")
    with pytest.raises(Forbidden):
        bench.publish()
    sent = bench.desk.calls["send"]
    bench.desk.refusal = None
    bench.publish()
    assert sent == bench.desk.calls["send"]


def test_a_folder_is_published_by_one_at_a_time(bench: Bench) -> None:
    def again(_: Progress) -> None:
        with pytest.raises(WrongState, match="already"):
            bench.publish()

    bench.publish(progress=again)
    assert 1 == bench.desk.held.creations


def test_the_same_folder_twice_is_two_versions(bench: Bench) -> None:
    assert ["1", "2"] == [bench.publish().name, bench.publish().name]


def test_a_link_to_a_file_is_that_file(client: Client, folder: Path, tmp_path: Path) -> None:
    """Caches of models are folders of links to their contents."""
    blob = tmp_path / "blobs" / "0a1b"
    blob.parent.mkdir()
    blob.write_bytes(b"weights elsewhere")
    (folder / "linked.bin").symlink_to(os.path.relpath(blob, folder))
    version = client.publish(folder, INSTANCE)
    with client.open(f"{version}/linked.bin") as file:
        assert b"weights elsewhere" == file.read()
    assert blob.is_file()
    assert (folder / "linked.bin").is_symlink()
