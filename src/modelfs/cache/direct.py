"""Reads past the cache: when its disk is full, read-only, broken or gone, readers still read.

One request at a time per content, each somewhat larger than asked and kept until the next, so that
the kernel's pieces of one read-ahead are one request. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable

from modelfs.bodies import Body
from modelfs.cache.content import Content, Waiter, fail
from modelfs.cache.keys import Check, legible
from modelfs.errors import Corrupt, Error, Unavailable

# Of a reader that goes on where the last request ended, and of any other.
_AHEAD, _ALONE = 4 << 20, 1 << 18


# Told of bytes as they come.
Moved = Callable[[int], None]


def read_past(content: Content, moved: Moved) -> None:
    """Serve everybody who waits to be served past the cache."""
    while (waiter := content.next_direct()) is not None:
        try:
            data = _bytes_for(content, waiter, moved)
        except Error as exc:
            fail([waiter], exc)
        except Exception as exc:
            error = Unavailable(f"fetching failed: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            fail([waiter], error)
        else:
            waiter.future.set_result(data)


def _bytes_for(content: Content, waiter: Waiter, moved: Moved) -> bytes:
    start, data = content.window
    if not start <= waiter.start <= waiter.stop <= start + len(data):
        goes_on = bool(data) and start <= waiter.start <= start + len(data)
        size = max(waiter.stop - waiter.start, _AHEAD if goes_on else _ALONE)
        start = waiter.start
        data = _request(content, waiter, start, min(start + size, content.size), moved)
        # A caller that asks for more at once than a window has keeps it itself.
        content.window = (start, data if len(data) <= _AHEAD else b"")
    return data[waiter.start - start : waiter.stop - start]


def _request(content: Content, waiter: Waiter, start: int, stop: int, moved: Moved) -> bytes:
    data = bytearray(stop - start)
    with waiter.source(start, stop) as body:
        content.agree(legible(body.digests))
        fill(body, memoryview(data), moved)
        expect_end(body)
    if len(data) == content.size:
        check = Check.strongest(content.digests)
        hasher = check.hasher()
        hasher.update(bytes(data))
        if not check.accepts(hasher.hexdigest()):
            raise Corrupt(f"the registry's bytes do not have the {check.name} it tells")
    return bytes(data)


def fill(body: Body, view: memoryview, moved: Moved) -> None:
    """Fill all of `view` from `body`; raises Corrupt if it ends before."""
    filled = 0
    while filled < len(view):
        count = body.readinto(view[filled:])
        if not 0 < count <= len(view) - filled:
            raise Corrupt(f"the registry's answer ended {len(view) - filled} bytes early")
        filled += count
        moved(count)


def expect_end(body: Body) -> None:
    """Raises Corrupt if `body` has more than was asked for."""
    if body.readinto(memoryview(bytearray(1))):
        raise Corrupt("the registry's answer is longer than what was asked for")
