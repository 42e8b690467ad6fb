"""The embedded registry over HTTP, put together: one directory, one listening socket.

`RegistryServer` builds the parts and owns their life: the store, the threads its calls run in, the
socket. `running` does it in a thread of its own, for tests and notebooks. Everything but the
store's calls happens in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from modelfs.errors import Error, InvalidName, Unavailable, Usage
from modelfs.registry.local.reader import DATABASE
from modelfs.registry.local.store import Store
from modelfs.server import pages, rest, storage, uploads, wriftai
from modelfs.server.auth import KEY_FILE, TOKEN_FILE, Gate, checked_user, is_loopback, keep_secret
from modelfs.server.limits import Allowance, Connections, Limits
from modelfs.server.observing import Counters, answer_errors, observer
from modelfs.server.operations import Operations
from modelfs.server.rpc import Dispatcher, method_table

# Threads for the store's quick calls and for packing and unpacking whole versions. Both mostly
# wait for the disk.
_QUICK, _SLOW = 16, 4
# How long requests in progress may take to end once the server is told to stop; after as long
# again they are cut.
_GRACE = 3.0
# What is swept is more than a week old: an hour sooner or later makes no difference.
_SWEEP_EVERY = 3600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve, where and to whom."""

    directory: Path
    user: str
    host: str = "127.0.0.1"
    port: int = 0
    is_open: bool = False
    limits: Limits = field(default_factory=Limits)


class RegistryServer:
    """The server of one directory. `start` and `stop` run in the event loop that serves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = Store(settings.directory)
        self._connections = Connections(settings.limits, time.monotonic)
        self._quick = ThreadPoolExecutor(_QUICK, "modelfs-serve")
        self._slow = ThreadPoolExecutor(_SLOW, "modelfs-pack")
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._chores: list[asyncio.Task[None]] = []

    async def start(self) -> str:
        """Open the directory and listen; gives the server's address.

        Raises Usage for settings that cannot be, Unavailable for a port that is taken, and what
        the store has against the directory.
        """
        settings = self._settings
        try:
            checked_user(settings.user)
        except InvalidName as exc:
            raise Usage(str(exc), hint=exc.hint) from exc
        if settings.is_open and not is_loopback(settings.host):
            raise Usage(f"an open registry is for this machine only, not for {settings.host}")
        _check_directory(settings.directory)
        asyncio.get_running_loop().set_default_executor(self._quick)
        listening = _bound(settings.host, settings.port)
        try:
            await asyncio.to_thread(self._store.start)
            await asyncio.to_thread(self._store.containers.join, settings.user)
            self._runner = await self._prepared()
            server = self._runner.server
            assert server is not None  # noqa: S101 - the runner is set up
            self._listener = await asyncio.get_running_loop().create_server(
                self._connections.protocols(server), sock=listening, backlog=1024
            )
        except BaseException:
            listening.close()
            await self.stop()
            raise
        self._chores = [
            asyncio.create_task(self._connections.keep_sweeping()),
            asyncio.create_task(self._keep_sweeping_store()),
        ]
        return _address(settings.host, listening)

    async def stop(self) -> None:
        """Stop listening, let requests in progress end (for some seconds), close the directory."""
        if self._listener is not None:
            self._listener.close()
        for chore in self._chores:
            chore.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.to_thread(self._slow.shutdown)
        await asyncio.to_thread(self._store.stop)

    async def _keep_sweeping_store(self) -> None:
        """Now and then remove what nobody refers to any more, and expired uploads."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_SWEEP_EVERY)
            try:
                await loop.run_in_executor(self._slow, self._store.sweep)
            except Error as exc:
                _log.warning("sweeping failed: %s", exc)

    async def _prepared(self) -> web.AppRunner:
        settings = self._settings
        token = None
        if not settings.is_open:
            token = await asyncio.to_thread(keep_secret, settings.directory / TOKEN_FILE)
        key = await asyncio.to_thread(keep_secret, settings.directory / KEY_FILE)
        runner = web.AppRunner(
            self._application(token, key),
            access_log=None,
            logger=_protocol_log(),
            # A compressed body of a few bytes could be of any size.
            auto_decompress=False,
            # Ours, see limits.
            keepalive_timeout=2 * settings.limits.idle_wait,
            read_bufsize=256 << 10,
            shutdown_timeout=_GRACE,
        )
        await runner.setup()
        return runner

    def _application(self, token: str | None, key: str) -> web.Application:
        settings = self._settings
        counters = Counters()
        app = web.Application(middlewares=[observer(counters), answer_errors])
        addresses = storage.Addresses(key, time.time)
        operations = Operations(self._store, settings.directory, addresses, settings.limits)
        dispatcher = Dispatcher(
            method_table(operations),
            Gate(token, settings.user),
            settings.limits,
            settings.host,
            self._slow,
        )
        for prefix in ("/v1", "/api/v1"):
            rest.add_routes(app, prefix, dispatcher)
            app.router.add_post(f"{prefix}/{{service}}/{{method}}", dispatcher.answer)
        allowance = Allowance(settings.limits.calls_per_second, time.time)
        wriftai.add_routes(app, dispatcher, self._store.containers, allowance)
        files = storage.Storage(settings.directory, addresses, counters.stored_sent)
        app.router.add_get(storage.PREFIX + "{name}", files.answer)
        receiver = uploads.Receiver(self._store, settings.limits)
        app.router.add_put(uploads.PATH, receiver.answer)
        pages.add_routes(app, dispatcher, counters)
        return app


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Serve in a thread of its own while the context lasts; gives the server's address."""
    ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        server, ended = RegistryServer(settings), asyncio.Event()
        try:
            ready.set_result((await server.start(), asyncio.get_running_loop(), ended))
        except BaseException as exc:
            ready.set_exception(exc)
            return
        await ended.wait()
        await server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="modelfs-server")
    thread.start()
    try:
        address, loop, ended = ready.result(timeout=60)
        try:
            yield address
        finally:
            loop.call_soon_threadsafe(ended.set)
    finally:
        thread.join(timeout=60)


def _check_directory(directory: Path) -> None:
    """Raise Usage for a directory that is not ours, so that nobody's files get mixed with it."""
    try:
        names = {path.name for path in directory.iterdir()}
    except FileNotFoundError:
        return
    except OSError as exc:
        raise Usage(f"cannot serve {directory}: {exc.strerror}") from exc
    if names and DATABASE not in names:
        raise Usage(f"cannot serve {directory}: it holds something else than a registry")


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket; Unavailable in one sentence if that is impossible."""
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(kind, socket.SOCK_STREAM)
    except OSError as exc:
        raise Unavailable(f"cannot listen on {host}: {exc.strerror}") from exc
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.setblocking(False)
    except OSError as exc:
        listening.close()
        reason = "the port is in use" if exc.errno == errno.EADDRINUSE else exc.strerror
        raise Unavailable(f"cannot listen on {host}:{port}: {reason}") from exc
    return listening


def _address(host: str, listening: socket.socket) -> str:
    """The URL of the server as this machine reaches it."""
    port = listening.getsockname()[1]
    # All interfaces only if it was asked for.
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nosec B104
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _protocol_log() -> logging.Logger:
    """aiohttp's log, with requests that are not HTTP as a note and without a traceback."""
    log = logging.getLogger("modelfs.server.protocol")
    log.addFilter(_soften)
    return log


def _soften(record: logging.LogRecord) -> bool:
    fault = record.exc_info[1] if record.exc_info else None
    if isinstance(fault, HttpProcessingError):
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.exc_info = None
    return True
