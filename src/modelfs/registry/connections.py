"""Connections of the HTTP client: bounded in number, and in the time that an answer may drip.

A time-out of `requests` is for one read of a socket: a server that sends a byte now and then
holds its caller for ever. Here every connection reads through a `_Guard` that also has a moment
at which it gives up. Part of the HTTP client, which is the only user; the exceptions of
`requests` and of what is below it become ours here.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from typing import Any, Literal
from weakref import WeakSet

import requests
import urllib3
from requests.adapters import HTTPAdapter

from modelfs import waiting
from modelfs.errors import Corrupt, DeadlinePassed, Error, Unavailable

# A piece as large as a socket's buffer usually is, so that a block takes few calls.
_BUFFER = 1 << 16
# For a free connection; more workers than connections is a mistake of ours that must not hang.
_POOL_WAIT = 10.0
# For a receiver that takes no byte of what is sent.
SENDING = 20.0
# What a redirect says beside its address came with it; reading that costs less than connecting.
_LEFT_OVER, _LEFT_OVER_WAIT = 4096, 1.0
# For the head of an answer where no time-out was given; every request of ours has one.
_HEAD = 10.0
# Of a head of which the standard library drops a part, and says so nowhere else.
_BROKEN = (MissingHeaderBodySeparatorDefect, FirstHeaderLineIsContinuationDefect)
# OpenSSL's word for it, and urllib3's for a certificate of another name.
_SIGNS_OF_A_CERTIFICATE = ("CERTIFICATE_VERIFY_FAILED", "doesn't match")


class NotSent(Unavailable):
    """The request never reached the host, so anything may be tried again."""


class Final(Unavailable):
    """Trying again within this call would not help."""


class _Guard(io.RawIOBase):
    """Reads a socket until a moment passes; no end while `deadline` is None."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, settings: _Watched) -> None:
        self._raw = raw
        self._sock = sock
        self._settings = settings

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        deadline, idle = self._settings.deadline, self._sock.gettimeout()
        if deadline is None:
            return self._raw.readinto(buffer)
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self._sock.settimeout(left if idle is None else min(idle, left))
        try:
            count = self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(idle)
        self._settings.has_ended = count == 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Watched:
    """A socket whose readers keep a deadline; everything else is the socket's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.deadline: float | None = None
        # Where the next bytes of a body may be put, instead of into new memory.
        self.lent: memoryview | None = None
        # Whether the last read under a deadline found the end of the connection.
        self.has_ended = False

    def makefile(self, mode: Literal["rb"], *_: object) -> io.BufferedReader:
        raw = self._sock.makefile(mode, buffering=0)
        return io.BufferedReader(_Guard(raw, self._sock, self), _BUFFER)

    def sendall(self, data: Any, /) -> None:
        """Send everything, for as long as the receiver takes some of it.

        The standard library's own has the time-out for all of `data`, which a slow line exceeds.
        """
        if turn := waiting.turn():
            turn.waits(self.cut)
        idle = self._sock.gettimeout()
        view = memoryview(data).cast("B")
        self._sock.settimeout(SENDING)
        try:
            while view:
                view = view[self._sock.send(view) :]
        finally:
            self._sock.settimeout(idle)

    def cut(self) -> None:
        """Whoever waits for it has an error at once. From any thread."""
        try:
            # Not TLS's own, which takes from its reader what he reads with.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except (OSError, TypeError):  # closed in between; TLS within TLS is no socket
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Response(http.client.HTTPResponse):
    """An answer whose body can be read into a buffer that was lent to its socket.

    What is above it counts what it gets and passes it on, and never looks at it.
    """

    def __init__(self, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._watched = sock

    def read1(self, size: int = -1) -> Any:
        view: memoryview | None = getattr(self._watched, "lent", None)
        if view is None or self.fp is None or self.chunked or not self.length or size < 0:
            return super().read1(size)
        count = self.fp.readinto1(view[: min(size, self.length)])
        self.length -= count
        return view[:count]


def read_into(raw: Any, view: memoryview) -> int:
    """Up to `len(view)` bytes of the body of the answer `raw`, as many as one read gives."""
    watched = getattr(raw, "watched", None)
    if watched is not None:
        watched.lent = view
    try:
        data = raw.read1(len(view), decode_content=False)
    finally:
        if watched is not None:
            watched.lent = None
    if isinstance(data, bytes):
        view[: len(data)] = data
    return len(data)


def _watching(connection: Any, getresponse: Callable[[], Any]) -> Any:
    """`getresponse()`, with the read time-out for the whole head of the answer."""
    watched = connection.sock
    if turn := waiting.turn():
        turn.waits(watched.cut)
    if connection.has_been_cut():  # before it had a socket
        watched.cut()
    watched.deadline = time.monotonic() + (connection.timeout or _HEAD)
    answer = getresponse()
    watched.deadline = None
    if watched.has_ended:
        answer.close()
        # The standard library takes the end of a connection for the end of a head.
        raise http.client.RemoteDisconnected("the head of the answer ended early")
    # The library's own view of it, which alone remembers.
    original = getattr(answer, "_original_response", None)
    defects = original.msg.defects if original is not None else ()
    if any(isinstance(defect, _BROKEN) for defect in defects):
        answer.close()
        # What comes after a line that is no header is lost: lengths, ranges, digests.
        raise http.client.HTTPException("the head of the answer is broken")
    answer.watched = watched
    return answer


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Watched(self.sock)

    def getresponse(self) -> Any:
        return _watching(self, super().getresponse)


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Watched(self.sock)

    def getresponse(self) -> Any:
        return _watching(self, super().getresponse)


class _Remembering:
    """A pool of urllib3's that can end what its connections are waiting for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made: WeakSet[Any] = WeakSet()
        self._is_cut = threading.Event()

    def _new_conn(self) -> Any:
        connection = super()._new_conn()  # type: ignore[misc]
        connection.has_been_cut = self._is_cut.is_set
        self._made.add(connection)
        return connection

    def cut(self) -> None:
        """Whoever waits for a connection of ours gets an error at once, instead of in seconds."""
        self._is_cut.set()
        for connection in list(self._made):
            if isinstance(connection.sock, _Watched):
                connection.sock.cut()


