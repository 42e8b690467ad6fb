"""Resumable uploads: PUT to an address that was handed out, in one piece or in several.

The token in the address is the permission. One request at a time writes to a session: a newer one
takes it over, because the older is what a client has given up. Owns which request that is; the
bytes belong to the store. Runs in the event loop; the store is called in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from modelfs.errors import InvalidName, TooLarge, Unavailable, WrongState
from modelfs.registry.local.records import Upload
from modelfs.registry.local.store import Store
from modelfs.registry.local.uploads import UploadWriter
from modelfs.server.limits import Limits
from modelfs.server.ranges import Sent, sent
from modelfs.server.wire import base64_of, hash_header

PATH = "/upload"

# The body goes to a thread in pieces of this size: a hop costs about 100 us, a write as much.
_PIECE = 1 << 20
# How long a request that took a session over waits for the older one to let go.
_TAKE_OVER = 20.0

P = ParamSpec("P")
T = TypeVar("T")


def address(base: str, token: str) -> str:
    """Where to PUT the bytes of a session. The token is in the query, which is never logged."""
    return f"{base}{PATH}?{urlencode({'upload_id': token})}"


class Receiver:
    """Answers the PUT requests of all upload sessions."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._writing: dict[str, web.Request] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("upload_id", "")
        text = request.headers.get("Content-Range")
        told = sent(text) if text is not None else None
        if told is not None and told.start is None:
            return await self._tell(request, token, told)
        await self._take_over(token)
        # Nothing is awaited between the two: of several newer requests one goes on at a time.
        self._writing[token] = request
        try:
            return await self._write(request, token, told)
        finally:
            del self._writing[token]

    async def _tell(self, request: web.Request, token: str, told: Sent) -> web.StreamResponse:
        """How much is here."""
        upload = await asyncio.to_thread(self._store.uploads.find, token)
        _check_total(upload, told)
        if upload.size == 0 and not upload.is_complete:
            # Of nothing, everything is here.
            upload = await self._receive(request, token, 0, 0)
        return _state(upload)

    async def _write(
        self, request: web.Request, token: str, told: Sent | None
    ) -> web.StreamResponse:
        """Take what the request brings."""
        upload = await asyncio.to_thread(self._store.uploads.find, token)
        if told is not None:
            _check_total(upload, told)
        if upload.is_complete:
            await self._drain(request, upload.size)
            return _state(upload)
        stop = _checked_stop(request, upload, told)
        start = told.start or 0 if told is not None else 0
        if start > upload.received:
            return _wrong_offset(start, upload)
        upload = await self._receive(request, token, start, stop)
        if told is None and not upload.is_complete:
            raise InvalidName(f"the body has {upload.received} bytes, not {upload.size}")
        return _state(upload)

    async def _take_over(self, token: str) -> None:
        """End the request that writes to the session, if there is one."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _TAKE_OVER
        while (older := self._writing.get(token)) is not None:
            if older.transport is not None:
                older.transport.abort()
            if loop.time() > deadline:
                raise Unavailable("another request is writing to this upload")
            await asyncio.sleep(0.02)

    async def _receive(self, request: web.Request, token: str, start: int, stop: int) -> Upload:
        """Write the body at `start`; it may not go beyond `stop`."""
        try:
            writer = await _unbroken(self._store.uploads.open, token, start)
        except WrongState as exc:
            # Somebody asks about it just now, and the store looks after it.
            raise Unavailable("the upload is busy: ask how much is here") from exc
        try:
            rest = await self._copy(request, writer, stop - start)
        except BaseException:
            # Makes what came durable, so it is not for the event loop's thread.
            await _unbroken(writer.__exit__, None, None, None)
            raise
        return await _unbroken(_finished, writer, rest)

    async def _copy(self, request: web.Request, writer: UploadWriter, size: int) -> bytes:
        """Write the request's body, at most `size` bytes of it; what came before a cut counts.

        The last piece is given back: a small file takes one hop to a thread less that way.
        """
        pending = bytearray()
        left = size
        try:
            while data := await self._next(request):
                left -= len(data)
                if left < 0:
                    raise TooLarge("the body is longer than announced")
                pending += data
                if len(pending) >= _PIECE:
                    piece, pending = bytes(pending), bytearray()
                    await _unbroken(writer.write, piece)
        except BaseException:
            if pending and left >= 0:
                await _unbroken(writer.write, bytes(pending))
            raise
        return bytes(pending)

    async def _drain(self, request: web.Request, size: int) -> None:
        """Read and forget a body that is here already, so that its sender reads the answer."""
        while (data := await self._next(request)) and size >= 0:
            size -= len(data)

    async def _next(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._limits.body_wait):
                return await request.content.readany()
        except TimeoutError as exc:
            raise web.HTTPRequestTimeout() from exc
        except web.RequestPayloadError as exc:
            raise ConnectionResetError("the body was cut") from exc


def _finished(writer: UploadWriter, rest: bytes) -> Upload:
    with writer:
        writer.write(rest)
        return writer.finish()


async def _unbroken(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `call` in a thread and wait for its end even when cancelled: a writer has one user."""
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


def _check_total(upload: Upload, told: Sent) -> None:
    if told.size not in (None, upload.size):
        raise InvalidName(f"announced were {upload.size} bytes, not {told.size}")


def _checked_stop(request: web.Request, upload: Upload, told: Sent | None) -> int:
    """Where the body has to end; refuses early what cannot be right."""
    length = request.content_length
    if told is None:
        if length is not None and length > upload.size:
            raise TooLarge(f"announced were {upload.size} bytes, not {length}")
        if length is not None and length < upload.size:
            raise InvalidName(f"announced were {upload.size} bytes, not {length}")
        return upload.size
    if told.stop > upload.size:
        raise TooLarge(f"announced were {upload.size} bytes, not {told.stop}")
    if length is not None and length != told.stop - (told.start or 0):
        raise InvalidName("Content-Range and Content-Length disagree")
    return told.stop


def _state(upload: Upload) -> web.Response:
    """What is here: 200 for all of it, else 308 and how much."""
    if upload.is_complete:
        told = {
            "name": upload.name,
            "size": str(upload.size),
            "md5Hash": base64_of(upload.md5),
            "crc32c": base64_of(upload.crc32c),
        }
        hashes = hash_header(upload.md5, upload.crc32c)
        return web.json_response(told, headers={"x-goog-hash": hashes})
    return web.Response(status=308, reason="Resume Incomplete", headers=_range(upload))


def _wrong_offset(start: int, upload: Upload) -> web.Response:
    message = f"{start} is not where to go on: {upload.received} bytes are here"
    return web.json_response({"code": 416, "message": message}, status=416, headers=_range(upload))


def _range(upload: Upload) -> dict[str, str]:
    return {"Range": f"bytes=0-{upload.received - 1}"} if upload.received else {}
