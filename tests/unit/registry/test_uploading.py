"""Uploads to storages that break off, forget, lie and loop."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from modelfs.errors import Corrupt, Expired, TooManyRequests, Unavailable
from modelfs.model import Digests, Part
from modelfs.registry import connections
from modelfs.registry.http import Http
from modelfs.registry.retries import Limits
from sims.faults import HTML, digest_header
from sims.raw import DROP, RESET, STALL, RawServer, Request, Script, json_reply, reply

CONTENT = random.Random(2).randbytes(1_500_000)
SMALL = b"small content"
FAST = Limits(connect=2, read=0.5, total=2, first_wait=0.01, longest_wait=0.02, stall=0.5, submit=1)

Twist = Callable[[Request], Script | None]


def part(content: bytes = CONTENT, **digests: str) -> Part:
    told = {"md5": hashlib.md5(content).hexdigest(), **digests}
    return Part("d/weights.bin", len(content), 1.0, Digests(**told))


@dataclass
class Storage:
    """A storage of one upload, as Google's is.

    `twists` are asked one after another for another answer than the right one.
    """

    size: int
    twists: list[Twist] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    tells: bool = True

    def answer(self, request: Request) -> Script:
        assert "PUT" == request.method
        assert "authorization" not in request.headers
        if len(request.body) < int(request.headers["content-length"]):
            return [DROP]  # its sender gave up
        if self.twists and (script := self.twists.pop(0)(request)) is not None:
            return script
        return self.right(request)

    def right(self, request: Request) -> Script:
        self.keep(request, len(request.body))
        return self.state()

    def keep(self, request: Request, count: int) -> None:
        """Receive `count` bytes of what the request brings."""
        told = request.headers.get("content-range", "")
        if match := re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", told):
            start, last, size = (int(text) for text in match.groups())
            assert (self.size, self.size - 1) == (size, last)
            assert len(request.body) == size - start
            assert start <= len(self.received)
            self.received[start:] = request.body[:count]
        else:
            assert told in (f"bytes */{self.size}", "")
            assert b"" == request.body

    def state(self) -> Script:
        if len(self.received) < self.size:
            count = len(self.received)
            return reply(308, **({"range": f"bytes=0-{count - 1}"} if count else {}))
        if not self.tells:
            return reply(200)
        md5 = base64.b64encode(hashlib.md5(self.received).digest()).decode()
        told = {"name": "weights.bin", "size": str(self.size), "md5Hash": md5}
        return json_reply(told, x_goog_hash=digest_header(bytes(self.received)))


@pytest.fixture
def serve() -> Iterator[Callable[[Storage], RawServer]]:
    servers: list[RawServer] = []

    def start(storage: Storage) -> RawServer:
        server = RawServer(storage.answer)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., list[int]]:
    def run(
        server: RawServer,
        content: bytes = CONTENT,
        item: Part | None = None,
        *,
        is_new: bool = True,
        limits: Limits = FAST,
    ) -> list[int]:
        """The progress that was told."""
        told: list[int] = []
        path = tmp_path / "file"
        path.write_bytes(content)
        fd = os.open(path, os.O_RDONLY)
        try:
            http = Http(server.url, authorization=lambda: "Bearer secret", limits=limits)
            with closing(http):
                url = f"{server.url}/upload?id=1"
                http.upload(url, item or part(content), fd, told.append, is_new=is_new)
        finally:
            os.close(fd)
        return told

    return run


def cut(storage: Storage, count: int, end: object = DROP) -> Twist:
    """Receives so many bytes of a request, then the connection ends."""

    def twist(request: Request) -> Script:
        storage.keep(request, count)
        return [end]  # type: ignore[list-item]

    return twist


def says(*script: object) -> Twist:
    return lambda request: script  # type: ignore[return-value]


def test_a_new_upload_is_one_request(serve, upload):
    storage = Storage(len(CONTENT))
    server = serve(storage)
    told = upload(server)
    assert CONTENT == storage.received
    assert 1 == len(server.requests)
    assert told == sorted(told)
    assert len(CONTENT) == told[-1]
    assert {"content-length": str(len(CONTENT))}.items() <= server.requests[0].headers.items()


def test_an_upload_that_may_have_begun_is_asked_about_first(serve, upload):
    storage = Storage(len(CONTENT), received=bytearray(CONTENT[:400_000]))
    server = serve(storage)
    told = upload(server, is_new=False)
    assert CONTENT == storage.received
    assert 400_000 == told[0]
    assert [f"bytes */{len(CONTENT)}", f"bytes 400000-1499999/{len(CONTENT)}"] == [
        request.headers["content-range"] for request in server.requests
    ]


@pytest.mark.parametrize("is_new", [True, False])
def test_an_empty_file_has_no_range(serve, upload, is_new):
    storage = Storage(0)
    server = serve(storage)
    upload(server, b"", is_new=is_new)
    assert {"0"} == {request.headers["content-length"] for request in server.requests}
    assert all("transfer-encoding" not in request.headers for request in server.requests)


@pytest.mark.parametrize("end", [DROP, RESET, STALL])
def test_an_upload_goes_on_where_the_connection_was_lost(serve, upload, end):
    storage = Storage(len(CONTENT))
    storage.twists = [cut(storage, 300_000, end), None, cut(storage, 600_000, end)]
    storage.twists[1] = storage.right
    server = serve(storage)
    upload(server)
    assert CONTENT == storage.received
    starts = [
        request.headers["content-range"].split("-")[0]
        for request in server.requests
        if not request.headers["content-range"].startswith("bytes */")
    ]
    assert ["bytes 0", "bytes 300000", "bytes 900000"] == starts


@pytest.mark.parametrize(
    "script",
    [
        reply(500),
        reply(502, HTML),
        reply(503),
        reply(503, retry_after="0"),
        reply(429),
        reply(408),
        reply(416),
        [DROP],
        [RESET],
        [STALL],
        [b"\x00\xff what\r\n\r\n", DROP],
    ],
)
@pytest.mark.parametrize("times", [1, 3])
def test_what_passes_is_outlasted(serve, upload, script, times):
    storage = Storage(len(CONTENT))
    storage.twists = [says(*script)] * times
    upload(serve(storage), limits=replace(FAST, total=6))
    assert CONTENT == storage.received


def test_any_number_of_losses_is_borne_while_bytes_arrive(serve, upload):
    storage = Storage(len(CONTENT))
    storage.twists = [twist for _ in range(29) for twist in (cut(storage, 50_000), storage.right)]
    upload(serve(storage))
    assert CONTENT == storage.received


@pytest.mark.parametrize(
    "script", [reply(500), [DROP], reply(308), reply(308, range="bytes=0-1499999"), reply(429)]
)
def test_a_storage_that_takes_nothing_is_given_up(serve, upload, script):
    storage = Storage(len(CONTENT))
    storage.twists = [says(*script)] * 1000
    server = serve(storage)
    with pytest.raises(Unavailable):
        upload(server)
    assert len(server.requests) <= 16


def test_a_storage_that_loses_what_it_had_is_given_up(serve, upload):
    storage = Storage(len(CONTENT))

    def forget(request: Request) -> Script:
        storage.right(request)
        storage.received.clear()
        return [DROP]

    storage.twists = [forget, storage.right] * 1000
    with pytest.raises(Unavailable):
        upload(serve(storage))


def test_a_storage_that_wants_rest_is_not_waited_for_too_long(serve, upload):
    storage = Storage(len(CONTENT), twists=[says(*reply(503, retry_after="600"))])
    server = serve(storage)
    with pytest.raises(TooManyRequests):
        upload(server)
    assert 1 == len(server.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 412, 499])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_session_that_is_gone_has_expired(serve, upload, status, is_new):
    storage = Storage(len(CONTENT), twists=[says(*reply(status, b"<Error>gone</Error>"))])
    server = serve(storage)
    with pytest.raises(Expired) as caught:
        upload(server, is_new=is_new)
    assert 1 == len(server.requests)
    assert "id=1" not in str(caught.value)


@pytest.mark.parametrize(
    "script",
    [
        json_reply({"size": "1500000", "md5Hash": base64.b64encode(b"x" * 16).decode()}),
        json_reply({"size": "1499999"}),
        json_reply({}, x_goog_hash=digest_header(b"other")),
        reply(200, b"", x_goog_hash=digest_header(b"other")),
        reply(308, range="bytes=0-1500000"),
        reply(308, range="nonsense"),
        reply(302, location="http://example.org"),
        reply(204),
    ],
)
@pytest.mark.parametrize("is_new", [True, False])
def test_what_cannot_be_is_corrupt(serve, upload, script, is_new):
    storage = Storage(len(CONTENT), twists=[says(*script)])
    with pytest.raises(Corrupt):
        upload(serve(storage), is_new=is_new)


def test_a_wrong_crc32c_is_enough(serve, upload):
    storage = Storage(len(SMALL))
    with pytest.raises(Corrupt):
        upload(serve(storage), SMALL, part(SMALL, md5="", crc32c="00000000"))


def test_a_storage_that_tells_nothing_is_asked_once_more(serve, upload):
    storage = Storage(len(CONTENT), tells=False)
    server = serve(storage)
    upload(server)
    assert [f"bytes 0-1499999/{len(CONTENT)}", f"bytes */{len(CONTENT)}"] == [
        request.headers["content-range"] for request in server.requests
    ]


def test_an_answer_that_is_lost_after_the_last_byte_is_asked_for(serve, upload):
    storage = Storage(len(CONTENT))
    storage.twists = [cut(storage, len(CONTENT))]
    server = serve(storage)
    upload(server)
    assert 2 == len(server.requests)


def test_a_file_that_got_shorter_is_told(serve, upload):
    storage = Storage(len(CONTENT))
    with pytest.raises(Corrupt, match="shorter"):
        upload(serve(storage), CONTENT[:-1], part(CONTENT))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a line that holds little, and 0.2 s of patience."""
    monkeypatch.setattr(connections, "SENDING", 0.2)
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
    yield ends
    for end in ends:
        end.close()


