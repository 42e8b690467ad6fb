"""Runs `modelfs` with its threads profiled, each by itself.

    python traced.py FILE WORD…

What each thread spent is in FILE.<number> when it ends. The threads of the session loop end with
the mount. Only the first one that begins is profiled from Python 3.12 on, whose profiler is one
for all threads.
"""

from __future__ import annotations

import cProfile
import itertools
import sys
import threading
from typing import Any

_PROFILED = "fuse-"
_DEADLINE = 5.0


def main() -> None:
    target, words = sys.argv[1], sys.argv[2:]
    numbers = itertools.count()
    run = threading.Thread.run

    def profiled(thread: threading.Thread) -> Any:
        if not thread.name.startswith(_PROFILED):
            return run(thread)
        profile = cProfile.Profile()
        try:
            profile.enable()
        except ValueError:
            return run(thread)
        try:
            return run(thread)
        finally:
            profile.disable()
            profile.dump_stats(f"{target}.{next(numbers)}")

    threading.Thread.run = profiled  # type: ignore[method-assign, assignment]
    from modelfs.cli.main import main as modelfs

    sys.argv = ["modelfs", *words]
    try:
        modelfs()
    finally:
        for thread in threading.enumerate():
            if thread.name.startswith(_PROFILED):
                thread.join(_DEADLINE)


if __name__ == "__main__":
    main()
