"""How much and how long: what one client may take of the server.

`Connections` owns the open connections: how many there may be, and until when each has to say
something. It stands between the sockets and aiohttp, which has neither limit. `Allowance` counts
calls. Everything runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds."""

    # A mount uses up to about twenty connections, a hub client eight; the usual limit of open
    # files is 1024, and an upload or download needs two.
    connections: int = 400
    # A request's head is one packet; twenty seconds is a very slow one.
    head_wait: float = 20.0
    # Longer than the pools of the usual clients keep a connection.
    idle_wait: float = 75.0
    # Between two pieces of a request's body. GCS gives up after about a minute as well.
    body_wait: float = 60.0
    # A tree of 100,000 files is about 10 MB of JSON.
    json_body: int = 32 << 20
    # What needs no token cannot be long.
    anonymous_body: int = 64 << 10
    # A receiver that takes nothing for so long is gone; the kernel closes the connection.
    stalled_receiver: float = 300.0
    page: int = 1000
    default_page: int = 20
    # WriftAI's protocol has such a limit; this one only ends what has run wild.
    calls_per_second: int = 1000


# Refused connections that are open at a time, each for the two seconds of its answer.
_REFUSED_AT_ONCE = 100


def gateway_error(status: int, name: str, message: str) -> bytes:
    """The body of an error from before the API, as Kaggle's gateway writes it."""
    return json.dumps({"error": {"code": status, "message": message, "status": name}}).encode()


class Allowance:
    """How many calls there may be in each second of the clock, of everybody together."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._second = 0
        self._taken = 0

    def take(self) -> bool:
        """Count one call; False if it is one too many."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        return self._taken <= self._limit

    def headers(self) -> dict[str, str]:
        """What is left of this second, and when the next one begins, as seconds of the epoch."""
        return {
            "x-ratelimit-limit": str(self._limit),
            "x-ratelimit-remaining": str(max(self._limit - self._taken, 0)),
            "x-ratelimit-reset": str(self._second + 1),
        }


class Connections:
    """All open connections. `sweep` has to be called about once a second."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.clock = clock
        self._open: set[Guard] = set()
        self._refused: set[Guard] = set()

    def protocols(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A protocol factory for a listening socket, around that of the HTTP server."""
        return lambda: Guard(make, self)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, guard: Guard) -> bool:
        """Count a new connection; False if it is one too many."""
        is_admitted = len(self._open) < self.limits.connections
        (self._open if is_admitted else self._refused).add(guard)
        return is_admitted

    def is_flooded(self) -> bool:
        """Whether there are so many refused connections that they get no answer any more."""
        return len(self._refused) > _REFUSED_AT_ONCE

    def forget(self, guard: Guard) -> None:
        self._open.discard(guard)
        self._refused.discard(guard)

    def sweep(self) -> None:
        """Close the connections whose time is up."""
        now = self.clock()
        for guard in [guard for guard in self._open | self._refused if guard.deadline <= now]:
            guard.expire()

    async def keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.sweep()


class Guard(asyncio.Protocol):
    """One connection: hands everything to aiohttp's protocol and watches the clock.

    Waiting for the first byte of a request, for the rest of its head, or (with no deadline, the
    handlers have their own) for its answer.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], connections: Connections) -> None:
        self._make = make
        self._connections = connections
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._is_answering = False
        self._is_head_begun = False
        self.deadline = math.inf

    def begin(self) -> None:
        """A request has come in whole (but for its body): its handler runs."""
        self._is_answering, self._is_head_begun, self.deadline = True, False, math.inf

    def end(self) -> None:
        """The handler is done; the next request may come."""
        self._is_answering = False
        self._wait(self._connections.limits.idle_wait)

    def expire(self) -> None:
        """Close the connection, saying why if a request has begun."""
        self._connections.forget(self)
        if self._transport is None:
            return
        if self._inner is not None and self._is_head_begun:
            body = gateway_error(408, "DEADLINE_EXCEEDED", "the request did not come in time")
            self._transport.write(_answer("408 Request Timeout", body))
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server makes
        self._transport = transport
        limits = self._connections.limits
        if self._connections.admit(self):
            _close_when_stalled(transport, limits.stalled_receiver)
            self._inner = self._make()
            self._inner.connection_made(transport)
            self._wait(limits.head_wait)
            return
        if self._connections.is_flooded():
            transport.abort()
            return
        # One too many: an answer, and two seconds for the client to read it.
        body = gateway_error(429, "RESOURCE_EXHAUSTED", "too many connections")
        transport.write(_answer("429 Too Many Requests", body, "Retry-After: 1\r\n"))
        transport.write_eof()
        self._wait(2.0)

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            return
        if not self._is_answering and not self._is_head_begun:
            self._is_head_begun = True
            self._wait(self._connections.limits.head_wait)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.forget(self)
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def _wait(self, seconds: float) -> None:
        self.deadline = self._connections.clock() + seconds


def _answer(status: str, body: bytes, extra: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"{extra}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _close_when_stalled(transport: asyncio.Transport, seconds: float) -> None:
    """Let the kernel end a connection whose other side acknowledges or takes nothing."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
