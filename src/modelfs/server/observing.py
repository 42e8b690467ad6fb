"""What the server tells of itself: one log line per request, counters, errors as clients read them.

Two middlewares around every handler. Owns the counters, which only the event loop's thread touches.
Log lines hold no query strings: those carry tokens and signatures.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from modelfs.errors import Error, TooManyRequests, Unauthenticated, Unavailable
from modelfs.server import storage, uploads
from modelfs.server.limits import Guard

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# WriftAI's clients may quote it.
REQUEST_ID = "x-request-id"

# What nginx calls a client that hung up; nobody gets to read it.
_CLIENT_GONE = 499


class Counters:
    """Requests, and bytes of bodies, by kind: api, upload, storage, page."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._stored_sent = 0
        self._other_sent: Counter[str] = Counter()

    def stored_sent(self, size: int) -> None:
        """Count bytes of stored files, also of those that a client did not wait for."""
        self._stored_sent += size

    def count(self, request: web.Request, response: web.StreamResponse | None) -> None:
        kind = kind_of(request.path)
        self._requests[kind] += 1
        self._received[kind] += request.content.total_bytes
        body = response.body if isinstance(response, web.Response) else None
        if kind != "storage" and isinstance(body, bytes):
            self._other_sent[kind] += len(body)

    def report(self) -> dict[str, Any]:
        sent = dict(self._other_sent) | {"storage": self._stored_sent}
        return {
            "requests": dict(self._requests),
            "bytes_sent": sent,
            "bytes_received": dict(self._received),
            "bytes_served": self._stored_sent,
        }


def kind_of(path: str) -> str:
    """What a request is for, by its path."""
    if path.startswith(storage.PREFIX):
        return "storage"
    if path == uploads.PATH:
        return "upload"
    return "api" if path.startswith(("/v1/", "/api/")) else "page"


def observer(counters: Counters) -> Any:
    """The outer middleware: the clock of the connection, counters, the log line."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        guard = request.transport.get_protocol() if request.transport is not None else None
        if isinstance(guard, Guard):
            guard.begin()
        started = time.perf_counter()
        response: web.StreamResponse | None = None
        try:
            response = await handler(request)
            return response
        finally:
            if isinstance(guard, Guard):
                guard.end()
            counters.count(request, response)
            _log.info(
                "%s %s %s %d %.1f ms%s",
                request.remote,
                request.method,
                request.rel_url.raw_path,
                response.status if response is not None else 0,
                (time.perf_counter() - started) * 1000,
                _request_id(response),
            )

    return observe


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The inner middleware: what was raised, as `{"code": …, "message": …}`."""
    try:
        return await handler(request)
    except Error as exc:
        return _error_response(request, exc.status, str(exc), error_headers(exc))
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        headers = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else {}
        return _error_response(request, exc.status, exc.reason.lower(), headers)
    except ConnectionError:
        # Nobody reads this; it is for the log line. aiohttp would log an error of ours.
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=_CLIENT_GONE)
    except Exception:
        _log.exception("%s %s failed", request.method, request.rel_url.raw_path)
        return _error_response(request, 500, "internal error: see the server's log", {})


def _request_id(response: web.StreamResponse | None) -> str:
    """What a client was told to call this request, if it was."""
    told = "" if response is None else response.headers.get(REQUEST_ID, "")
    return f" {told}" if told else ""


def _error_response(
    request: web.Request, status: int, message: str, headers: dict[str, str]
) -> web.Response:
    response = web.json_response(
        {"code": status, "message": message}, status=status, headers=headers
    )
    if not request.content.is_eof():
        # Rather than reading on what nobody wants, perhaps for hours.
        response.force_close()
    return response


def error_headers(error: Error) -> dict[str, str]:
    """What the response to this error says besides."""
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if type(error) in (Unavailable, TooManyRequests):
        return {"Retry-After": "1"}
    return {}
