"""The bytes of one key in this process: which blocks are coming, who waits for which.

Owns the answer to "is it here, and if not, who fetches it?": one lock guards what is on its way,
who waits, and how far the hash of the whole has come. It is never held across I/O.

The last block to arrive is held back until the whole agrees with its digest, so that nobody comes
to the end of a file with wrong bytes and no error. Where the content is quick, that is the crc32c
the registry tells, put together from those of the blocks; the digest is compared afterwards. A file
that turns out wrong gets a new, empty Backing once; whoever has read of the old one is told.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable

from modelfs.buffers import Buffers
from modelfs.cache.backing import Backing
from modelfs.cache.blockmap import BLOCK, Joined, block_count, runs
from modelfs.cache.keys import Check, disagreement, quick_sum, size_of
from modelfs.cache.pace import Pace
from modelfs.cache.waiters import Waiter, Window, finish
from modelfs.errors import Corrupt
from modelfs.model import Digests

# What may be left to hash while a reader waits for the last block: md5 does 0.7 GB/s on the
# machine this was written on, and readers wait for 24 s at most.
_HOLD_BLOCKS = (4 << 30) // BLOCK
# Hashed in one go: few of them, as each has to come by the interpreter's lock.
_PIECE = 4 << 20
# So far hashing may stay behind, before what it reads is not in memory any more.
_BEHIND = (1 << 30) // BLOCK


class _Progress:
    """How far the hash over one Backing has come."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.hasher = check.hasher()
        self.block = 0
        self.is_busy = False


