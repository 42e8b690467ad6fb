"""A draft that becomes a version in the middle of what somebody does with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelfs.assemble import Parts, assemble
from modelfs.config import Config, Mount
from modelfs.fs.local import Local
from modelfs.fs.tree import Place
from modelfs.mount.changes import Changes
from modelfs.mount.ops import Ops
from modelfs.mount.published import Look
from modelfs.mount.wire import Reply
from modelfs.refs import Ref
from modelfs.waiting import wait
from published import BASE
from sims.content import SAMPLE, plant

WAIT = 60.0
DRAFT = Ref.parse(BASE).child("4")
LOOK = Look(os.getuid(), os.getgid(), 0o022)


class Changed(Changes):
    """Says whose a place is, and has something happen before anybody can act on it."""

    between: Callable[[], None] = staticmethod(lambda: None)

    def holder(self, place: Place) -> Local | None:
        found = super().holder(place)
        self.between()
        return found


@contextmanager
def _mounted(folder: Path) -> Iterator[tuple[Parts, Changed, Ops]]:
    plant(folder / "registry", SAMPLE)
    config = Config(
        registries=(Mount("", f"local:{folder / 'registry'}"),),
        cache_dir=folder / "cache",
        state_dir=folder / "state",
        settle=0.05,
        home=folder,
    )
    parts = assemble(config, wait, lambda _, done: done(), os.getpid)
    parts.start()
    try:
        changes = Changed(
            parts.tree,
            parts.handles,
            parts.locals,
            parts.deletions,
            executor=parts.changers,
            wait=wait,
        )
        reply = Reply()
        ops = Ops(parts.tree, parts.handles, parts.cache, changes, reply=lambda: reply, look=LOOK)
        yield parts, changes, ops
    finally:
        parts.stop()


@pytest.mark.parametrize("operation", ["open", "getattr", "listxattr"])
def test_what_is_published_between_two_steps_of_a_look_is_found(
    tmp_path: Path, operation: str
) -> None:
    with _mounted(tmp_path) as (parts, changes, ops):
        (local,) = parts.locals.values()
        ops("mkdir", f"/{DRAFT}", 0o755)
        number = ops("create", f"/{DRAFT}/f", 0o644, os.O_WRONLY).handle
        ops("write", None, b"bytes", 0, number)
        ops("release", None, number)
        local.path(DRAFT, "NOTES").write_text("notes")
        asked: list[Ref] = []

        def publish() -> None:
            if not asked:
                asked.append(DRAFT)
                assert DRAFT == local.publisher.ask(DRAFT).result(WAIT)

        changes.between = publish
        flags = [os.O_RDONLY] if operation == "open" else []
        found = ops(operation, f"/{DRAFT}/f", *flags)
        assert [DRAFT] == asked
        if operation == "open":
            slice_ = ops("read", 5, 0, found.handle)
            assert b"bytes" == os.pread(slice_.fd, slice_.size, slice_.offset)
            ops("release", None, found.handle)
