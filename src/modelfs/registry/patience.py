"""How long to leave a host alone: what it asked for, or longer each time it complains. No I/O.

Owns, per host, the moment before which nobody asks it again; all threads of a client share it,
so that one 429 makes everybody wait. One lock, held for arithmetic only.
"""

from __future__ import annotations

import random
import threading
from email.utils import parsedate_to_datetime

from modelfs.waiting import Clock

# A host that asks for more is believed for an hour, then asked again: a wrong date in a header
# must not end a mount's life.
LONGEST = 3600.0
# Without Retry-After: half a second at first, doubled with each refusal in a row.
_FIRST, _DOUBLINGS = 0.5, 6
# Those who waited for one moment do not all come in that moment.
_SPREAD = 0.25


class Gates:
    """Which hosts asked to be left alone, and until when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._opens: dict[str, float] = {}
        self._refusals: dict[str, int] = {}

    def delay(self, host: str) -> float:
        """Seconds until `host` may be asked; 0 if it may be now."""
        with self._lock:
            left = self._opens.get(host, 0.0) - self._clock()
        return left + random.uniform(0, _SPREAD) if left > 0 else 0.0  # noqa: S311

    def refused(self, host: str, asked: float | None) -> None:
        """`host` wants `asked` seconds of rest (None: it did not say how many)."""
        with self._lock:
            count = self._refusals.get(host, 0)
            self._refusals[host] = count + 1
            if asked is None:
                asked = _FIRST * 2 ** min(count, _DOUBLINGS) * random.uniform(0.5, 1)  # noqa: S311
            opens = self._clock() + min(asked, LONGEST)
            self._opens[host] = max(opens, self._opens.get(host, 0.0))

    def answered(self, host: str) -> None:
        """`host` is content."""
        with self._lock:
            self._refusals.pop(host, None)


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


def jittered(longest: float) -> float:
    """Some seconds, at most `longest`, so that those who failed together come back apart."""
    return random.uniform(0, longest)  # noqa: S311