class Content:
    """One content while somebody has it open."""

    def __init__(
        self,
        key: str,
        digests: Digests,
        place: str = "",
        *,
        is_proven_first: bool = False,
        is_quick: bool = False,
    ) -> None:
        self.key = key
        # What lets the last block out; None if that is the digest.
        self._quick_sum = quick_sum(digests) if is_quick and not is_proven_first else None
        # Is nobody given bytes of it before all of them are right?
        self.is_proven_first = is_proven_first
        # Where its bytes come from, for whoever fetches them from many places.
        self.place = place
        self.size = size_of(key)
        self.blocks = block_count(self.size)
        self.digests = digests
        # None while there is no file for it: not made yet, or the disk does not take one.
        self.backing: Backing | None = None
        # Names that are bound to it; counted by the cache.
        self.users = 0
        # Set when the bytes were wrong twice; whoever opens later starts with another Content.
        self.failure: Corrupt | None = None
        # Did the registry say something else about them when it was last asked?
        self.is_contested = False
        # Reads past the cache, one at a time (see direct).
        self.direct: deque[Waiter] = deque()
        self.is_direct = False
        self.window: Window | None = None
        # How fast it comes.
        self.pace = Pace()
        self._lock = threading.Lock()
        self._rejections = 0
        self._reset()

    def _reset(self) -> None:
        self._waiting: dict[int, list[Waiter]] = {}
        self._running: set[int] = set()
        self._missing = self.blocks
        self._held: int | None = None
        self._progress = _Progress(Check.strongest(self.digests))
        self._joined = Joined(self.size) if self._quick_sum is not None else None

    def use(self, backing: Backing) -> Backing:
        """Work with `backing`, unless there is one already; the one that counts."""
        with self._lock:
            if self.backing is None:
                waiting = self._waiting
                self._reset()
                self._waiting = waiting
                self.backing = backing
            return self.backing

    def lose(self, backing: Backing) -> list[Waiter]:
        """Do without `backing`, which cannot be read; who waits has to be served otherwise."""
        with self._lock:
            if backing is not self.backing:
                return []
            waiting = self._finish_all()
            self._reset()
            self.backing = None
            return waiting

    def agree(self, told: Digests) -> None:
        """Raises Corrupt if the registry now says something else about these bytes."""
        name = disagreement(self.digests, told)
        if told:
            self.is_contested = bool(name)
        if name:
            raise Corrupt(f"the registry now tells another {name}: {getattr(told, name)}")

    @property
    def is_doubtful(self) -> bool:
        """True if what the registry told of the bytes may be what is wrong, not the bytes."""
        backing = self.backing
        is_proven = backing is not None and backing.is_whole
        return self.is_contested or (self._rejections > 0 and not is_proven)

    def wait_for(self, waiter: Waiter) -> tuple[Backing | None, list[tuple[int, int]]]:
        """Let `waiter` wait for its blocks; the runs of them that nobody is fetching yet.

        If nothing is missing, the caller serves it from the Backing, which otherwise is None.
        """
        with self._lock:
            if self.failure is not None:
                raise self.failure
            backing = self.backing
            unclaimed = []
            for block in range(waiter.first, waiter.after):
                if backing is not None and backing.has(block, block + 1):
                    continue
                waiter.left += 1
                self._waiting.setdefault(block, []).append(waiter)
                if block not in self._running and block != self._held:
                    unclaimed.append(block)
            return (None if waiter.left else backing), list(runs(unclaimed))

    def take(self, backing: Backing, first: int, stop: int, most: int) -> tuple[list[int], int]:
        """Up to `most` neighbouring blocks of [first, stop) to fetch now, and where to go on."""
        with self._lock:
            if backing is not self.backing or backing.is_whole or backing.is_suspect:
                return [], stop
            taken: list[int] = []
            while first < stop and len(taken) < most:
                block = backing.trusted.find(b"\0", first, stop)
                if block < 0:
                    first = stop
                elif taken and block != taken[-1] + 1:
                    break
                else:
                    first = block + 1
                    if block not in self._running and block != self._held:
                        taken.append(block)
                    elif taken:
                        break
            self._running.update(taken)
            return taken, first

    def arrived(self, backing: Backing, first: int, crcs: Iterable[int]) -> list[Waiter]:
        """The blocks from `first` on are here, right by these checksums.

        Gives the waiters that now have all they want.
        """
        ready: list[Waiter] = []
        with self._lock:
            if backing is not self.backing:
                return ready
            for block, crc in enumerate(crcs, first):
                self._running.discard(block)
                if backing.trusted[block] or block == self._held:
                    continue
                self._missing -= 1
                if self._joined is not None:
                    self._joined.add(block, crc)
                if self._missing == 0 and self._is_held_back():
                    self._held = block
                    continue
                backing.trust(block)
                ready += self._ready(block)
        return ready

    def _is_held_back(self) -> bool:
        """True if the last block has to wait for the digest of all."""
        if self._joined is not None:
            return self._joined.value != self._quick_sum
        unhashed = self.blocks - self._progress.block
        return unhashed <= _HOLD_BLOCKS or self.is_proven_first

    @property
    def is_proven_later(self) -> bool:
        """True if nobody waits for the digest of the whole."""
        backing = self.backing
        is_waited_for = self._held is not None or (backing is not None and backing.is_suspect)
        return self._joined is not None and not is_waited_for

    @property
    def is_unproven(self) -> bool:
        """True if all of it is here, and has not been compared with its digest."""
        backing = self.backing
        return backing is not None and not self._missing and not backing.is_whole

    @property
    def is_proof_due(self) -> bool:
        """True if what has come of it should be hashed now, and nobody does that.

        Where processors are scarce, that keeps nothing from arriving.
        """
        progress = self._progress
        behind = self.blocks - self._missing - progress.block
        # Who hashes will see what has come before this was asked.
        return not progress.is_busy and (
            not self._missing or (self.pace.total and not self.pace.is_fast) or behind > _BEHIND
        )

    @property
    def is_small(self) -> bool:
        """True if it is brought as a whole: one block, and somebody told what it should be."""
        return self.blocks == 1 and bool(self._progress.check.expected)

    def take_whole(self) -> bool:
        """True if it is on the caller to bring a small content, for which there is no file."""
        with self._lock:
            if self.backing is not None or self._running:
                return False
            self._running.add(0)
            return True

    def is_right(self, data: memoryview) -> bool:
        """True if that is what a small content should be."""
        check = Check.strongest(self.digests)
        hasher = check.hasher()
        hasher.update(data)
        return check.accepts(hasher.hexdigest())

    def let_go(self, backing: Backing | None, blocks: Iterable[int]) -> list[int]:
        """Stop fetching `blocks`, which another process fetches; those that somebody waits for."""
        with self._lock:
            if backing is not self.backing:
                return []
            self._running.difference_update(blocks)
            return [block for block in blocks if self._waiting.get(block)]

    def give_up(self, backing: Backing | None, blocks: Iterable[int]) -> list[Waiter]:
        """Stop fetching `blocks`; who waits for any of them is the caller's to serve or to fail."""
        with self._lock:
            if backing is not None and backing is not self.backing:
                return []
            waiting: list[Waiter] = []
            for block in blocks:
                self._running.discard(block)
                waiting += self._waiting.pop(block, [])
            return finish(waiting)

    def give_up_all(self) -> list[Waiter]:
        with self._lock:
            return self._finish_all() + finish(self.direct)

    def hash_forward(
        self, backing: Backing, moved: Callable[[int], None], memory: Buffers
    ) -> bool | None:
        """Hash what has come in order; True or False once all of it is right or wrong.

        `moved` is told of bytes as they are hashed; many at a time, if `memory` can spare that.

        One thread does it at a time, and one is told the outcome. Raises OSError if the file
        cannot be read.
        """
        with self._lock:
            progress = self._progress
            if backing is not self.backing or backing.is_whole or progress.is_busy:
                return None
            if progress.block == self.blocks:
                return None
            progress.is_busy = True
        try:
            loan = memory.spare(min(_PIECE, self.size))
            piece = memoryview(bytearray(loan.size if loan else min(BLOCK, self.size)))
            while count := self._hashable(backing, progress, -(-len(piece) // BLOCK)):
                start = progress.block * BLOCK
                view = piece[: min(count * BLOCK, self.size - start)]
                # Fewer than that, if somebody has cut the file: then the hash is not right.
                came = os.preadv(backing.fd, [view], start)
                progress.hasher.update(view[:came])
                progress.block += count
                moved(len(view))
        except OSError:
            progress.is_busy = False
            raise
        if progress.block < self.blocks:
            return None
        check = progress.check
        # A finished file that was touched is not believed without a digest.
        is_provable = bool(check.expected) or not backing.is_suspect
        return is_provable and check.accepts(progress.hasher.hexdigest())

    @property
    def hash_found(self) -> tuple[str, str]:
        """The hash of the whole, once hash_forward has said True or False: name and value."""
        return self._progress.check.name, self._progress.hasher.hexdigest()

    def accept(self, backing: Backing) -> list[Waiter]:
        """All of it is right: it may be read; the waiters that waited for that."""
        with self._lock:
            if backing is not self.backing:
                return []
            self._held = None
            backing.is_suspect = False
            backing.is_whole = True
            return self._finish_all()

    def reject(self, backing: Backing | None) -> list[Waiter]:
        """It is wrong: it is not used any more; who waited, to be told or to be served anew.

        None if the bytes were not written to a file.
        """
        with self._lock:
            if backing is not self.backing:
                return []
            if backing is None or not backing.is_suspect:
                self._rejections += 1
            if backing is not None and not backing.is_suspect:
                backing.is_bad = True
            if self._rejections > 1:
                name = Check.strongest(self.digests).name
                self.failure = Corrupt(
                    f"the registry's bytes do not have the {name} it tells, twice: {self.key}"
                )
            waiting = self._finish_all()
            self._reset()
            self.backing = None
            return waiting

    def queue_direct(self, waiters: Iterable[Waiter]) -> bool:
        """Serve `waiters` past the cache; True if the caller has to see to it."""
        with self._lock:
            for waiter in waiters:
                waiter.is_done = False
                self.direct.append(waiter)
            if self.is_direct or not self.direct:
                return False
            self.is_direct = True
            return True

    def next_direct(self) -> Waiter | None:
        """The next to be served past the cache; None ends the caller's turn."""
        with self._lock:
            while self.direct:
                waiter = self.direct.popleft()
                if not waiter.is_done:
                    waiter.is_done = True
                    return waiter
            self.is_direct = False
            return None

    def _hashable(self, backing: Backing, progress: _Progress, most: int) -> int:
        """How many blocks, up to `most`, are hashed next; with none this thread is done with it."""
        with self._lock:
            first = block = progress.block
            if progress is self._progress:
                stop = min(first + most, self.blocks)
                while block < stop and (
                    backing.is_suspect or block == self._held or backing.trusted[block]
                ):
                    block += 1
            progress.is_busy = block > first
            return block - first

    def _ready(self, block: int) -> list[Waiter]:
        ready = []
        for waiter in self._waiting.pop(block, []):
            waiter.left -= 1
            if waiter.left == 0 and not waiter.is_done:
                waiter.is_done = True
                ready.append(waiter)
        return ready

    def _finish_all(self) -> list[Waiter]:
        waiting = [waiter for waiters in self._waiting.values() for waiter in waiters]
        self._waiting = {}
        return finish(waiting)
