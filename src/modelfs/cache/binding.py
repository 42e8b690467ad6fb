"""From the name of a file to its content, when the registry tells digests only with the bytes.

The first bytes that a reader wants are asked for, and the answer says which content they belong to;
if that is here already, the answer is dropped. One thread of one process does that for a name,
everybody else waits for the outcome. Each name has a lock for who waits, never held across I/O.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from modelfs.bodies import Body, Source
from modelfs.cache.blockmap import BLOCK
from modelfs.cache.content import Content
from modelfs.cache.crew import Crew
from modelfs.cache.digestlog import Claim, DigestLog, Known
from modelfs.cache.downloading import Job
from modelfs.cache.fetching import FOREIGN_PATIENCE, Fetcher
from modelfs.cache.keys import content_key, identity_hash, legible, private_key
from modelfs.cache.readahead import Stretch
from modelfs.cache.waiters import Waiter, fail
from modelfs.errors import Error, Unavailable
from modelfs.model import Digests
from modelfs.waiting import DEADLINE, GaveWay

# Others wait for the outcome of the first request, so it is not a long one.
_FIRST_BLOCKS = 4
# Another process is asking; a request takes tens of milliseconds.
_POLL = 0.01


class Name:
    """A file of a registry that is open, and the content it stands for once that is known."""

    def __init__(self, identity: str, size: int, source: Source, place: str) -> None:
        self.identity = identity
        self.hash = identity_hash(identity)
        self.size = size
        self.source = source
        self.place = place
        # Both are the cache's: how often it is open, and the content that is counted as used.
        self.users = 0
        self.bound: Content | None = None
        # What readers see.
        self.content: Content | None = None
        self._lock = threading.Lock()
        self._waiting: list[Waiter] = []
        self._stretches: list[Stretch] = []
        self._is_binding = False

    @property
    def has_failed(self) -> bool:
        """What it was taken to stand for may not be what it is."""
        content = self.content
        return content is not None and (content.failure is not None or content.is_contested)

    def enqueue(self, waiter: Waiter) -> bool:
        """Wait for the content to be known; True if the caller has to find out."""
        with self._lock:
            self._waiting.append(waiter)
            if self._is_binding:
                return False
            self._is_binding = True
            return True

    def keep(self, stretch: Stretch) -> Content | None:
        """The content to fetch `stretch` of; while it is not known, the stretch is kept for it."""
        with self._lock:
            if self.content is None:
                self._stretches.append(stretch)
            return self.content

    def take_stretches(self) -> list[Stretch]:
        with self._lock:
            stretches, self._stretches = self._stretches, []
            return stretches

    def wanted(self) -> Waiter | None:
        """Who has waited longest."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def take_waiting(self) -> list[Waiter]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting

    def show(self, content: Content) -> list[Waiter]:
        """The content is known; those that still wait for that."""
        with self._lock:
            self.content = content
            self._is_binding = False
            waiting, self._waiting = self._waiting, []
            return waiting

    def give_up(self) -> list[Waiter]:
        """The content could not be found out; the next reader tries again."""
        with self._lock:
            self._is_binding = False
            waiting, self._waiting = self._waiting, []
            return waiting


class Binder:
    """Finds out what names stand for. `acquire` gives the content of a key, for a name."""

    def __init__(
        self,
        log: DigestLog,
        fetcher: Fetcher,
        crew: Crew,
        acquire: Callable[[Name, str, Digests], Content],
    ) -> None:
        self._log = log
        self._fetcher = fetcher
        self._crew = crew
        self._acquire = acquire

    def fetch(self, name: Name, waiter: Waiter) -> None:
        """Serve `waiter` with bytes of the file that `name` names."""
        if name.enqueue(waiter):
            since = time.monotonic()
            self._crew.submit(lambda buffer: self._bind(name, since, buffer), place=name.place)
        content = name.content
        if content is not None:  # known by now; nobody else may come for those that wait
            self._show(name, content)

    def look_ahead(self, name: Name, stretch: Stretch) -> None:
        """Have the bytes of `stretch` fetched, at the latest when it is known what they are of."""
        if (content := name.keep(stretch)) is not None:
            self._fetcher.prefetch(content, name.source, stretch)

    def _bind(self, name: Name, since: float, buffer: memoryview) -> None:
        try:
            if name.content is not None:
                self._show(name, name.content)
                return
            claim = self._log.claim(name.hash)
            if claim is None:
                if self._is_known(name):
                    return
                if time.monotonic() - since < FOREIGN_PATIENCE:
                    self._crew.submit(
                        lambda view: self._bind(name, since, view), place=name.place, delay=_POLL
                    )
                    return
                claim = Claim(None)
            with claim:
                if not self._is_known(name):
                    self._ask(name, buffer)
        except GaveWay as exc:
            if time.monotonic() - since < DEADLINE:
                self._crew.submit(lambda view: self._bind(name, since, view), place=name.place)
            else:
                fail(name.give_up(), exc)
        except Error as exc:
            fail(name.give_up(), exc)
        except Exception as exc:
            error = Unavailable(f"fetching failed: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            fail(name.give_up(), error)
            raise

    def _is_known(self, name: Name) -> bool:
        known = self._log.find(name.hash, name.size)
        if known is None:
            return False
        key = content_key(known.told, name.size) or private_key(name.identity, name.size)
        self._show(name, self._acquire(name, key, known.told))
        return True

    def _ask(self, name: Name, buffer: memoryview) -> None:
        """Ask for the first bytes somebody wants, and learn from the answer whose they are."""
        waiter = name.wanted()
        if waiter is None:
            name.give_up()
            return
        first, stop = waiter.first, min(waiter.after, waiter.first + _FIRST_BLOCKS)
        body = waiter.source(first * BLOCK, min(stop * BLOCK, name.size))
        try:
            told = legible(body.digests)
            key = content_key(told, name.size) or private_key(name.identity, name.size)
            content = self._acquire(name, key, told)
        except BaseException:
            _close(body)
            raise
        if content.backing is not None:
            # Who is served with what is here may look at once where it is.
            name.content = content
        # Those that wait now share the fate of this request.
        waiting = name.take_waiting()
        unclaimed = [(each, self._fetcher.enlist(content, each)) for each in waiting]
        job = Job(content, waiter.source, first, stop, is_wanted=True, body=body)
        self._fetcher.run(job, buffer, lambda: self._show(name, content))
        for each, found in unclaimed:
            self._fetcher.want(content, each.source, found)
        self._show(name, content)
        # Not before: another process that knows would ask for the same bytes at once.
        if not content.is_doubtful:
            known = self._log.find(name.hash, name.size)
            self._log.add(name.hash, Known(name.size, told, known.seen if known else ""))
        if content.is_doubtful:  # by now; who has closed the file has not seen this line
            self._log.forget(name.hash)

    def _show(self, name: Name, content: Content) -> None:
        for waiter in name.show(content):
            self._fetcher.fetch(content, waiter)
        for stretch in name.take_stretches():
            self._fetcher.prefetch(content, name.source, stretch)


def _close(body: Body) -> None:
    with body:
        pass
