"""The Python API for asyncio: `Client`, many calls at once.

Each call runs on a thread, made on demand and used again; the connections are the registry
client's, which keeps them open, so the next hundred calls make none. Knows nothing of registries.
A task that is cancelled waits for nothing any more: questions end by themselves, transfers are
told to, and what was opened is closed.
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, overload

from modelfs.api import Client, Listing, Progress, Tell
from modelfs.config import Config
from modelfs.errors import Interrupted
from modelfs.model import Account, Item, Manifest, Page, Traits
from modelfs.refs import Ref

T = TypeVar("T")
S = TypeVar("S", str, bytes)

# Calls at once; as many as there are connections to one host.
_CALLS = 128

# Inside the class, `list` is its method.
_Paths = list[Path]
_Run = Callable[..., Any]


class AsyncClient:
    """A registry of models, for asyncio: the methods of `modelfs.Client`, to be awaited.

    At most 128 calls are under way at once; more wait for their turn. Progress is told in the
    event loop.
    """

    def __init__(
        self,
        registry: str | None = None,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        is_offline: bool = False,
        config: Config | None = None,
    ) -> None:
        self._client = Client(
            registry,
            cache_dir=cache_dir,
            token_file=token_file,
            is_offline=is_offline,
            config=config,
        )
        self._threads = ThreadPoolExecutor(_CALLS, thread_name_prefix="async")

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back threads and connections; calls that are under way end with an error."""
        await asyncio.get_running_loop().run_in_executor(None, self._client.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def traits(self) -> Traits:
        """Facts about the registry."""
        return self._client.traits

    async def account(self) -> Account:
        return await self._run(self._client.account)

    def list(
        self,
        ref: str | Ref = "",
        *,
        search: str = "",
        owner: str = "",
        sort_by: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> AsyncListing:
        """What is directly below `ref`: `async for item in client.list(…)`."""

        def listing() -> Listing:
            return self._client.list(
                ref,
                search=search,
                owner=owner,
                sort_by=sort_by,
                page_size=page_size,
                page_token=page_token,
            )

        return AsyncListing(self._run, listing)

    async def stat(self, ref: str | Ref) -> Item:
        return await self._run(self._client.stat, ref)

    async def resolve(self, ref: str | Ref) -> Ref:
        return await self._run(self._client.resolve, ref)

    async def manifest(self, ref: str | Ref) -> Manifest:
        return await self._run(self._client.manifest, ref)

    async def metadata(self, ref: str | Ref) -> dict[str, Any]:
        return await self._run(self._client.metadata, ref)

    async def update(self, ref: str | Ref, changes: Mapping[str, Any]) -> None:
        await self._run(self._client.update, ref, changes)

    async def create(self, ref: str | Ref, metadata: Mapping[str, Any] | None = None) -> Item:
        return await self._run(self._client.create, ref, metadata)

    async def delete(self, ref: str | Ref) -> None:
        await self._run(self._client.delete, ref)

    @overload
    async def open(self, path: str, mode: Literal["rb"] = ...) -> AsyncFile[bytes]: ...
    @overload
    async def open(
        self, path: str, mode: Literal["r", "rt"], encoding: str | None = ...
    ) -> AsyncFile[str]: ...
    async def open(
        self, path: str, mode: Any = "rb", encoding: str | None = None
    ) -> AsyncFile[Any]:
        """The file at `owner/…/version/path`; an asynchronous context manager."""
        future: Future[io.IOBase] = self._threads.submit(self._client.open, path, mode, encoding)
        try:
            file = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            # It may be open by now, or soon.
            future.add_done_callback(_close)
            raise
        return AsyncFile(self._run, file)

    async def download(
        self,
        ref: str | Ref,
        directory: str | os.PathLike[str],
        *,
        files: Iterable[str] = (),
        patterns: Iterable[str] = (),
        is_forced: bool = False,
        link: bool = False,
        progress: Tell | None = None,
    ) -> _Paths:
        call = partial(
            self._client.download,
            ref,
            directory,
            files=files,
            patterns=patterns,
            is_forced=is_forced,
            link=link,
        )
        return await self._transfer(call, progress)

    async def warm(
        self, refs: str | Ref | Iterable[str | Ref], *, progress: Tell | None = None
    ) -> None:
        await self._transfer(partial(self._client.warm, refs), progress)

    async def publish(
        self,
        folder: str | os.PathLike[str],
        ref: str | Ref,
        *,
        notes: str = "",
        directories: Literal["tree", "skip"] = "tree",
        ignore: Iterable[str] = (),
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
        progress: Tell | None = None,
    ) -> Ref:
        call = partial(
            self._client.publish,
            folder,
            ref,
            notes=notes,
            directories=directories,
            ignore=ignore,
            metadata=metadata,
        )
        return await self._transfer(call, progress)

    async def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(call, *arguments))

    async def _transfer(self, call: Callable[..., T], progress: Tell | None) -> T:
        """A call that tells how far it is, and ends when the task is cancelled."""
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()

        def tell(told: Progress) -> None:
            if cancelled.is_set():
                raise Interrupted("the task was cancelled")
            if progress is not None:
                loop.call_soon_threadsafe(progress, told)

        try:
            return await self._run(partial(call, progress=tell))
        except asyncio.CancelledError:
            cancelled.set()
            raise


class AsyncListing:
    """The items of a listing; each page is asked for when it is wanted."""

    def __init__(self, run: _Run, listing: Callable[[], Listing]) -> None:
        self._run = run
        self._listing = listing

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def pages(self) -> AsyncIterator[Page[Item]]:
        """The pages as the registry gives them."""
        pages: Iterator[Page[Item]] = (await self._run(self._listing)).pages()
        while (page := await self._run(next, pages, None)) is not None:
            yield page


class AsyncFile(Generic[S]):
    """A published file, open for reading."""

    def __init__(self, run: _Run, file: Any) -> None:
        self._run = run
        self._file = file

    @property
    def name(self) -> str:
        return str(self._file.name)

    async def read(self, size: int = -1) -> S:
        """At most `size` bytes or characters, fewer only at the end; all for -1."""
        found: S = await self._run(self._file.read, size)
        return found

    async def readline(self) -> S:
        found: S = await self._run(self._file.readline)
        return found

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position: int = await self._run(self._file.seek, offset, whence)
        return position

    async def tell(self) -> int:
        position: int = await self._run(self._file.tell)
        return position

    async def close(self) -> None:
        self._file.close()

    async def __aenter__(self) -> AsyncFile[S]:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[S]:
        while line := await self.readline():
            yield line


def _close(future: Future[io.IOBase]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().close()
