"""How long to leave a host alone, and how long to wait for it. No I/O.

Owns, per host, the moment before which nobody asks it again (what it asked for, or longer each
time it complains) and how slow its answers were lately. All threads of a client share it, so
that one 429 makes everybody wait. One lock, held for arithmetic only.
"""

from __future__ import annotations

import random
import re
import threading
from email.utils import parsedate_to_datetime

from modelfs.waiting import Clock

# A host that asks for more is believed for an hour, then asked again: a wrong date in a header
# must not end a mount's life.
LONGEST = 3600.0
# Without Retry-After: half a second at first, doubled with each refusal in a row, up to 8 s.
_FIRST, _DOUBLINGS = 0.5, 4
# Those who waited for one moment do not all come in that moment.
_SPREAD = 0.25
_RESET = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
# A host that usually answers at once is not waited for long: its answer got lost. One that was
# slow lately may be three times as slow before it is given up.
_QUICK, _SLOWER, _FADES = 2.0, 3.0, 0.95


class Gates:
    """Which hosts asked to be left alone, and until when; how slow they are."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Moments before which nobody asks: those that hosts asked for, and our own guesses.
        self._asked: dict[str, float] = {}
        self._rests: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        self._usual: dict[str, float] = {}

    def delay(self, host: str, *, has_waited: bool = False) -> float:
        """Seconds until `host` may be asked; 0 if it may be now.

        A rest that the host did not ask for is kept once by each caller: with many of them, one
        would be refused in every moment, and some would wait for ever.
        """
        with self._lock:
            opens = self._asked.get(host, 0.0)
            if not has_waited:
                opens = max(opens, self._rests.get(host, 0.0))
            left = opens - self._clock()
        return left + jittered(_SPREAD) if left > 0 else 0.0

    def refused(self, host: str, asked: float | None) -> None:
        """`host` wants `asked` seconds of rest (None: it did not say how many)."""
        with self._lock:
            now = self._clock()
            if asked is not None:
                self._asked[host] = max(now + min(asked, LONGEST), self._asked.get(host, 0.0))
            elif self._rests.get(host, 0.0) <= now:  # else it was sent before the rest began
                count = self._refusals.get(host, 0)
                self._refusals[host] = count + 1
                rest = _FIRST * 2 ** min(count, _DOUBLINGS)
                self._rests[host] = now + rest / 2 + jittered(rest / 2)

    def answered(self, host: str, seconds: float) -> None:
        """`host` is content, and took `seconds` to begin its answer."""
        with self._lock:
            self._refusals.pop(host, None)
            self._usual[host] = max(seconds, self._usual.get(host, 0.0) * _FADES)

    def quick(self, host: str) -> float:
        """Seconds after which an answer of `host` that has not begun is unlikely to come."""
        with self._lock:
            return max(_QUICK, _SLOWER * self._usual.get(host, 0.0))


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, `now` being the time of day; None if unclear."""
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), LONGEST)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return min(max(moment.timestamp() - now, 0.0), LONGEST)


def reset_after(text: str | None, now: float) -> float | None:
    """Seconds until the moment of an x-ratelimit-reset header; None if unclear, or if it is past.

    WriftAI's API writes the time of day there, its container registry the seconds that are left.
    """
    text = (text or "").strip()
    if not _RESET.fullmatch(text):
        return None
    value = float(text)
    left = value if value <= LONGEST else value - now
    return min(left, LONGEST) if left > 0 else None


def jittered(longest: float) -> float:
    """Some seconds, at most `longest`, so that those who failed together come back apart."""
    return random.uniform(0, longest)  # noqa: S311
