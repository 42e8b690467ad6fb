"""Children that are forked to die at a step of their work, and what counts as one.

For processes without other threads. No state.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Collection

# How a child ends in which something was wrong.
WRONG = 1

_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def changes(events: Collection[str], name: str, arguments: tuple[object, ...]) -> bool:
    """True if what an audit hook is told of is one of `events`; opening to read is none."""
    if name not in events:
        return False
    return name != "open" or (isinstance(arguments[2], int) and bool(arguments[2] & _CHANGES))


def begin(work: Callable[[], None]) -> int:
    """A child that does `work`; its process id."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(WRONG)
        os._exit(0)
    return child


def status(child: int) -> int:
    """Its exit status, once it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
