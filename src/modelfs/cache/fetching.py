"""Which missing blocks are brought, by whom, and what becomes of those who wait when they are not.

The steps of a job, on a thread of the crew: take blocks that nobody in this process fetches, look
which of them another process has brought meanwhile, claim the rest from other processes, fetch them
with one request (downloading), wake every reader as soon as its last block has landed (delivering),
and have compared what has come (proving). What the cache's disk does not take goes straight to the
readers. One lock, for the contents that the disk refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from modelfs.bodies import Source
from modelfs.cache.backing import Backing
from modelfs.cache.blockmap import runs
from modelfs.cache.content import Content
from modelfs.cache.crew import Crew
from modelfs.cache.delivering import Delivery
from modelfs.cache.downloading import POLL_FIRST, Downloads, Job
from modelfs.cache.proving import Prover
from modelfs.cache.readahead import Stretch
from modelfs.cache.store import Store
from modelfs.cache.waiters import Waiter, fail
from modelfs.errors import Corrupt, Error, NoSpace, Unavailable
from modelfs.waiting import DEADLINE, Clock, GaveWay

log = logging.getLogger(__name__)

# How seldom to look, at last, for what another process is about to land.
_POLL_MOST = 0.05
# It may also have been stopped for good; then its blocks are read past the cache.
FOREIGN_PATIENCE = 15.0

# After the disk refused a file, it is not asked again for each read.
_REFUSED_FOR = 2.0


class Fetcher:
    """Fetches blocks with a crew."""

    def __init__(
        self,
        store: Store,
        crew: Crew,
        downloads: Downloads,
        delivery: Delivery,
        prover: Prover,
        clock: Clock,
    ) -> None:
        self._store = store
        self._crew = crew
        self._downloads = downloads
        self._delivery = delivery
        self._prover = prover
        self._clock = clock
        # Contents the disk refused a file for, and until when it is not asked again.
        self._refused: dict[str, float] = {}
        self._refused_lock = threading.Lock()

    def fetch(self, content: Content, waiter: Waiter) -> None:
        """Serve `waiter` as soon as its blocks are here; starts what nobody has started."""
        self.want(content, waiter.source, self.enlist(content, waiter))

    def enlist(self, content: Content, waiter: Waiter) -> list[tuple[int, int]]:
        """Let `waiter` wait, or serve it; the runs of blocks that have to be started for it."""
        try:
            backing, unclaimed = content.wait_for(waiter)
        except Corrupt as exc:
            fail([waiter], exc)
            return []
        if backing is not None:
            self._delivery.serve(content, backing, [waiter])
        return unclaimed

    def want(self, content: Content, source: Source, found: list[tuple[int, int]]) -> None:
        """Bring runs of blocks for readers that wait for them."""
        for first, stop in found:
            self._submit(Job(content, source, first, stop, is_wanted=True))

    def prefetch(self, content: Content, source: Source, stretch: Stretch) -> None:
        """Bring the blocks of `stretch` when there is nothing better to do."""
        self._submit(Job(content, source, 0, 0, is_wanted=False, stretch=stretch))

    def lose(self, content: Content, backing: Backing) -> None:
        """Stop using a file that cannot be read any more."""
        self._delivery.lose(content, backing)

    def run(
        self, job: Job, buffer: memoryview, on_taken: Callable[[], None] = lambda: None
    ) -> None:
        """Do a part of `job` and see to the rest; `on_taken` once the blocks are this job's."""
        with ExitStack() as stack:
            if job.body is not None:
                stack.enter_context(job.body)
            content = job.content
            if job.is_abandoned:
                return
            if job.stretch is not None and content.backing is None:
                # No file yet, or not any more: that is for those to settle who wait for bytes.
                job.stretch.pause()
                return
            if content.backing is None and content.is_small:
                self._bring_whole(job, buffer, on_taken)
                return
            backing = self._backing(content)
            if backing is None:
                self._delivery.divert(content, content.give_up(None, range(job.first, job.stop)))
                return
            if backing.is_whole:  # found finished, after somebody has begun to wait
                on_taken()
                self._delivery.serve(content, backing, content.accept(backing))
                return
            first, stop, stretch = job.first, job.stop, job.stretch
            if stretch is not None:
                first, stop = stretch.first, stretch.stop
            most = content.pace.blocks(stop - first)
            blocks, after = content.take(backing, first, stop, most)
            on_taken()
            if stretch.advance(after) if stretch is not None else after < stop:
                self._submit(replace(job, first=after, body=None))
            if blocks:
                self._obtain(job, backing, blocks, buffer)
            self._prover.look(content, backing, self._fetch_anew)

    def _fetch_anew(self, content: Content, waiters: list[Waiter]) -> None:
        for waiter in waiters:
            waiter.left, waiter.is_done = 0, False
            self.fetch(content, waiter)

    def _submit(self, job: Job, delay: float = 0.0) -> None:
        self._crew.submit(
            lambda buffer: self.run(job, buffer),
            group=job.content.key,
            place=job.content.place,
            is_urgent=job.is_wanted,
            delay=delay,
            most=None if job.is_wanted else lambda: job.content.pace.connections,
        )

    def _backing(self, content: Content) -> Backing | None:
        """The file of `content`, made if need be; None if the disk does not take one."""
        if content.backing is not None:
            return content.backing
        now = self._clock()
        with self._refused_lock:
            until = self._refused.pop(content.key, 0.0)
            if now < until <= now + _REFUSED_FOR:
                self._refused[content.key] = until
                return None
        try:
            return content.use(self._store.create(content.key))
        except OSError as exc:
            log.debug("%s: read past the cache: %s", content.key, exc)
            with self._refused_lock:
                self._refused[content.key] = now + _REFUSED_FOR
            return None

    def _obtain(self, job: Job, backing: Backing, blocks: list[int], buffer: memoryview) -> None:
        """Bring `blocks`, which this job has taken, each in the cheapest way there is."""
        content = job.content
        claimed: set[int] = set()
        left = set(blocks)
        is_over = False

        def landed(at: int, crcs: list[int]) -> None:
            after = at + len(crcs)
            backing.release(at, after)
            claimed.difference_update(range(at, after))
            left.difference_update(range(at, after))
            self._delivery.serve(content, backing, content.arrived(backing, at, crcs))

        with self._failing(job, backing, left), ExitStack() as held:
            held.callback(_release, backing, claimed)
            if backing.claim_blank(blocks[0], blocks[-1] + 1):
                claimed.update(blocks)
            else:
                left.difference_update(self._look_again(job, backing, blocks, claimed))
            for first, stop in list(runs(sorted(claimed))):
                self._downloads.bring(job, backing, first, stop, buffer, landed)
            is_over = True
        if is_over:  # what is left has not been brought, since nobody seemed to want it
            self._fetch_anew(content, content.give_up(backing, left))

    def _look_again(
        self, job: Job, backing: Backing, blocks: list[int], claimed: set[int]
    ) -> list[int]:
        """Claim those of `blocks` that are on us to bring; all the others are seen to."""
        content = job.content
        foreign, here = [], []
        for block in blocks:
            crc = backing.recorded(block)
            if crc is None:
                if not backing.claim(block):
                    foreign.append(block)
                    continue
                claimed.add(block)
                crc = backing.recorded(block)  # it may have landed between the two
                if crc is None:
                    continue
                claimed.discard(block)
                backing.release(block, block + 1)
            here.append(block)
            self._delivery.serve(content, backing, content.arrived(backing, block, (crc,)))
        if foreign:
            self._await_others(job, backing, foreign)
        return here + foreign

    @contextmanager
    def _failing(self, job: Job, backing: Backing | None, left: Collection[int]) -> Iterator[None]:
        """Tells those who wait for the blocks in `left` when they cannot be brought."""
        content = job.content
        try:
            yield
        except (OSError, NoSpace) as exc:
            log.debug("%s: read past the cache: %s", content.key, exc)
            self._delivery.divert(content, content.give_up(backing, left))
        except GaveWay as exc:
            self._fetch_later(content, content.give_up(backing, left), exc)
        except Error as exc:
            self._failed(job, content.give_up(backing, left), exc)
        except Exception as exc:
            error = Unavailable(f"fetching failed: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            self._failed(job, content.give_up(backing, left), error)
            raise

    def _failed(self, job: Job, waiters: list[Waiter], error: Error) -> None:
        """Tell those who wait for this source; who has another one, has that tried."""
        fail([waiter for waiter in waiters if waiter.source is job.source], error)
        others = [waiter for waiter in waiters if waiter.source is not job.source]
        self._fetch_anew(job.content, others)

    def _bring_whole(self, job: Job, buffer: memoryview, on_taken: Callable[[], None]) -> None:
        """Bring a small content: all of it is hashed before any of it is written."""
        content = job.content
        if not content.take_whole():
            return
        on_taken()
        with self._failing(job, None, (0,)):
            with self._store.arrival(content.key) as arrival:
                if not arrival.claim():
                    self._await_others(job, None, [0])
                    return
                backing = self._store.open(content.key)  # it may have landed just before
                if backing is None:
                    backing = self._downloads.bring_whole(job, buffer, arrival)
            if backing is None:
                self._prover.reject(content, None, self._fetch_anew)
            elif content.use(backing) is backing and backing.is_whole:
                self._prover.accept(content, backing)
            else:
                self._submit(replace(job, body=None))

    def _await_others(self, job: Job, backing: Backing | None, blocks: list[int]) -> None:
        """Look again soon for blocks that another process is fetching, if somebody waits."""
        now = time.monotonic()
        since = job.since or now
        # Who must not be served past the cache has no better way than to wait.
        patience = DEADLINE if job.content.is_proven_first else FOREIGN_PATIENCE
        if now - since > patience:
            self._delivery.divert(job.content, job.content.give_up(backing, blocks))
            return
        pause = min(job.pause * 1.5, _POLL_MOST) if job.since else POLL_FIRST
        for first, stop in runs(job.content.let_go(backing, blocks)):
            again = Job(job.content, job.source, first, stop, is_wanted=True)
            self._submit(replace(again, since=since, pause=pause), delay=pause)

    def _fetch_later(self, content: Content, waiters: list[Waiter], error: GaveWay) -> None:
        """Have those that still have time wait for their turn once more."""
        now = time.monotonic()
        fail([waiter for waiter in waiters if waiter.until <= now], error)
        self._fetch_anew(content, [waiter for waiter in waiters if waiter.until > now])


def _release(backing: Backing, blocks: Iterable[int]) -> None:
    for first, stop in runs(sorted(blocks)):
        backing.release(first, stop)
