"""The storage: published files behind signed addresses, sent by the kernel.

An address carries all that its answer's headers need, so that no database is asked; the signature
makes it unguessable and lets it expire. Knows paths below the served directory and nothing of
models.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlencode

from aiohttp import web

from modelfs.errors import Corrupt, Forbidden, NotFound, Unavailable
from modelfs.server.ranges import Part, http_date, wanted
from modelfs.server.wire import hash_header

PREFIX = "/storage/"

# As the signed addresses of Kaggle's own storage had it; a resumed download comes back to one.
LIFETIME = 259_200

# Up to here one write of head and body together is faster than a call of sendfile.
_SMALL = 64 << 10


@dataclass(frozen=True, slots=True)
class Stored:
    """One file of the storage: where it is below the directory, what it is called, its hashes."""

    path: str
    name: str
    size: int
    mtime: int
    sha256: str
    md5: str
    crc32c: str


class Addresses:
    """Makes and reads the signed addresses of stored files."""

    def __init__(self, key: str, clock: Callable[[], float]) -> None:
        self._key = key.encode()
        self._clock = clock

    def address(self, base: str, stored: Stored) -> str:
        """The absolute URL of a stored file, good for three days; ends in the file's name."""
        query = {
            "path": stored.path,
            "size": str(stored.size),
            "mtime": str(stored.mtime),
            "sha256": stored.sha256,
            "md5": stored.md5,
            "crc32c": stored.crc32c,
            "expires": str(int(self._clock()) + LIFETIME),
        }
        signature = self._signature(stored.name, query)
        name = quote(stored.name, safe="")
        return f"{base}{PREFIX}{name}?{urlencode(query | {'signature': signature})}"

    def stored(self, name: str, query: Mapping[str, str]) -> Stored:
        """The file that an address is of; Forbidden if we did not sign it or it has expired."""
        keys = ("path", "size", "mtime", "sha256", "md5", "crc32c", "expires")
        told = {key: query.get(key, "") for key in keys}
        signature = self._signature(name, told)
        given = query.get("signature", "").encode(errors="replace")
        if not hmac.compare_digest(signature.encode(), given):
            raise Forbidden("the signature is not valid")
        if int(told["expires"]) < self._clock():
            raise Forbidden("the address has expired: ask the registry for a new one")
        return Stored(
            told["path"],
            name,
            int(told["size"]),
            int(told["mtime"]),
            told["sha256"],
            told["md5"],
            told["crc32c"],
        )

    def _signature(self, name: str, query: Mapping[str, str]) -> str:
        text = urlencode({"name": name, **query}, errors="surrogatepass")
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


class Storage:
    """Answers GET and HEAD of signed addresses."""

    def __init__(self, directory: Path, addresses: Addresses, sent: Callable[[int], None]) -> None:
        self._directory = directory
        self._addresses = addresses
        self._sent = sent

    async def answer(self, request: web.Request) -> web.StreamResponse:
        stored = self._addresses.stored(request.match_info["name"], request.query)
        etag, modified = f'"{stored.sha256}"', http_date(stored.mtime)
        part = wanted(request.headers, stored.size, etag, modified)
        headers = _headers(stored, part, etag, modified)
        if part.status == 416:
            return web.Response(status=416, headers=headers)
        if part.status == 304:
            return web.Response(status=304, headers=headers)
        size = part.stop - part.start
        path = self._directory / stored.path
        if size <= _SMALL and request.method != "HEAD":
            data = await asyncio.to_thread(_read, path, stored.size, part)
            self._sent(size)
            return web.Response(status=part.status, headers=headers, body=data)
        headers["Content-Length"] = str(size)
        file = await asyncio.to_thread(_opened, path, stored.size)
        try:
            if request.method == "HEAD":
                return web.Response(status=part.status, headers=headers)
            return await self._send(request, file, part, headers)
        finally:
            file.close()

    async def _send(
        self, request: web.Request, file: BinaryIO, part: Part, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=part.status, headers=headers)
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        loop = asyncio.get_running_loop()
        try:
            sent = await loop.sendfile(transport, file, part.start, part.stop - part.start)
        finally:
            # The loop leaves the file's position where it stopped, also when it failed.
            self._sent(max(0, file.tell() - part.start))
        if sent < part.stop - part.start:
            # Half a body is on its way: only a cut connection says that it is not all.
            transport.abort()
            raise ConnectionResetError("the stored file is shorter than it was")
        await response.write_eof()
        return response


def _headers(stored: Stored, part: Part, etag: str, modified: str) -> dict[str, str]:
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": modified,
        # Not by its name: clients parse what says it is JSON.
        "Content-Type": "application/octet-stream",
        "X-Content-Type-Options": "nosniff",
    }
    # Of the whole file, whatever part is sent.
    if hashes := hash_header(stored.md5, stored.crc32c):
        headers["x-goog-hash"] = hashes
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{stored.size}"
    elif part.status == 416:
        headers["Content-Range"] = f"bytes */{stored.size}"
    return headers


def _opened(path: Path, size: int) -> BinaryIO:
    """The file at `path`, if it still has the size it was published with."""
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError as exc:
        raise NotFound("the file was deleted") from exc
    except OSError as exc:
        raise Unavailable(f"the file cannot be opened: {exc.strerror}") from exc
    found = os.fstat(file.fileno()).st_size
    if found != size:
        file.close()
        raise Corrupt(f"the stored file has {found} bytes, not {size}")
    return file


def _read(path: Path, size: int, part: Part) -> bytes:
    """A small part of the file at `path`."""
    with _opened(path, size) as file:
        data = os.pread(file.fileno(), part.stop - part.start, part.start)
    if len(data) < part.stop - part.start:
        raise Corrupt("the stored file is shorter than it was")
    return data
