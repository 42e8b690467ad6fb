"""Brings missing blocks from a Source to a file of the cache and to who waits for them.

The steps of a job, on a thread of the crew: take blocks that nobody in this process fetches, look
which of them another process has brought meanwhile, claim the rest from other processes, make
room, fetch them with one request, and wake every reader as soon as its last block has landed. What
the cache's disk does not take goes straight to the readers (direct). No lock of its own.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from modelfs.bodies import Body, Source
from modelfs.buffers import Buffers, Loan
from modelfs.cache.arriving import Arrival
from modelfs.cache.backing import Backing
from modelfs.cache.blockmap import BLOCK, block_count, runs
from modelfs.cache.content import Content
from modelfs.cache.crew import Crew
from modelfs.cache.direct import expect_end, fill, read_past
from modelfs.cache.keys import legible
from modelfs.cache.readahead import Stretch
from modelfs.cache.settle import Settler
from modelfs.cache.space import Room
from modelfs.cache.store import Store
from modelfs.cache.waiters import Waiter, fail
from modelfs.errors import Corrupt, Error, NoSpace, Unavailable
from modelfs.waiting import DEADLINE, Clock, GaveWay

log = logging.getLogger(__name__)

# Another process is about to land the block: look often at first, then less.
_POLL_FIRST, _POLL_MOST = 0.002, 0.05
# It may also have been stopped for good; then its blocks are read past the cache.
FOREIGN_PATIENCE = 15.0

# A tenth of what a thread at work gets, where there are not processors enough for both.
_NICE = 10

# After the disk refused a file, it is not asked again for each read.
_REFUSED_FOR = 2.0


@dataclass(frozen=True, slots=True)
class Job:
    """The blocks [first, stop) of a content, wanted by a reader now or perhaps later."""

    content: Content
    source: Source
    first: int
    stop: int
    is_wanted: bool
    # The answer to a request for exactly these blocks, if it has been made already.
    body: Body | None = None
    # What the blocks are of that nobody waits for yet; it may have become more, or less.
    stretch: Stretch | None = None
    # Since when, and how often, another process has been waited for.
    since: float = 0.0
    pause: float = _POLL_FIRST


class Fetcher:
    """Fetches blocks with a crew."""

    def __init__(
        self,
        store: Store,
        room: Room,
        crew: Crew,
        memory: Buffers,
        clock: Clock,
        settler: Settler,
        learn: Callable[[Content], None],
        on_reject: Callable[[Backing], None],
        prover: Crew,
        on_proof: Callable[[Content, Backing], None],
    ) -> None:
        self._store = store
        self._room = room
        self._crew = crew
        self._memory = memory
        self._clock = clock
        self._settler = settler
        # Told of a content whose hash was worked out block by block, once it is right.
        self._learn = learn
        # Told of a file whose bytes turned out wrong, before those who wait for more of them.
        self._on_reject = on_reject
        # Compares contents with their digests for which nobody waits.
        self._prover = prover
        # Told of a content for which that has an end, good or bad.
        self._on_proof = on_proof
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
            self._serve(content, backing, [waiter])
        return unclaimed

    def want(self, content: Content, source: Source, found: list[tuple[int, int]]) -> None:
        """Bring runs of blocks for readers that wait for them."""
        for first, stop in found:
            self._submit(Job(content, source, first, stop, is_wanted=True))

    def prefetch(self, content: Content, source: Source, stretch: Stretch) -> None:
        """Bring the blocks of `stretch` when there is nothing better to do."""
        self._submit(Job(content, source, 0, 0, is_wanted=False, stretch=stretch))

    def run(
        self, job: Job, buffer: memoryview, on_taken: Callable[[], None] = lambda: None
    ) -> None:
        """Do a part of `job` and see to the rest; `on_taken` once the blocks are this job's."""
        with ExitStack() as stack:
            if job.body is not None:
                stack.enter_context(job.body)
            content = job.content
            if not job.is_wanted and not content.users:
                return  # the reader has gone
            if job.stretch is not None and content.backing is None:
                # No file yet, or not any more: that is for those to settle who wait for bytes.
                job.stretch.pause()
                return
            if content.backing is None and content.is_small:
                self._bring_whole(job, buffer, on_taken)
                return
            backing = self._backing(content)
            if backing is None:
                self._divert(content, content.give_up(None, range(job.first, job.stop)))
                return
            if backing.is_whole:  # found finished, after somebody has begun to wait
                self._serve(content, backing, content.accept(backing))
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
            if not content.is_proven_later:
                self._judge(content, backing)
            elif content.is_proof_due:
                self._prover.submit(lambda _: self._prove(content, backing), group=content.key)

    def _prove(self, content: Content, backing: Backing) -> None:
        """Hash what has come of a content whose last bytes do not wait for that."""
        # What somebody waits for goes first.
        thread = threading.get_native_id()
        # Never up, which nobody may who was started with less.
        lowest = max(_NICE, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, lowest)
        self._judge(content, backing)
        if not content.is_unproven:
            self._on_proof(content, backing)

    def _judge(self, content: Content, backing: Backing) -> None:
        """Hash what has come; accept or drop the content when all of it has."""
        try:
            verdict = content.hash_forward(backing, self._crew.moved, self._memory)
        except OSError as exc:
            log.debug("%s: cannot be read: %s", content.key, exc)
            self.lose(content, backing)
            return
        if verdict is None:
            return
        if verdict:
            self._accept(content, backing)
            return
        self._store.drop(content.key, backing.inode)
        self._reject(content, backing)

    def _reject(self, content: Content, backing: Backing | None) -> None:
        """Tell readers that the bytes were wrong, or try again for them."""
        waiting = content.reject(backing)
        if backing is not None and backing.is_bad:
            self._on_reject(backing)
        for waiter in waiting:
            if waiter.reader.is_misled:
                fail([waiter], content.failure or misled())
            else:
                self._fetch_anew(content, [waiter])

    def _fetch_anew(self, content: Content, waiters: list[Waiter]) -> None:
        for waiter in waiters:
            waiter.left, waiter.is_done = 0, False
            self.fetch(content, waiter)

    def lose(self, content: Content, backing: Backing) -> None:
        """Stop using a file that cannot be read any more."""
        self._store.drop(content.key, backing.inode)
        self._divert(content, content.lose(backing))

    def _accept(self, content: Content, backing: Backing) -> None:
        if not backing.is_suspect:
            self._learn(content)
        self._settle(content, backing)
        self._serve(content, backing, content.accept(backing))

    def _settle(self, content: Content, backing: Backing) -> None:
        """Have the file finished, unless the disk does not let us look at it."""
        try:
            self._settler.add(content.key, backing.instance())
        except OSError as exc:
            log.debug("%s: not finished: %s", content.key, exc)

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
        with self._failing(job, backing, left), ExitStack() as held:
            held.callback(_release, backing, claimed)
            if backing.claim_blank(blocks[0], blocks[-1] + 1):
                claimed.update(blocks)
            else:
                left.difference_update(self._look_again(job, backing, blocks, claimed))
            for first, stop in list(runs(sorted(claimed))):
                self._download(job, backing, first, stop, buffer, claimed, left)
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
            self._serve(content, backing, content.arrived(backing, block, (crc,)))
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
            self._divert(content, content.give_up(backing, left))
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

    def _download(
        self,
        job: Job,
        backing: Backing,
        first: int,
        stop: int,
        buffer: memoryview,
        claimed: set[int],
        left: set[int],
    ) -> None:
        """Fetch the run of blocks [first, stop) with one request, landing a few at a time."""
        content = job.content
        start, end = first * BLOCK, min(stop * BLOCK, content.size)
        self._room.reserve(end - start)
        came, landed, begun = 0, 0, time.monotonic()

        def moved(count: int) -> None:
            nonlocal came
            came += count
            self._crew.moved(count)

        def land(view: memoryview) -> None:
            nonlocal landed
            at = first + landed // BLOCK
            after = at + block_count(len(view))
            crcs = backing.write(at, view)
            landed += len(view)
            backing.release(at, after)
            claimed.difference_update(range(at, after))
            left.difference_update(range(at, after))
            self._serve(content, backing, content.arrived(backing, at, crcs))

        content.pace.begin()
        try:
            with (
                self._memory.take(BLOCK, content.place) as loan,
                self._body(job, first, stop) as body,
            ):
                # One block first: it may be all that somebody waits for.
                for view in _views(buffer, loan, end - start):
                    if not job.is_wanted and not content.users:
                        return  # the reader has gone
                    came = 0
                    try:
                        fill(body, view, moved)
                    except Error:
                        if came >= BLOCK:
                            land(view[: came - came % BLOCK])
                        raise
                    if landed + came == end - start:
                        expect_end(body)
                    land(view)
        finally:
            content.pace.end(landed, time.monotonic() - begun)
            self._room.refund(end - start - landed)

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
                    backing = self._land(job, buffer[: content.size], arrival)
            if backing is None:
                self._reject(content, None)
            elif content.use(backing) is backing and backing.is_whole:
                self._settle(content, backing)
                self._serve(content, backing, content.accept(backing))
            else:
                self._submit(replace(job, body=None))

    def _land(self, job: Job, view: memoryview, arrival: Arrival) -> Backing | None:
        """Fetch and keep all of a small content; None if the bytes are wrong."""
        content = job.content
        self._room.reserve(content.size)
        backing = None
        try:
            with (
                self._memory.take(content.size, content.place),
                self._body(job, 0, 1) as body,
            ):
                fill(body, view, self._crew.moved)
                expect_end(body)
            if content.is_right(view):
                backing = arrival.land(view)
        finally:
            if backing is None:
                self._room.refund(content.size)
        return backing

    @contextmanager
    def _body(self, job: Job, first: int, stop: int) -> Iterator[Body]:
        """The bytes of the run of blocks [first, stop), asked for unless that has been done."""
        content = job.content
        with ExitStack() as stack:
            body = job.body if (job.first, job.stop) == (first, stop) else None
            if body is None:
                end = min(stop * BLOCK, content.size)
                body = stack.enter_context(job.source(first * BLOCK, end))
            content.agree(legible(body.digests))
            yield body

    def _await_others(self, job: Job, backing: Backing | None, blocks: list[int]) -> None:
        """Look again soon for blocks that another process is fetching, if somebody waits."""
        now = time.monotonic()
        since = job.since or now
        # Who must not be served past the cache has no better way than to wait.
        patience = DEADLINE if job.content.is_proven_first else FOREIGN_PATIENCE
        if now - since > patience:
            self._divert(job.content, job.content.give_up(backing, blocks))
            return
        pause = min(job.pause * 1.5, _POLL_MOST) if job.since else _POLL_FIRST
        for first, stop in runs(job.content.let_go(backing, blocks)):
            again = Job(job.content, job.source, first, stop, is_wanted=True)
            self._submit(replace(again, since=since, pause=pause), delay=pause)

    def _fetch_later(self, content: Content, waiters: list[Waiter], error: GaveWay) -> None:
        """Have those that still have time wait for their turn once more."""
        now = time.monotonic()
        fail([waiter for waiter in waiters if waiter.until <= now], error)
        self._fetch_anew(content, [waiter for waiter in waiters if waiter.until > now])

    def _serve(self, content: Content, backing: Backing, waiters: list[Waiter]) -> None:
        """Give readers the bytes that `backing` has now."""
        for waiter in waiters:
            size = waiter.stop - waiter.start
            try:
                data = os.pread(backing.fd, size, waiter.start)
            except OSError:
                data = b""
            if not waiter.reader.serve(backing):
                fail([waiter], content.failure or misled())
            elif len(data) == size:
                waiter.future.set_result(data)
            else:
                self._divert(content, [waiter])
                self.lose(content, backing)

    def _divert(self, content: Content, waiters: list[Waiter]) -> None:
        """Serve readers without the cache, unless they want nothing that is not proven."""
        if content.is_proven_first:
            fail(waiters, Unavailable(f"cannot be kept, so not verified first: {content.key}"))
            return
        if content.queue_direct(waiters):
            self._crew.submit(
                lambda _: read_past(content, self._crew.moved, self._memory),
                group=content.key,
                place=content.place,
            )


def _views(buffer: memoryview, loan: Loan, size: int) -> Iterator[memoryview]:
    """The pieces in which `size` bytes come by way of `buffer`, as much of it as `loan` is for."""
    at = 0
    while at < size:
        step = loan.size
        yield buffer[: min(step, size - at)]
        at += step
        # Not before something came: most of those that get stuck have had nothing.
        loan.grow(min(len(buffer), size))


def _release(backing: Backing, blocks: Iterable[int]) -> None:
    for first, stop in runs(sorted(blocks)):
        backing.release(first, stop)


def misled() -> Corrupt:
    """For a reader that has been given bytes of a file that turned out wrong."""
    return Corrupt("bytes that were read do not have the digest the registry tells")
