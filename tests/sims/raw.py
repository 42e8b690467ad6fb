"""An HTTP server made of sockets and scripts: it can break every rule, at any byte.

A script is what one answer does, step by step: bytes are sent, a `Pause` waits, `DROP` ends the
connection, `RESET` tears it, `STALL` says nothing until the server stops. Owns the requests it
saw. One thread per connection; `stop` ends them all.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType


@dataclass(frozen=True)
class Request:
    """One request as it arrived; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def message(self) -> dict[str, object]:
        """The JSON object of the body."""
        return json.loads(self.body or b"{}")

    @property
    def range(self) -> tuple[int, int] | None:
        """The half-open range that is asked for."""
        unit, _, text = self.headers.get("range", "").partition("=")
        first, _, last = text.partition("-")
        return (int(first), int(last) + 1) if unit == "bytes" and last else None


class End(Enum):
    DROP = auto()
    RESET = auto()
    STALL = auto()


DROP, RESET, STALL = End.DROP, End.RESET, End.STALL


@dataclass(frozen=True)
class Pause:
    """Wait, in seconds, before the next step."""

    seconds: float


Step = bytes | Pause | End
Script = Iterable[Step]
Answer = Callable[[Request], Script]


@dataclass
class RawServer:
    """Answers each request with the script that `answer` gives for it. A context manager."""

    answer: Answer
    name: str = "raw"
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.port = 0
        # Connections there ever were.
        self.accepted = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, self._listener)

    def stop(self) -> None:
        self._stopping.set()
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def count(self, ending: str) -> int:
        """How many requests had a path that ends so."""
        return sum(request.path.endswith(ending) for request in self.requests)

    def __enter__(self) -> RawServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, work: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(sock,), name=f"{self.name}-server")
        thread.daemon = True
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.accepted += 1
                self._connections.add(connection)
            self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls:
                plain, connection = connection, self.tls.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._connections.discard(plain)
                    self._connections.add(connection)
            with connection, connection.makefile("rb") as reader:
                while request := _read(reader):
                    with self._lock:
                        self.requests.append(request)
                    if not self._play(connection, self.answer(request)):
                        return
        except OSError:
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)

    def _play(self, connection: socket.socket, script: Script) -> bool:
        """Send an answer; False if the connection ends with it."""
        for step in script:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, Pause):
                self._stopping.wait(step.seconds)
            elif step is STALL:
                self._stopping.wait(60)
                return False
            elif step is RESET:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
            else:
                connection.shutdown(socket.SHUT_RDWR)
                return False
        return True


def _read(reader: object) -> Request | None:
    line = reader.readline().decode("latin-1")  # type: ignore[attr-defined]
    if not line.strip():
        return None
    if line.count(" ") < 2:  # what is not HTTP, as the beginning of TLS
        return None
    method, target, _ = line.split(" ", 2)
    headers = {}
    while (line := reader.readline().decode("latin-1").strip()) != "":  # type: ignore[attr-defined]
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))  # type: ignore[attr-defined]
    return Request(method, target, headers, body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer, with exactly these headers."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def reply(status: int, body: bytes = b"", **headers: str) -> list[Step]:
    """A whole answer; `content_type="x/y"` is the header Content-Type."""
    fields = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return [head(status, {"Content-Length": str(len(body)), **fields}) + body]


def json_reply(value: object, status: int = 200, **headers: str) -> list[Step]:
    return reply(status, json.dumps(value).encode(), content_type="application/json", **headers)


def redirect(location: str, status: int = 302) -> list[Step]:
    return reply(status, location=location)
