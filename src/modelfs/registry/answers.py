"""Answers of a host whose bodies are still on their way. Part of the HTTP client, the only user.

Bounds what an answer may hold and how long it may take; exceptions of what is below become ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelfs.errors import Corrupt, DeadlinePassed, Unavailable
from modelfs.registry import connections, envelopes
from modelfs.waiting import Clock

_PIECE = 1 << 16


class Answer:
    """An HTTP answer whose body is still on its way; a context manager that closes it.

    `reply` is one of `requests`, whose header names are of any case.
    """

    def __init__(self, reply: Any, url: str, host: str, clock: Clock) -> None:
        self.status = reply.status_code
        self.headers: Mapping[str, str] = reply.headers
        self.url = url
        self.host = host
        self._reply = reply
        self._clock = clock

    def read1(self, size: int, /) -> bytes:
        with connections.converted(self.host):
            return bytes(self._reply.raw.read1(size, decode_content=False))

    def readinto(self, view: memoryview, /) -> int:
        with connections.converted(self.host):
            return connections.read_into(self._reply.raw, view)

    def document(self, limit: int, deadline: float) -> object:
        """The JSON value of the body; raises Unavailable for a page, Corrupt for nonsense."""
        return envelopes.parsed(self.content(limit, deadline), self.host)

    def content(self, limit: int, deadline: float) -> bytes:
        """The body, which is a small one."""
        connections.set_deadline(self._reply.raw, deadline - self._clock())
        if self.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise Corrupt(f"{self.host} sends what was not asked for: compressed JSON")
        content = bytearray()
        while piece := self.read1(_PIECE):
            content += piece
            if len(content) > limit:
                raise Corrupt(f"{self.host} sends too much: more than {limit} bytes of JSON")
            if self._clock() > deadline:
                raise DeadlinePassed(f"{self.host} did not finish its answer in time")
        promised = self.headers.get("Content-Length", "")
        if promised.isascii() and promised.isdigit() and len(content) < int(promised):
            raise Unavailable(f"the answer of {self.host} ended early")
        return bytes(content)

    def close(self) -> None:
        with connections.converted(self.host):
            connections.give_back(self._reply.raw)
            self._reply.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
