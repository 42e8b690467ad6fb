"""One opening of a cached file: reads, with no lock where the bytes are here.

Owns what belongs to a single reader: how it reads (ahead of it is fetched) and which file on disk
it has been given bytes of. Safe to use from several threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future

from modelfs.cache.backing import Backing
from modelfs.cache.binding import Binder, Name
from modelfs.cache.blockmap import BLOCK, block_count
from modelfs.cache.fetching import Fetcher
from modelfs.cache.readahead import ReadAhead
from modelfs.cache.waiters import Reader, Waiter, misled
from modelfs.errors import Corrupt


class CachedFile:
    """A file of the cache, opened by somebody."""

    def __init__(
        self,
        name: Name,
        fetcher: Fetcher,
        binder: Binder,
        on_close: Callable[[Name], None],
        reader: Reader | None = None,
        *,
        is_proven_first: bool = False,
    ) -> None:
        self.size = name.size
        self._is_proven_first = is_proven_first
        self._name = name
        self._fetcher = fetcher
        self._binder = binder
        self._on_close = on_close
        self._ahead = ReadAhead(name.size)
        # Also keeps open what it has read of, as the descriptor may have been given away.
        self._reader = reader or Reader()
        self._is_reader_shared = reader is not None
        self._is_closed = False

    def read(self, offset: int, size: int) -> bytes | None:
        """The bytes of [offset, offset + size), cut at the end; None if not all of them are here.

        Raises Corrupt if bytes that were read before turned out to be wrong.
        """
        stop = offset + size
        if stop > self.size:
            stop = self.size
        if offset >= stop:
            return b""
        backing = self._backing(offset, stop)
        if backing is None:
            return None
        if not backing.is_whole:
            self._look_ahead(offset, stop)
        try:
            data = os.pread(backing.fd, stop - offset, offset)
        except OSError:
            data = b""
        if len(data) == stop - offset:
            return data
        # The file was cut behind our back, or the disk cannot read it.
        content = self._name.content
        if content is not None:
            self._fetcher.lose(content, backing)
        return None

    def readable_fd(self, offset: int, size: int) -> int | None:
        """A descriptor whose bytes [offset, offset + size) are the file's, until we are closed."""
        stop = min(offset + size, self.size)
        if offset >= stop:
            return None
        backing = self._backing(offset, stop)
        if backing is None:
            return None
        if not backing.is_whole:
            self._look_ahead(offset, stop)
        return backing.fd

    def fetch(self, offset: int, size: int) -> Future[bytes]:
        """The same bytes as soon as they are here; fails with what the source failed with.

        The wanted blocks are on their way once for all who want them; after a failure the next
        call tries afresh. Raises Corrupt as `read` does.
        """
        stop = min(offset + size, self.size)
        if self._reader.is_misled:
            raise _wrong(self._name)
        whole = self.size if self._is_proven_first else 0
        waiter = Waiter(offset, stop, self._name.source, self._reader, whole)
        if offset >= stop:
            waiter.future.set_result(b"")
            return waiter.future
        content = self._name.content
        if content is None:
            self._binder.fetch(self._name, waiter)
        else:
            self._fetcher.fetch(content, waiter)
        self._look_ahead(offset, stop)
        return waiter.future

    @property
    def is_complete(self) -> bool:
        """True if all bytes are here; they may not have been compared with the digest yet."""
        backing = self._current
        return not self.size or (backing is not None and backing.has(0, block_count(self.size)))

    @property
    def is_verified(self) -> bool:
        """True if all bytes are here and agree with their digest; the file on disk is the file."""
        backing = self._current
        return not self.size or (backing is not None and backing.is_whole)

    @property
    def is_proven_soon(self) -> bool:
        """True if all bytes are here, were read, and are being compared with their digest."""
        content = self._name.content
        return (
            content is not None
            and content.is_proven_later
            and content.is_unproven
            and content.backing is self._reader.served
        )

    @property
    def is_misled(self) -> bool:
        """True if bytes were given that turned out wrong; every later read raises Corrupt."""
        return self._reader.is_misled

    @property
    def key(self) -> str:
        """What the content is called in the cache; empty while that is not known."""
        content = self._name.content
        return content.key if content is not None else ""

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._ahead.close()
            self._on_close(self._name)
            if not self._is_reader_shared:
                # The descriptor goes with the last reader, not with the last reference to us.
                self._reader.served = None

    def __enter__(self) -> CachedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _current(self) -> Backing | None:
        content = self._name.content
        return content.backing if content is not None else None

    def _backing(self, start: int, stop: int) -> Backing | None:
        """The file on disk, if it has [start, stop)."""
        content = self._name.content
        if content is None:
            return None
        backing = content.backing
        if backing is None or not self._is_here(backing, start, stop):
            if self._reader.is_misled:
                raise _wrong(self._name)
            return None
        if not self._reader.serve(backing):
            raise _wrong(self._name)
        return backing

    def _is_here(self, backing: Backing, start: int, stop: int) -> bool:
        if self._is_proven_first:
            return backing.is_whole
        return backing.has(start // BLOCK, (stop - 1) // BLOCK + 1)

    def _look_ahead(self, start: int, stop: int) -> None:
        if (stretch := self._ahead.note(start, stop)) is not None:
            self._binder.look_ahead(self._name, stretch)


def _wrong(name: Name) -> Corrupt:
    content = name.content
    return (content and content.failure) or misled()
