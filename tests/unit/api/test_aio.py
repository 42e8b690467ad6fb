"""The client for asyncio: the same answers, many at once, nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import modelfs
from modelfs import AsyncClient
from modelfs.api import Progress
from modelfs.config import Config, Mount
from modelfs.errors import NotFound, WrongState
from polling import wait_for
from sims.content import BERT, SAMPLE
from sims.raw import RawServer, Request, Script, json_reply

T = TypeVar("T")
BASE = "alice/bert/pytorch/base"
FIRST = BERT.instances[0].versions[0].files
MANY = 100


def run(work: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


@pytest.fixture
def config(planted: Path, tmp_path: Path) -> Config:
    return _config(f"local:{planted}", tmp_path)


def _config(spec: str, tmp_path: Path) -> Config:
    return Config(
        registries=(Mount("", spec),),
        cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state",
        home=tmp_path,
    )


def test_it_reads_what_the_other_client_reads(config: Config, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncClient(config=config) as client:
            expected = sorted(model.slug for model in SAMPLE if model.owner == "alice")
            found = [item.ref.name async for item in client.list("alice", page_size=3)]
            assert expected == sorted(found)
            pages = [page async for page in client.list("alice", page_size=3).pages()]
            assert all(len(page.items) <= 3 for page in pages)
            assert f"{BASE}/3" == str(await client.resolve(f"{BASE}/latest"))
            assert 2 == len((await client.manifest(f"{BASE}/1")).files)
            assert BERT.title == (await client.metadata("alice/bert"))["title"]
            with pytest.raises(NotFound):
                await client.stat("alice/nothing")
            told: list[Progress] = []
            await client.download(f"{BASE}/1", tmp_path / "t", progress=told.append)
            await asyncio.sleep(0)
            assert 2 == told[-1].files_done
        assert FIRST["weights.bin"] == (tmp_path / "t/weights.bin").read_bytes()
        with pytest.raises((WrongState, RuntimeError)):
            await client.account()

    run(work())


def test_files_are_read_and_sought(config: Config) -> None:
    async def work() -> None:
        async with AsyncClient(config=config) as client:
            async with await client.open(f"{BASE}/1/weights.bin") as file:
                assert 700 == await file.seek(700)
                assert FIRST["weights.bin"][700:900] == await file.read(200)
                assert 900 == await file.tell()
            async with await client.open(f"{BASE}/3/NOTES", "r") as notes:
                assert ["größer\n"] == [line async for line in notes]

    run(work())


def test_a_folder_is_published(tmp_path: Path) -> None:
    from modelfs.registry.local import Store

    store = Store(tmp_path / "registry")
    store.start()
    store.stop()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/f").write_bytes(b"f")

    async def work() -> None:
        async with AsyncClient(
            config=_config(f"local:{tmp_path / 'registry'}", tmp_path)
        ) as client:
            version = await client.publish(tmp_path / "folder", BASE, notes="n")
            async with await client.open(f"{version}/f") as file:
                assert b"f" == await file.read()

    run(work())


class Hall:
    """Answers when so many are in it at once."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(MANY)
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Script:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        self.barrier.wait(30)
        with self._lock:
            self._inside -= 1
        slug = str(request.message["modelSlug"])
        return json_reply({"id": 1, "ref": f"alice/{slug}", "slug": slug})


def test_a_hundred_calls_are_under_way_at_once_and_the_next_hundred_connect_no_more(
    tmp_path: Path,
) -> None:
    hall = Hall()
    with RawServer(hall.answer) as server:

        async def work() -> None:
            async with AsyncClient(config=_config(f"kaggle+{server.url}", tmp_path)) as client:
                for _ in range(2):
                    calls = (client.stat(f"alice/m{number}") for number in range(MANY))
                    found = await asyncio.gather(*calls)
                    assert [f"m{n}" for n in range(MANY)] == [item.facts["slug"] for item in found]
                    assert MANY == hall.most
                    assert MANY == server.accepted

        run(work())


def test_a_cancelled_task_leaves_nothing_behind(tmp_path: Path) -> None:
    gate, asked = threading.Event(), threading.Event()

    def answer(request: Request) -> Script:
        asked.set()
        gate.wait(30)
        return json_reply({"id": 1, "slug": "m"})

    with RawServer(answer) as server:

        async def work() -> None:
            async with AsyncClient(config=_config(f"kaggle+{server.url}", tmp_path)) as client:
                task = asyncio.create_task(client.stat("alice/m"))
                await asyncio.to_thread(asked.wait, 30)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                gate.set()
                assert "m" == (await client.stat("alice/m")).facts["slug"]

        run(work())


def test_a_cancelled_download_ends(config: Config, tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncClient(config=config) as client:
            begun = asyncio.Event()
            download = client.download(
                "alice/paged/jax/files/3", tmp_path / "t", progress=lambda _: begun.set()
            )
            task = asyncio.create_task(download)
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(work())
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("client")], 10)
    assert not list((tmp_path / "t").glob(".*.part"))


def test_the_clients_are_imported_on_demand() -> None:
    assert {"AsyncClient", "Client"} <= set(modelfs.__all__)
    with pytest.raises(AttributeError):
        modelfs.Nothing  # noqa: B018
