"""What a registry's client puts up with, when it asks again, and how it waits until then.

Knows no request: it is given what to try. Waits end at once when the client is closed. Safe for
many threads; the gates of the hosts have their own lock.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from modelfs import waiting
from modelfs.errors import DeadlinePassed, Error, TooManyRequests, Unavailable, without_frames
from modelfs.registry import connections, patience
from modelfs.waiting import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client puts up with. Seconds and bytes.

    `total` is for one call with all its retries; with what its caller adds it stays below
    `waiting.DEADLINE`. `read` is for the next piece of an answer, and for all of its head. The
    official client pages 200 names at a time; `document` is a hundred times what those need.
    With three of ten requests failing, ten attempts all fail once in 170,000 calls; the first few
    give up early on an answer that is lost, so that there is time for the others.

    `connections` are to one host: 96 for bytes, should none of them come, and some for questions.
    `submit` is for what is asked once and takes as long as it takes; `stall` for the storage to
    say something about an upload whose bytes it has.
    """

    connect: float = 5.0
    read: float = 10.0
    total: float = 20.0
    document: int = 16 << 20
    attempts: int = 10
    quick_tries: int = 4
    first_wait: float = 0.2
    longest_wait: float = 4.0
    submit: float = 120.0
    stall: float = 20.0
    connections: int = 128


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call: until when it may take, and how long for each read.

    `is_quick`: an answer that is late is given up earlier than `Limits.read`, to be asked for
    again. `read`, unless 0, is instead of `Limits.read`.
    """

    deadline: float
    is_quick: bool
    read: float = 0.0


class Closed(TooManyRequests):
    """The host wants more rest than this call has time."""


class Retries:
    """How one client tries again. `closing` is set when nobody is to wait any more."""

    def __init__(self, limits: Limits, clock: Clock, closing: threading.Event) -> None:
        self.gates = patience.Gates(clock)
        self._limits = limits
        self._clock = clock
        self._closing = closing

    def retried(
        self, once: Callable[[Attempt], T], is_idempotent: bool, total: float | None = None
    ) -> T:
        """What `once` gives, tried again where that is safe and may help."""
        total = self._limits.total if total is None else total
        deadline = self._clock() + total
        tries = itertools.count()

        def attempt() -> T:
            is_quick = is_idempotent and next(tries) < self._limits.quick_tries
            try:
                return once(Attempt(deadline, is_quick))
            except Error as exc:
                without_frames(exc)
                raise

        def is_worth_it(error: BaseException) -> bool:
            if isinstance(error, Closed | connections.Final | waiting.GaveWay):
                return False
            if not isinstance(error, Unavailable):
                return False
            return is_idempotent or isinstance(error, connections.NotSent | TooManyRequests)

        retrying = Retrying(
            retry=retry_if_exception(is_worth_it),
            wait=self._wait_before,
            stop=stop_after_attempt(self._limits.attempts) | stop_before_delay(total),
            sleep=self.sleep,
            before_sleep=_log_retry,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except Error as exc:
            without_frames(exc)
            raise

    def _wait_before(self, state: RetryCallState) -> float:
        """Seconds before the next attempt; after a 429 the gate of the host knows."""
        if state.outcome is not None and isinstance(state.outcome.exception(), TooManyRequests):
            return 0.0
        # Full jitter: clients that failed together do not come back together.
        return wait_random_exponential(self._limits.first_wait, self._limits.longest_wait)(state)

    def wait_for(self, host: str, deadline: float) -> None:
        """Wait until `host` may be asked; raise TooManyRequests at once if that is too late."""
        delay = self.gates.delay(host)
        while delay:
            if self._clock() + delay >= deadline:
                raise Closed(f"{host} asks to be left alone for {delay:.0f} s")
            self.sleep(delay)
            delay = self.gates.delay(host, has_waited=True)
        if self._clock() >= deadline:
            raise DeadlinePassed(f"no answer of {host} within {self._limits.total:g} s")

    def pause(self, losses: int) -> None:
        """Wait a little before a body is resumed, longer after more losses in a row."""
        longest = min(self._limits.longest_wait, self._limits.first_wait * 2 ** (losses - 1))
        self.sleep(patience.jittered(longest))

    def sleep(self, seconds: float) -> None:
        if (turn := waiting.turn()) and turn.is_over:
            raise waiting.GaveWay("nothing came, and others waited for that place")
        if self._closing.wait(seconds):
            raise connections.Final("the registry's client is closed")


def _log_retry(state: RetryCallState) -> None:
    if state.outcome is not None:
        log.debug("attempt %d failed: %s", state.attempt_number, state.outcome.exception())
