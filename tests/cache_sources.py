"""Sources for tests of the cache: bytes from memory, counted, that fail, lie or wait on demand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from types import TracebackType

import google_crc32c

from modelfs.errors import Error
from modelfs.model import Digests

WAIT = 10.0


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that differ from block to block and from seed to seed."""
    return hashlib.shake_128(seed.to_bytes(8)).digest(size)


def digests(data: bytes, *names: str) -> Digests:
    """The named digests of `data`."""
    values = {
        "md5": hashlib.md5(data).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "crc32c": f"{google_crc32c.value(data):08x}",
    }
    return Digests(**{name: values[name] for name in names})


class FakeBody:
    """The bytes [start, stop) of a source, as an answer of a registry."""

    def __init__(self, source: FakeSource, start: int, stop: int) -> None:
        self.digests = source.told
        self._source = source
        self._position = start
        self._stop = stop
        self.is_open = True

    def readinto(self, buffer: memoryview, /) -> int:
        assert self.is_open
        source = self._source
        source.gate.wait(WAIT)
        stop = min(self._position + len(buffer), self._stop + source.surplus)
        if source.breaks_at is not None and stop > source.breaks_at:
            stop = max(self._position, source.breaks_at)
            if stop == self._position:
                if source.error is None:
                    return 0
                raise source.error
        data = source.data[self._position : stop]
        data += bytes(stop - self._position - len(data))
        buffer[: len(data)] = data
        self._position = stop
        source.deliver(len(data))
        return len(data)

    def __enter__(self) -> FakeBody:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.is_open = False


class FakeSource:
    """A registry's side of one file. Change its attributes to make it behave otherwise."""

    def __init__(self, data: bytes, told: Digests | None = None) -> None:
        self.data = data
        self.told = told if told is not None else Digests()
        self.requests: list[tuple[int, int]] = []
        self.delivered = 0
        # Bytes more than asked for.
        self.surplus = 0
        # Answers end here, with `error` or silently.
        self.breaks_at: int | None = None
        self.error: Error | None = None
        # Raised by the request itself.
        self.refusal: Error | None = None
        # Called with the number of requests so far.
        self.on_request: Callable[[int], None] = lambda count: None
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def __call__(self, start: int, stop: int) -> FakeBody:
        assert 0 <= start < stop <= max(len(self.data), stop)
        with self._lock:
            self.requests.append((start, stop))
            count = len(self.requests)
        self.on_request(count)
        if self.refusal is not None:
            raise self.refusal
        return FakeBody(self, start, stop)

    def deliver(self, size: int) -> None:
        with self._lock:
            self.delivered += size
