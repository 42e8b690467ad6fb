"""Published bytes on disk, in blocks: read what is here, fetch what is missing, once.

The face of the cache. Owns the names (files of a registry) and contents (bytes of a key) that are
open; knows no registry, as bytes come from a Source. A read of blocks that are here is one pread on
the caller's thread, with no lock. One lock guards the two tables; it is never held across I/O.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from modelfs.bodies import Source
from modelfs.buffers import Buffers
from modelfs.cache.backing import Backing
from modelfs.cache.binding import Binder, Name
from modelfs.cache.blockmap import length
from modelfs.cache.content import Content
from modelfs.cache.crew import Crew
from modelfs.cache.delivering import Delivery
from modelfs.cache.digestlog import DigestLog, Known
from modelfs.cache.directory import Directory, Space
from modelfs.cache.downloading import Downloads
from modelfs.cache.fetching import Fetcher
from modelfs.cache.inventory import CacheState, Kept, contents
from modelfs.cache.keys import (
    content_key,
    digests_of,
    identity_hash,
    legible,
    private_key,
)
from modelfs.cache.opened import CachedFile
from modelfs.cache.proving import Prover
from modelfs.cache.settle import Settler
from modelfs.cache.space import Room, Usage
from modelfs.cache.store import Store
from modelfs.cache.verifying import Verification, Verifier
from modelfs.cache.waiters import Reader, fail
from modelfs.errors import NoSpace, Unavailable
from modelfs.model import Digests
from modelfs.waiting import Clock

NOT_TOLD = Digests()

# Why a file cannot have a second name in the cache: other disk, or one that knows no such names.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS})

# Requests to one place at a time, those that get nowhere included. More than these, when as many
# files as this are read of which nothing comes, wait until some are given up.
_MOST = 96

# For the threads to end; what hangs in a request by then is left behind.
_STOP = 5.0


class BlockCache:
    """Bytes of published files, shared by all processes that use `directory`."""

    def __init__(
        self,
        directory: Path,
        *,
        budget: int,
        floor: int,
        workers: int = 16,
        clock: Clock = time.time,
        memory: Buffers | None = None,
        is_proven_first: bool = False,
        is_quick: bool = False,
        on_reject: Callable[[Backing], None] = lambda _: None,
        on_proof: Callable[[Backing], None] = lambda _: None,
    ) -> None:
        """`memory` is what bytes on their way are held in.

        `on_reject` is told of a file that readers were given bytes of which are wrong.

        `is_proven_first`: nobody is given a byte of a file before all of it agrees with its digest.
        `is_quick`: the last bytes of a file do not wait for its md5 where the registry tells a
        crc32c as well, and they agree with that; `on_proof` is told when the md5 has been compared.
        """
        self._is_proven_first = is_proven_first
        self._is_quick = is_quick
        self._on_proof = on_proof
        self._directory = Directory(directory)
        self._store = Store(self._directory)
        self._room = Room(self._store, self._directory, budget, floor, clock)
        self._crew = Crew(workers, most=_MOST)
        self._settler = Settler(self._store, self._directory)
        # Also for others who have bytes on their way.
        self.memory = memory or Buffers()
        delivery = Delivery(self._store, self._crew, self.memory)
        downloads = Downloads(self._room, self.memory, self._crew.moved)
        self._prover = Prover(
            self._store,
            self._settler,
            delivery,
            self.memory,
            self._crew.moved,
            self._learn,
            on_reject,
            self._proved,
        )
        self._fetcher = Fetcher(self._store, self._crew, downloads, delivery, self._prover, clock)
        self._log = DigestLog(directory / "digests", self._directory.share)
        self._binder = Binder(self._log, self._fetcher, self._crew, self._acquire)
        self._lock = threading.Lock()
        self._names: dict[str, Name] = {}
        self._contents: dict[str, Content] = {}

    def start(self) -> None:
        """Look at the directory and start the threads; after any fork.

        Raises Forbidden for a directory that is not for us to use.
        """
        self._directory.prepare()
        self._crew.start()
        self._prover.start()
        self._settler.start()

    def stop(self) -> None:
        """End the threads, within seconds; who still waits gets Unavailable."""
        self._crew.stop(_STOP)
        self._prover.stop(_STOP)
        self._settler.stop(_STOP)
        with self._lock:
            names, contents = list(self._names.values()), list(self._contents.values())
        error = Unavailable("the cache has been stopped")
        for waiting in (name.give_up() for name in names):
            fail(waiting, error)
        for waiting in (content.give_up_all() for content in contents):
            fail(waiting, error)

    def open(
        self,
        identity: str,
        size: int,
        digests: Digests,
        source: Source,
        reader: Reader | None = None,
        place: str = "",
    ) -> CachedFile:
        """The file that `identity` names, whose bytes come from `source` where they are missing.

        An identity has the same bytes for ever. Reads no bytes and asks nobody. Openings that see
        each other's bytes, as those of one mount do in the kernel, share a `reader`: what one of
        them was given that turned out wrong, all of them were. When nothing comes from one `place`,
        files from others do not wait for that.
        """
        digests = legible(digests)
        with self._lock:
            name = self._names.get(identity)
            has_failed = name is not None and name.has_failed
            if has_failed or (name is not None and name.size != size):
                name = None
            if name is None:
                name = self._names[identity] = Name(identity, size, source, place)
            name.users += 1
        if has_failed:
            self._log.forget(name.hash)
        if name.content is None and size and (key := self._key(identity, size, digests)):
            name.show(self._acquire(name, key, digests))
        return CachedFile(
            name,
            self._fetcher,
            self._binder,
            self._close,
            reader,
            is_proven_first=self._is_proven_first,
        )

    def adopt(
        self,
        identity: str,
        size: int,
        digests: Digests,
        path: Path,
        told: Digests = NOT_TOLD,
        *,
        is_synced: bool = False,
    ) -> bool:
        """Take in the local file that was published as `identity`; True if it need not be fetched.

        `digests` are of its bytes, md5 among them, and the caller vouches for them; `told` is what
        the registry's listing says. Where that is nothing, registries tell an md5 with the bytes.
        The file gets a second name here, its modification time changes, and nobody may write to it
        any more; one that has several names or lies on another disk is copied. With `is_synced`
        its bytes are on the disk already.
        """
        told = legible(told)
        if not told:
            told = Digests(md5=digests.md5)
            self._log.add(identity_hash(identity), Known(size, told, digests.sha256))
        key = content_key(told, size) or private_key(identity, size)
        if not size or self._store.is_finished(key):
            return True
        if not self._room.fits(size):
            return False
        try:
            if os.lstat(path).st_nlink > 1:
                raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
            self._store.adopt(key, path, is_copied=False, is_synced=is_synced)
            self._room.grow(size)
            return True
        except OSError as exc:
            if exc.errno not in _NO_LINK:
                return False
        try:
            self._room.reserve(size)
            self._store.adopt(key, path, is_copied=True, is_synced=False)
        except (NoSpace, OSError):
            return False
        return True

    def status(self, identity: str, size: int, digests: Digests) -> CacheState:
        """What is here of a file, without touching it."""
        key = self._key(identity, size, legible(digests)) if size else ""
        if not key:
            return CacheState(0, size, is_verified=not size)
        with self._lock:
            content = self._contents.get(key)
        if content is not None and (backing := content.backing) is not None:
            return CacheState(backing.here, size, backing.is_whole)
        if self._store.is_finished(key):
            return CacheState(size, size, is_verified=True)
        blocks = self._store.recorded(key)
        return CacheState(length(blocks, size), size, is_verified=False)

    def usage(self) -> Usage:
        return self._room.usage()

    def space(self) -> Space:
        """The disk the cache is on; raises OSError if it is gone."""
        return self._directory.space()

    @property
    def gauges(self) -> dict[str, int]:
        """What is going on, in numbers: all but the last two are 0 when nothing is."""
        memory = self.memory.gauges
        transfers, queued = self._crew.load
        return {
            "files": len(self._names),
            "contents": len(self._contents),
            "transfers": transfers,
            "queued": queued,
            "buffers": memory.held,
            "waiting_for_buffers": memory.waiting,
            "buffers_most": memory.most,
            "buffers_total": memory.total,
        }

    def evict(self, size: int) -> int:
        """Drop contents that are neither open nor pinned until `size` bytes are free; how many."""
        return self._room.drop(size)

    def pin(self, identity: str, size: int, digests: Digests) -> bool:
        """Keep a file from being evicted; False if it has never been fetched and has no digest."""
        key = self._key(identity, size, legible(digests))
        if key:
            self._directory.pin(key, identity_hash(identity))
        return bool(key)

    def unpin(self, identity: str) -> None:
        self._directory.unpin(identity_hash(identity))

    def settle(self, deadline: float) -> bool:
        """Wait until all that is complete is also durable; False if the deadline passed."""
        return self._settler.wait(deadline)

    def contents(self) -> list[Kept]:
        """All that is in the cache."""
        return list(contents(self._directory))

    def key_of(self, identity: str, size: int, digests: Digests) -> str:
        """What the bytes of a file are called in the cache; empty if that is not known."""
        return self._key(identity, size, legible(digests)) if size else ""

    def drop(self, kept: Kept) -> bool:
        """Drop a content, pinned or not; False if somebody has it open."""
        return self._store.evict(kept.stored)

    def sweep(self) -> None:
        """Remove what interrupted processes left."""
        self._store.sweep()

    def verify(
        self, *, is_dry: bool = False, progress: Callable[[int], None] = lambda _: None
    ) -> Verification:
        """Read everything again; what is wrong is named and, unless `is_dry`, dropped."""
        verifier = Verifier(
            self._directory, self._store, self._digests_for, is_dry=is_dry, progress=progress
        )
        return verifier.run()

    def _key(self, identity: str, size: int, digests: Digests) -> str:
        """The key of a file's bytes, if that can be said without asking the registry."""
        if digests:
            return content_key(digests, size) or private_key(identity, size)
        if known := self._log.find(identity_hash(identity), size):
            return content_key(known.told, size) or private_key(identity, size)
        key = private_key(identity, size)
        return key if self._store.exists(key) else ""

    def _digests_for(self, key: str) -> Digests:
        """What is known about the bytes of `key` without the registry."""
        if digests := digests_of(key):
            return digests
        _, name, size = key.split("-")
        known = self._log.find(name, int(size))
        return Digests(sha256=known.seen, crc32c=known.told.crc32c) if known else Digests()

    def _acquire(self, name: Name, key: str, digests: Digests) -> Content:
        """The content of `key`, shared with all that use it, on behalf of `name`."""
        known = self._digests_for(key)
        digests = Digests(
            md5=digests.md5 or known.md5,
            crc32c=digests.crc32c or known.crc32c,
            sha256=digests.sha256 or known.sha256,
        )
        with self._lock:
            content = name.bound or self._contents.get(key)
            if content is None or content.failure is not None:
                content = Content(
                    key,
                    digests,
                    name.place,
                    is_proven_first=self._is_proven_first,
                    is_quick=self._is_quick,
                )
                if name.users:
                    self._contents[key] = content
            if name.users and name.bound is None:
                content.users += 1
                name.bound = content
        if content.backing is None:
            try:
                if found := self._store.open(key):
                    content.use(found)
            except OSError:
                pass  # read past the cache
        return content

    def _learn(self, content: Content) -> None:
        """Remember the hash of a content that nobody told one of."""
        algorithm, value = content.hash_found
        if not digests_of(content.key) and algorithm == "sha256":
            _, name, _ = content.key.split("-")
            known = self._log.find(name, content.size)
            told = known.told if known else Digests()
            self._log.add(name, Known(content.size, told, value))

    def _close(self, name: Name) -> None:
        if name.content is not None and name.content.is_doubtful:
            self._log.forget(name.hash)
        with self._lock:
            name.users -= 1
            if name.users:
                return
            if self._names.get(name.identity) is name:
                del self._names[name.identity]
            content, name.bound, name.content = name.bound, None, None
            if content is None:
                return
            content.users -= 1
            # Who opens it again need not have it read and hashed anew.
            if not (content.is_proven_later and content.is_unproven):
                self._forget(content)

    def _proved(self, content: Content, backing: Backing) -> None:
        """Its bytes have been compared with the digest, or cannot be."""
        with self._lock:
            self._forget(content)
        self._on_proof(backing)

    def _forget(self, content: Content) -> None:
        if not content.users and self._contents.get(content.key) is content:
            del self._contents[content.key]