class _HTTPPool(_Remembering, urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return super()._get_conn(timeout=timeout or _POOL_WAIT)


class _HTTPSPool(_Remembering, urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return super()._get_conn(timeout=timeout or _POOL_WAIT)


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
    """Gives out the connections of this module, also through a proxy."""

    _is_closed = False

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        found = super().get_connection_with_tls_context(*args, **options)
        if self._is_closed:  # asked after what it asks for was made: `close` may not have seen that
            raise Final("the registry's client is closed")
        return found

    def close(self) -> None:
        """Close the connections now, those in use too; urllib3 leaves that to the collector."""
        self._is_closed = True
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  (no mapping to iterate)
                if (pool := manager.pools.get(key)) is not None:
                    pool.cut()
                    pool.close()
        super().close()


class Pool:
    """At most `most` connections to one host, for requests that are sent as they are.

    Not a session of `requests`, which takes half of a small call's time for what no call of ours
    has: credentials of a .netrc, an environment, cookies, redirects, of which it reads the body.
    """

    def __init__(self, most: int) -> None:
        # What urllib3 logs holds whole addresses, and ours are signed: who has one has the file.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL)
        self._adapter = _Adapter(pool_maxsize=most, pool_block=True)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview] | None,
        *,
        timeout: tuple[float, float],
        proxy: str,
        verify: bool | str,
    ) -> requests.Response:
        """The answer, its body still on its way. `timeout`: to connect, and for each read."""
        request = requests.Request(method, url, headers=dict(headers), data=body).prepare()
        proxies = {"http": proxy, "https": proxy} if proxy else {}
        return self._adapter.send(
            request, stream=True, timeout=timeout, verify=verify, proxies=proxies
        )

    def close(self) -> None:
        self._adapter.close()


def set_deadline(raw: Any, seconds: float) -> None:
    """Let the rest of the body of the answer `raw` take no more than `seconds`."""
    if (watched := getattr(raw, "watched", None)) is not None:
        watched.deadline = time.monotonic() + seconds


def give_back(raw: Any) -> None:
    """Return the connection of `raw` for the next request, if hardly anything is left to read."""
    left = getattr(raw, "length_remaining", None)
    deadline = getattr(getattr(raw, "watched", None), "deadline", None)
    is_late = deadline is not None and time.monotonic() > deadline
    if left is not None and left <= _LEFT_OVER and not is_late:
        set_deadline(raw, _LEFT_OVER_WAIT)
        raw.drain_conn()


@contextmanager
def converted(host: str) -> Iterator[None]:
    """Foreign exceptions as ours. Their texts hold addresses, so only their kinds are told."""
    try:
        yield
    except Error:
        raise
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as exc:
        if not any(sign in str(exc) for sign in _SIGNS_OF_A_CERTIFICATE):
            raise Final(
                f"{host} speaks no TLS that we understand",
                hint="is it a server without TLS? its address begins with http:// then",
            ) from exc
        raise Final(
            f"the certificate of {host} is not trusted",
            hint="REQUESTS_CA_BUNDLE names a file of certificate authorities",
        ) from exc
    except (requests.exceptions.ProxyError, requests.exceptions.ConnectTimeout) as exc:
        raise NotSent(f"no connection to {host}: {type(exc).__name__}") from exc
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError, TimeoutError) as exc:
        raise DeadlinePassed(f"{host} did not answer in time") from exc
    except requests.exceptions.ConnectionError as exc:
        reason = getattr(exc.args[0] if exc.args else None, "reason", None)
        if isinstance(reason, urllib3.exceptions.NewConnectionError):
            raise NotSent(f"no connection to {host}") from exc
        raise Unavailable(f"the connection to {host} was lost") from exc
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as exc:
        raise Corrupt(f"an address of {host} makes no sense") from exc
    except (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
        OSError,
        ValueError,
    ) as exc:
        raise Unavailable(f"the connection to {host} was lost: {type(exc).__name__}") from exc
