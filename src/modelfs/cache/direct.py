"""Reads past the cache: when its disk is full, read-only, broken or gone, readers still read.

One request at a time per content, each somewhat larger than asked and kept until the next, so that
the kernel's pieces of one read-ahead are one request; while there is memory to spare. Nothing is
written.
"""

from __future__ import annotations

from collections.abc import Callable

from modelfs.bodies import Body
from modelfs.buffers import Buffers
from modelfs.cache.content import Content
from modelfs.cache.keys import Check, legible
from modelfs.cache.waiters import Waiter, Window, fail
from modelfs.errors import Corrupt, Error, Unavailable

# Of a reader that goes on where the last request ended, and of any other.
_AHEAD, _ALONE = 4 << 20, 1 << 18


# Told of bytes as they come.
Moved = Callable[[int], None]


def read_past(content: Content, moved: Moved, memory: Buffers) -> None:
    """Serve everybody who waits to be served past the cache, with buffers from `memory`."""
    while (waiter := content.next_direct()) is not None:
        try:
            data = _bytes_for(content, waiter, moved, memory)
        except Error as exc:
            fail([waiter], exc)
        except Exception as exc:
            error = Unavailable(f"fetching failed: {type(exc).__name__}: {exc}")
            error.__cause__ = exc
            fail([waiter], error)
        else:
            waiter.future.set_result(data)


def _bytes_for(content: Content, waiter: Waiter, moved: Moved, memory: Buffers) -> bytes:
    start, stop, window = waiter.start, waiter.stop, content.window
    if window is not None and window.start <= start <= stop <= window.start + len(window.data):
        return bytes(memoryview(window.data)[start - window.start : stop - window.start])
    goes_on = window is not None and window.start <= start <= window.start + len(window.data)
    # Given back before more is asked for.
    window = content.window = None
    if stop - start > _AHEAD:  # who asks for so much at once keeps it himself
        return bytes(_request(content, waiter, start, stop, moved))
    left = content.size - start
    loan = None
    for size in (_AHEAD, _ALONE) if goes_on else (_ALONE,):
        loan = loan or memory.spare(min(max(size, stop - start), left), content.place)
    if loan is None:
        with memory.take(stop - start, content.place):
            return bytes(_request(content, waiter, start, stop, moved))
    data = _request(content, waiter, start, start + loan.size, moved)
    content.window = Window(start, data, loan)
    return bytes(memoryview(data)[: stop - start])


def _request(content: Content, waiter: Waiter, start: int, stop: int, moved: Moved) -> bytearray:
    data = bytearray(stop - start)
    with waiter.source(start, stop) as body:
        content.agree(legible(body.digests))
        fill(body, memoryview(data), moved)
        expect_end(body)
    if len(data) == content.size:
        check = Check.strongest(content.digests)
        hasher = check.hasher()
        hasher.update(memoryview(data))
        if not check.accepts(hasher.hexdigest()):
            raise Corrupt(f"the registry's bytes do not have the {check.name} it tells")
    return data


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
