"""The kernel is told to drop a file, by a thread that keeps nothing of it afterwards."""

from __future__ import annotations

import os
import threading
import weakref

from modelfs.mount import wire
from modelfs.mount.notices import Notices
from polling import wait_for


class Kept:
    """Stands for a file of the cache."""


def test_nothing_is_kept_of_a_file_that_was_dropped() -> None:
    reader, writer = os.pipe()
    notices = Notices()
    notices.start(writer)
    kept = Kept()
    found = weakref.ref(kept)
    called = threading.Event()

    def done(kept: Kept = kept) -> None:
        del kept
        called.set()

    try:
        notices.drop(7, done)
        del kept, done
        assert called.wait(30)
        assert wire.drop(7) == os.read(reader, 4096)
        wait_for(lambda: found() is None)
    finally:
        notices.stop()
        wait_for(lambda: not any(each.name == "notices" for each in threading.enumerate()))
        os.close(reader)
        os.close(writer)
