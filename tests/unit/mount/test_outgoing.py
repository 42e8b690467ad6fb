"""Answers that cannot be made as they should be; the rest is seen in mounts."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from modelfs.mount import wire
from modelfs.mount.current import Current
from modelfs.mount.outgoing import Outgoing
from modelfs.mount.passthrough import Choice, Passthrough


@pytest.mark.expect_warnings("an answer could not be made")
def test_who_opens_a_file_is_answered_also_where_there_are_no_descriptors(tmp_path: Path) -> None:
    def refuse(is_taken: bool) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    current = Current()
    current.begin(wire.Request(48, wire.Op.OPEN, 7, 2, 0, 1))
    current.reply = reply = wire.Reply(2, False, False)
    reply.answered = refuse
    outgoing = Outgoing(current, Passthrough(Choice.OFF, tmp_path), lambda: reply)
    reader, writer = os.pipe()
    try:
        outgoing.start(writer, None)
        told = (wire.OUT_HEADER.pack(32, 0, 7), bytes(16))
        kept = [ctypes.create_string_buffer(piece, len(piece)) for piece in told]
        slices = [SimpleNamespace(base=ctypes.addressof(each), size=len(each)) for each in kept]
        assert 0 == outgoing.send(slices, 2)
        assert wire.OUT_HEADER.pack(16, -errno.EIO, 7) == os.read(reader, 100)
    finally:
        os.close(reader)
        os.close(writer)
