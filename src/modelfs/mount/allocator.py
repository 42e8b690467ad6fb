"""Has the C library keep less memory that nobody uses; no state but a thread.

glibc gives each thread that allocates a heap of its own, up to eight for each processor, and after
the first large block that is freed it takes blocks of that size from these heaps as well, where a
small one that is still used keeps a large free one from going back. With threads that come and go,
and buffers of a megabyte, more than half of a mount's memory was such free blocks, and the more
the longer it ran. Whoever allocates here mostly holds the interpreter lock anyway: one heap is
hardly ever waited for. What lies free between pieces that are used grows all the same, in an hour
of mixed work to twice of what is used; so whole pages of it are given back every now and then.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

# <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_CHOICES = {
    # One for Python, one for who finds that busy.
    _ARENA_MAX: 2,
    # What is larger goes back when it is freed: most answers to the kernel, which last a moment.
    # It is what glibc begins with; naming it keeps glibc from raising it.
    _MMAP_THRESHOLD: 128 << 10,
    # What is free at the end of a heap, and is soon wanted again.
    _TRIM_THRESHOLD: 1 << 20,
}
# Giving back takes half a millisecond; ten after much work.
_INTERVAL = 30.0


def restrain() -> bool:
    """Set the limits of this process, before it has threads; False where it is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        log.debug("the C library cannot be told how to keep memory")
        return False
    answers = {mallopt(name, value) for name, value in _CHOICES.items()}
    return answers == {1}


@contextmanager
def trimming(interval: float = _INTERVAL) -> Iterator[None]:
    """Meanwhile a thread gives free pages of the heaps back to the system, every `interval` s."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(interval):
            trim(0)

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # not glibc
        yield
        return
    threading.Thread(target=run, name="trim", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