def test_a_slow_line_is_not_a_stall(line):
    """The time is for each byte that is taken, not for all of a piece."""
    here, there = line
    received = bytearray()

    def receive() -> None:
        while piece := there.recv(1 << 12):
            received.extend(piece)
            time.sleep(0.01)

    thread = threading.Thread(target=receive)
    thread.start()
    begun = time.monotonic()
    connections._Watched(here).sendall(CONTENT[:300_000])
    here.shutdown(socket.SHUT_WR)
    thread.join(10)
    assert time.monotonic() - begun > 0.4
    assert CONTENT[:300_000] == received


def test_a_receiver_that_takes_nothing_is_a_stall(line):
    here, _ = line
    here.settimeout(7)
    with pytest.raises(TimeoutError):
        connections._Watched(here).sendall(CONTENT)
    assert 7 == here.gettimeout()


def test_an_upload_may_not_lead_into_a_private_network(tmp_path, upload):
    with closing(Http("https://api.example.org", limits=FAST)) as http:
        for url in ("http://storage.example.org/x", "https://10.0.0.1/x", "file:///etc/passwd"):
            with pytest.raises(Corrupt):
                http.upload(url, part(SMALL), 0, lambda _: None, is_new=True)


def test_a_client_that_is_closed_sends_no_more(serve, tmp_path):
    server = serve(Storage(len(CONTENT)))
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    http = Http(server.url, limits=FAST)
    fd = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(Unavailable, match="closed"):
            http.upload(f"{server.url}/x", part(), fd, lambda count: http.close(), is_new=True)
    finally:
        os.close(fd)
