"""The registry as it is seen from far away: a server in front of it that lets requests wait.

Runs as a program of its own. Every request waits `--delay` seconds before anything is done; what
is stored is sent at `--rate` bytes a second on each connection, all else as fast as it goes.
Stored bytes are sent by the kernel from the file itself, uploads are moved by it from socket to
socket, so that this server is not what is measured. It counts what it is asked for and sends;
`GET /.counts` tells, and neither waits nor counts. Below `/plain/` are the files of a directory,
for clients that know no registry. Knows nothing of models. One lock guards the counts.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

_COUNTS, _PLAIN, _STORAGE = "/.counts", "/plain/", "/storage/"
# Five milliseconds of 50 MB/s: smooth, and few enough calls for many connections.
_PIECE = 1 << 18
_HEAD_LIMIT = 1 << 16


@dataclass(frozen=True)
class Settings:
    upstream: tuple[str, int]
    stored: Path
    plain: Path
    delay: float
    rate: float


class Counts:
    """Requests that came and bytes of files that went."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = {"requests": 0, "bytes": 0}

    def add(self, requests: int, sent: int) -> None:
        with self._lock:
            self._numbers["requests"] += requests
            self._numbers["bytes"] += sent

    def as_json(self) -> bytes:
        with self._lock:
            return json.dumps(self._numbers).encode()


@dataclass(frozen=True)
class Head:
    """The head of a message: its first line in words, and its headers by lower-case name."""

    raw: bytes
    words: tuple[str, ...]
    headers: dict[str, str]

    @classmethod
    def of(cls, raw: bytes) -> Head:
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(raw, tuple(first.split(" ", 2)), headers)

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    @property
    def is_chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def is_last(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


class Stream:
    """One side of a connection, with what was read of it too early."""

    def __init__(self, side: socket.socket) -> None:
        side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.side = side
        self._held = b""
        self._pipe = os.pipe()

    def close(self) -> None:
        self.side.close()
        for fd in self._pipe:
            os.close(fd)

    def head(self) -> Head | None:
        """The next head; nothing if the other side has ended."""
        raw = self._until(b"\r\n\r\n")
        return Head.of(raw) if raw else None

    def pass_body(self, head: Head, target: Stream) -> None:
        """Move the body that belongs to `head` to `target`."""
        if not head.is_chunked:
            self._pass(head.length, target)
            return
        while True:
            line = self._until(b"\r\n")
            target.side.sendall(line)
            size = int(line.partition(b";")[0], 16)
            # The mark that ends a piece; trailers, which nobody sends, would have to come here.
            self._pass(size + 2, target)
            if not size:
                return

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            data = self.side.recv(1 << 16)
            if not data or len(self._held) > _HEAD_LIMIT:
                return b""
            self._held += data
        found, _, self._held = self._held.partition(mark)
        return found + mark

    def _pass(self, count: int, target: Stream) -> None:
        held, self._held = self._held[:count], self._held[count:]
        target.side.sendall(held)
        left = count - len(held)
        out, into = self._pipe
        while left:
            moved = os.splice(self.side.fileno(), into, min(left, 1 << 20))
            if not moved:
                raise ConnectionError("a body ended too early")
            left -= moved
            while moved:
                moved -= os.splice(out, target.side.fileno(), moved)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True, help="address of the registry")
    parser.add_argument("--stored", type=Path, required=True, help="the registry's directory")
    parser.add_argument("--plain", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0, help="seconds")
    parser.add_argument("--rate", type=float, default=0, help="bytes a second; 0 for no limit")
    options = parser.parse_args()
    parts = urlsplit(options.upstream)
    upstream = (str(parts.hostname), int(parts.port or 80))
    settings = Settings(upstream, options.stored, options.plain, options.delay, options.rate)
    counts = Counts()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        print(f"serving at http://127.0.0.1:{server.getsockname()[1]}", flush=True)
        while True:
            side, _ = server.accept()
            serve = threading.Thread(target=_serve, args=(side, settings, counts), daemon=True)
            serve.start()


