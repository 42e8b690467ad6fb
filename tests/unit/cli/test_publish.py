"""What `modelfs publish` gives to a mount."""

from __future__ import annotations

import os
from pathlib import Path

from modelfs.cli.publish import _write_notes
from modelfs.fs import asking


def test_notes_are_the_bytes_that_were_typed(tmp_path: Path) -> None:
    for notes in ("caf\u00e9".encode(), b"caf\xe9"):
        _write_notes(tmp_path, os.fsdecode(notes))
        assert notes == os.getxattr(tmp_path, asking.NOTE)
