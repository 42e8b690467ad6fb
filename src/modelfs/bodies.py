"""Bytes of a file on their way: what a registry gives and a cache takes, knowing only this."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from modelfs.model import Digests


class Body(Protocol):
    """The bytes of one range of one file, on their way. A context manager; one thread uses it.

    `digests` are of the whole file, as told with this answer (empty where not told).
    """

    digests: Digests

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`; the number of bytes written, 0 only at the range's end.

        Raises Unavailable when the range ends early and resuming failed; never gives more bytes
        than the range has.
        """
        ...

    def __enter__(self) -> Body: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


# Bytes [start, stop) of one file: what a cache fetches from, without knowing a registry.
Source = Callable[[int, int], Body]
