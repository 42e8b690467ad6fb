"""A way to a server that breaks: a TCP relay that cuts connections after so many bytes.

Owns the sockets and threads of the relay. One lock guards what is counted; no I/O happens under it.
"""

from __future__ import annotations

import re
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit

_PIECE = 65536
# The longest a relay's thread waits for bytes; clients under test pause a few seconds at most.
_IDLE = 60.0
_RANGE = re.compile(rb"^(?:content-)?range: bytes[= ]([1-9]\d*)-", re.IGNORECASE | re.MULTILINE)


class Cutting:
    """Relays to `url`; cuts the first `times` connections that carry more than the limit.

    `up` limits the bytes from client to server, `down` those from server to client. A cut ends
    both directions at once, in the middle of whatever they carry.
    """

    def __init__(
        self, url: str, *, up: int | None = None, down: int | None = None, times: int = 1
    ) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._limits = {"up": up, "down": down}
        self._lock = threading.Lock()
        self._cuts_left = times
        self.cuts = 0
        # Where in the middle of a file clients went on, by what their requests say.
        self.resumed: list[int] = []
        self._listener: socket.socket | None = None
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        assert self._listener is not None
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def __enter__(self) -> Cutting:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._spawn(self._accept, self._listener)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listener is not None
        # Wakes the thread in accept(), which closing alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        # Who accepts ends first: then there are no more of either.
        self._join(self._threads[0])
        for end in self._sockets:
            _end(end)
        for thread in self._threads:
            self._join(thread)
        for end in self._sockets:
            end.close()

    def _join(self, thread: threading.Thread) -> None:
        thread.join(_IDLE)
        assert not thread.is_alive()

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target, timeout=_IDLE)
            client.settimeout(_IDLE)
            with self._lock:
                self._sockets += [client, server]
            self._spawn(self._relay, "up", client, server)
            self._spawn(self._relay, "down", server, client)

    def _relay(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        limit, carried = self._limits[way], 0
        try:
            while piece := source.recv(_PIECE):
                if limit is not None and carried + len(piece) > limit and self._may_cut():
                    # What is below the limit arrives, so that the same happens every time.
                    sink.sendall(piece[: limit - carried])
                    break
                if way == "up" and (found := _RANGE.findall(piece)):
                    with self._lock:
                        self.resumed += map(int, found)
                sink.sendall(piece)
                carried += len(piece)
            else:
                sink.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass  # the other direction was cut, or one end is gone
        _end(sink)
        _end(source)

    def _may_cut(self) -> bool:
        with self._lock:
            if not self._cuts_left:
                return False
            self._cuts_left -= 1
            self.cuts += 1
            return True


def _end(end: socket.socket) -> None:
    """End both directions; what was sent before still arrives.

    It is not closed: another thread may be about to wait in recv() for this number, which would be
    given to the next socket.
    """
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side has ended it
