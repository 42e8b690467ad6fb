"""Bytes of files on their way to the kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from modelfs.fs.handles import FileSlice
from modelfs.mount import wire
from modelfs.mount.answers import Answers

SIZE = 200_000


class Slices:
    """Answers with bytes of a file, whatever is asked."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def answer(self, opcode: int, node: int, request: memoryview) -> FileSlice:
        return FileSlice(self._fd, 0, SIZE)


@pytest.mark.parametrize("has_pipes", [True, False])
def test_bytes_are_sent_also_where_there_are_no_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pipes: bool
) -> None:
    def refuse() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    content = os.urandom(SIZE)
    (tmp_path / "file").write_bytes(content)
    if not has_pipes:
        monkeypatch.setattr(os, "pipe", refuse)
    answers = Answers()
    with (tmp_path / "file").open("rb") as file, (tmp_path / "kernel").open("wb") as kernel:
        overlay: Any = Slices(file.fileno())
        request = wire.Request(80, wire.Op.READ, 7, 2, 0, 1)
        view = memoryview(bytearray(wire.BUFFER_SIZE))
        assert answers.is_sent(kernel.fileno(), overlay, request, view)
        answers.close()
    header = wire.OUT_HEADER.pack(wire.OUT_HEADER.size + SIZE, 0, 7)
    assert header + content == (tmp_path / "kernel").read_bytes()