def _serve(side: socket.socket, settings: Settings, counts: Counts) -> None:
    """One connection, until it ends; the registry has one for each of them."""
    client = Stream(side)
    registry: Stream | None = None
    try:
        while head := client.head():
            target = head.words[1]
            if target == _COUNTS:
                _answer(client, "200 OK", counts.as_json())
                continue
            counts.add(1, 0)
            time.sleep(settings.delay)
            if target.startswith(_PLAIN):
                _send_plain(client, head, settings, counts)
            else:
                registry = registry or Stream(socket.create_connection(settings.upstream))
                _relay(client, head, registry, settings, counts)
            if head.is_last:
                break
    except OSError as exc:
        # Clients leave when they have enough; anything else would fail the case that asked.
        if not isinstance(exc, ConnectionError):
            print(f"distant: {exc}", file=sys.stderr, flush=True)
    finally:
        client.close()
        if registry:
            registry.close()


def _relay(
    client: Stream, head: Head, registry: Stream, settings: Settings, counts: Counts
) -> None:
    """Ask the registry; of stored files only the head, whose body we send."""
    if head.words[0] == "GET" and _STORAGE in head.words[1].partition("?")[0]:
        registry.side.sendall(b"HEAD" + head.raw.removeprefix(b"GET"))
        answer = _expected(registry)
        if answer.words[1] in ("200", "206"):
            client.side.sendall(answer.raw)
            path = parse_qs(urlsplit(head.words[1]).query)["path"][0]
            told = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
            start = int(told[1]) if told else 0
            _send_file(client, settings.stored / path, start, answer.length, settings, counts)
            return
    if head.headers.get("expect"):
        client.side.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = Head.of(re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", head.raw))
    registry.side.sendall(head.raw)
    client.pass_body(head, registry)
    answer = _expected(registry)
    client.side.sendall(answer.raw)
    if head.words[0] != "HEAD" and answer.words[1] not in ("204", "304"):
        registry.pass_body(answer, client)


def _expected(registry: Stream) -> Head:
    answer = registry.head()
    if answer is None:
        raise ConnectionError("the registry ended the connection")
    return answer


def _send_file(
    client: Stream,
    path: Path,
    start: int,
    count: int,
    settings: Settings,
    counts: Counts,
) -> None:
    """Part of a file, no faster than the rate allows."""
    begin, sent = time.monotonic(), 0
    piece = _PIECE if settings.rate else 1 << 30
    with path.open("rb") as file:
        while sent < count:
            moved = os.sendfile(
                client.side.fileno(), file.fileno(), start + sent, min(piece, count - sent)
            )
            if not moved:
                raise ConnectionError(f"{path} is shorter than it was")
            sent += moved
            counts.add(0, moved)
            if settings.rate:
                time.sleep(max(0.0, begin + sent / settings.rate - time.monotonic()))


def _send_plain(client: Stream, head: Head, settings: Settings, counts: Counts) -> None:
    """A file below the plain directory, or what is in one, as web servers do."""
    method, target = head.words[0], unquote(head.words[1].partition("?")[0])
    path = settings.plain / target.removeprefix(_PLAIN)
    if path.is_dir():
        names = sorted(entry.name + "/" * entry.is_dir() for entry in os.scandir(path))
        links = (f'<a href="{quote(name)}">{html.escape(name)}</a>' for name in names)
        _answer(client, "200 OK", "\n".join(links).encode(), "text/html", method)
        return
    if not path.is_file():
        _answer(client, "404 Not Found", b"", "text/plain", method)
        return
    size = path.stat().st_size
    told = re.match(r"bytes=(\d+)-(\d*)$", head.headers.get("range", ""))
    start = int(told[1]) if told else 0
    stop = min(int(told[2]) + 1, size) if told and told[2] else size
    lines = ["HTTP/1.1 206 Partial Content" if told else "HTTP/1.1 200 OK"]
    lines += ["Accept-Ranges: bytes", "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT"]
    lines += [f"Content-Range: bytes {start}-{stop - 1}/{size}"] * bool(told)
    lines += [f"Content-Length: {stop - start}", "Content-Type: application/octet-stream"]
    client.side.sendall("\r\n".join([*lines, "", ""]).encode())
    if method != "HEAD":
        _send_file(client, path, start, stop - start, settings, counts)


def _answer(
    client: Stream, status: str, body: bytes, kind: str = "application/json", method: str = "GET"
) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    client.side.sendall(head.encode() + body * (method != "HEAD"))


if __name__ == "__main__":
    sys.exit(main())
