"""The session loop: threads of ours that take requests from the kernel and hand them to libfuse.

libfuse's own loop starts a thread per concurrent request, all of which fight for the interpreter
lock; a single thread would let one stalled read stop the mount. Here a small number of threads
(`workers`) serve, and a thread that has to wait says so first (`wait`), so that another takes its
place; when it is done waiting it finishes its request and rests if there are enough others.

Owns: the threads, and for each request that waits, the means to interrupt it. One lock guards the
counts; it is never held across a call into libfuse or a wait.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import mmap
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from modelfs.errors import DeadlinePassed, Error, Interrupted
from modelfs.mount import wire
from modelfs.mount.answers import Answers
from modelfs.mount.current import Current
from modelfs.mount.library import Session
from modelfs.mount.openfiles import process_of
from modelfs.mount.outgoing import Outgoing
from modelfs.mount.overlay import Overlay
from modelfs.mount.passthrough import Passthrough
from modelfs.mount.spares import Spares
from modelfs.waiting import DEADLINE, wait

log = logging.getLogger(__name__)

T = TypeVar("T")

# More threads than this serving at once only fight for the interpreter lock.
WORKERS = 2
# Threads, waiting ones included; above it the kernel queues requests. Each costs a stack and a
# request buffer, of which only touched pages count.
LIMIT = 512

# Requests whose answers we patch or look at; the answers to all others go straight out.
_PATCHED = frozenset(
    {
        *(wire.Op.LOOKUP, wire.Op.GETATTR, wire.Op.OPEN, wire.Op.OPENDIR, wire.Op.CREATE),
        *(wire.Op.MKDIR, wire.Op.READDIRPLUS, wire.Op.LINK, wire.Op.SETATTR),
    }
)
# Requests that name more than the one thing they are about.
_ABOUT_OTHERS = (wire.Op.LINK, wire.Op.BATCH_FORGET)

# The request was interrupted before we read it; the call was; nothing to read yet.
_TRY_AGAIN = (errno.ENOENT, errno.EINTR, errno.EAGAIN)


class SessionLoop:
    """Serves one mount of `library` (libfuse 2.9, loaded) until it ends."""

    def __init__(
        self, library: ctypes.CDLL, passthrough: Passthrough, *, workers: int = WORKERS
    ) -> None:
        self._library = library
        self._workers = workers
        self._lock = threading.Lock()
        self._serving = 0  # threads that read or serve, guarded by the lock
        self._threads = 0  # all of them, guarded by the lock
        self._busy = 0  # requests being served, guarded by the lock
        self._taken = 0  # requests so far, guarded by the lock
        self._spares = Spares()
        # Requests that wait; set before what they wait for is done, an event interrupts.
        self._waiting: dict[int, threading.Event] = {}
        self._passthrough = passthrough
        self._answers = Answers()
        # Answers before libfuse is asked; set before `start`, None to have all asked of libfuse.
        self.overlay: Overlay | None = None
        self._current = Current()
        self._outgoing = Outgoing(self._current, passthrough, lambda: self.reply)
        self._begun: Future[None] = Future()  # the kernel's first request was answered
        self._ended = threading.Event()
        self.fd = -1  # the connection to the kernel, once started
        self._session: Session | None = None  # likewise

    # What the file system calls while it serves a request.

    def wait(self, future: Future[T], /) -> T:
        """The result of `future`, while other requests are served.

        Raises DeadlinePassed, or Interrupted when the calling process was told to stop.
        """
        if future.done() or not self._current.unique:
            return wait(future)
        self._current.give_back()
        awake = threading.Event()
        future.add_done_callback(lambda _: awake.set())
        with self._aside(self._current.unique, awake):
            in_time = awake.wait(DEADLINE)
        if future.done():
            return future.result()
        if not in_time:
            raise DeadlinePassed(f"no answer within {DEADLINE:g} s")
        raise Interrupted("the caller stopped waiting")

    @property
    def reply(self) -> wire.Reply:
        """What to change in the answer to the request that this thread serves."""
        current = self._current
        if current.reply is None:
            is_lookup = current.opcode == wire.Op.LOOKUP
            current.reply = wire.Reply(current.node, wire.is_of_link(current.node), is_lookup)
            current.reply.is_passing = self._passthrough.is_on
            current.reply.uid = current.uid
        return current.reply

    @property
    def caller(self) -> int:
        """The process that is served; 0 if that cannot be told."""
        return process_of(self._current.pid)

    @property
    def progress(self) -> int | None:
        """How many requests were taken, if no thread is there for the next; else None."""
        with self._lock:
            is_free = self._serving > self._busy - len(self._waiting)
            return None if is_free or self._ended.is_set() else self._taken

    @property
    def gauges(self) -> dict[str, int]:
        """How many requests are served, how many of them wait, and by how many threads."""
        with self._lock:
            # The one that asks is none of them.
            requests = self._busy - bool(self._current.unique)
            return {
                "requests": requests,
                "requests_waiting": len(self._waiting),
                "request_threads": self._threads,
            }

    # The life of the loop.

    def end(self) -> None:
        """Let `join` return. Safe from any thread, but not in a signal handler."""
        self._ended.set()

    def start(self, session: Any, channel: Any) -> None:
        """Begin to serve `session`, whose libfuse channel to the kernel is `channel`.

        Raises Error if what the kernel offers is not enough.
        """
        self._session = Session(self._library, session, channel, self._outgoing.send)
        self.fd = self._session.fd
        self._outgoing.start(self.fd, self.overlay)
        self._start_thread()
        wait(self._begun)

    def join(self) -> None:
        """Wait until the file system is unmounted or `end` was called."""
        self._ended.wait()

    def drain(self, deadline: float) -> None:
        """Interrupt the requests that wait, and wait until none is being served.

        To be called after `join`, while libfuse can still call back.
        """
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            with self._lock:
                waiting = list(self._waiting.values())
                is_idle = not self._busy
            for awake in waiting:
                awake.set()
            if is_idle:
                return
            time.sleep(0.01)
        log.debug("requests are still being served")

    def _start_thread(self) -> None:
        """Have one thread more that serves."""
        with self._lock:
            self._serving += 1
        if self._spares.call():
            return
        with self._lock:
            self._threads += 1
            number = self._threads
        try:
            threading.Thread(target=self._serve, name=f"fuse-{number}", daemon=True).start()
        except RuntimeError as exc:  # too many for the system; those there are go on
            log.debug("no thread more for requests: %s", exc)
            with self._lock:
                self._serving -= 1
                self._threads -= 1

    def _serve(self) -> None:
        try:
            self._serve_requests()
        finally:
            self._answers.close()

    def _serve_requests(self) -> None:
        """One thread: take a request, see to its answer, until there are enough others."""
        # Of the kernel's, so that pages count when they are touched and go with the thread.
        pages = mmap.mmap(-1, wire.BUFFER_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory = (ctypes.c_char * wire.BUFFER_SIZE).from_buffer(pages)
        view = memoryview(pages)
        self._current.pages = pages
        while not self._ended.is_set():
            try:
                length = os.readv(self.fd, [view])
            except OSError as exc:
                if exc.errno in _TRY_AGAIN:
                    continue
                if exc.errno != errno.ENODEV:
                    log.error("the connection to the kernel broke: %s", exc)
                self.end()
                break
            if not self._begin():
                break
            try:
                self._process(wire.Request.parse(view), memory, view, length)
            except Exception:
                # A request without an answer would hang its caller: rather no mount than that.
                log.exception("the session loop failed")
                self.end()
                break
            if self._is_surplus():
                return
        with self._lock:
            self._serving -= 1
            self._threads -= 1

    def _begin(self) -> bool:
        """Count a request; have `workers` threads, once there is work for more than one.

        False for a request that comes after `end`: libfuse's callbacks may be gone by then.
        """
        with self._lock:
            if self._ended.is_set():
                return False
            self._busy += 1
            self._taken += 1
            is_short = self._serving < self._workers
        if is_short:
            self._start_thread()
        return True

    def _is_surplus(self) -> bool:
        """The request is done; true if this thread should leave, since others suffice.

        Before that it rests: it may be called back, counted as serving.
        """
        with self._lock:
            self._busy -= 1
            if self._serving <= self._workers:
                return False
            self._serving -= 1
        if self._spares.rest():
            return False
        with self._lock:
            self._threads -= 1
        return True

    def _process(self, request: wire.Request, memory: Any, view: memoryview, length: int) -> None:
        if request.opcode == wire.Op.INTERRUPT:
            self._interrupt(request, memory)
            return
        if request.opcode == wire.Op.INIT:
            self._initialize(request, memory, length)
            return
        current = self._current
        current.begin(request)
        if self._answers.is_sent(self.fd, self.overlay, request, view):
            current.end()
            return
        if request.opcode == wire.Op.READDIRPLUS:
            wire.without_attributes(view)
        if request.opcode == wire.Op.LINK:
            current.linked = wire.linked(view)
        if wire.is_of_link(request.node) or request.opcode in _ABOUT_OTHERS:
            wire.unmark(request.opcode, view)
        if request.opcode == wire.Op.RELEASE:
            self._outgoing.released(request.node, wire.released(view))
        assert self._session is not None  # noqa: S101 - there are no requests before `start`
        channel = self._session.patched if request.opcode in _PATCHED else self._session.plain
        self._session.answer(memory, length, channel)
        if current.handle is not None:
            wire.name_handle(view, current.handle)
            self._session.answer(memory, length, channel)
        current.end()

    def _initialize(self, request: wire.Request, memory: Any, length: int) -> None:
        """Show INIT to libfuse, whose own answer nobody hears; then answer it ourselves.

        In this order: with the answer the kernel lets requests through, which another thread may
        take at once, and libfuse fails every request that comes before INIT with EIO.
        """
        init = wire.Init.parse(memory[:length], length)
        assert self._session is not None  # noqa: S101 - there are no requests before `start`
        self._session.show(memory, length)
        log.debug("the kernel speaks FUSE 7.%d and offers %#x", init.minor, init.flags)
        os.write(self.fd, init.reply(request.unique, is_passing=self._passthrough.is_wanted))
        try:
            self._passthrough.start(self.fd, is_offered=init.has_passthrough)
        except Error as exc:
            self._begun.set_exception(exc)
        else:
            self._begun.set_result(None)

    def _interrupt(self, request: wire.Request, memory: Any) -> None:
        """The kernel's caller got a signal: let its request, if it waits, fail with EINTR.

        A request that does not wait yet may still come to: EAGAIN has the kernel ask again, for
        as long as the request is not answered.
        """
        unique = ctypes.c_uint64.from_buffer(memory, wire.IN_HEADER.size).value
        with self._lock:
            awake = self._waiting.get(unique)
        if awake is not None:
            awake.set()
            return
        try:
            os.write(self.fd, wire.OUT_HEADER.pack(16, -errno.EAGAIN, request.unique))
        except OSError as exc:
            log.debug("nobody waits for the interrupted request any more: %s", exc)

    @contextmanager
    def _aside(self, unique: int, awake: threading.Event) -> Iterator[None]:
        """While this thread waits, another one serves in its place."""
        with self._lock:
            self._waiting[unique] = awake
            self._serving -= 1
            is_short = self._serving < self._workers and self._threads < LIMIT
        if is_short:
            self._start_thread()
        try:
            yield
        finally:
            with self._lock:
                self._serving += 1
                del self._waiting[unique]
