"""How far a transfer is: shown on a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from cli.kaggle.conftest import BASE
from modelfs.api import Progress
from modelfs.cli import transfers
from serving import MODELFS, own_environ


def _seen(registry: Path, folder: Path, *words: str) -> str:
    """What a command says on a terminal that is its standard error."""
    master, slave = pty.openpty()
    environ = own_environ(
        folder / "home",
        MODELFS_REGISTRY=f"local:{registry}",
        MODELFS_CACHE_DIR=str(folder / "cache"),
        MODELFS_STATE_DIR=str(folder / "state"),
        TERM="xterm",
        COLUMNS="200",
    )
    try:
        done = subprocess.run(
            [MODELFS, *words],
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=slave,
            text=True,
            timeout=60,
            check=True,
        )
        assert 1 == len(done.stdout.splitlines())
        os.set_blocking(master, False)
        try:
            return os.read(master, 1 << 16).decode()
        except BlockingIOError:
            return ""
    finally:
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("words", [("--untar",), ()])
def test_a_download_is_shown_on_a_terminal(
    registry: Path, folder: Path, words: tuple[str, ...]
) -> None:
    seen = _seen(registry, folder, "miv", "download", f"{BASE}/1", *words)
    assert "100 %, 7.0 kB of 7.0 kB, 3 of 3 files" in seen


def test_an_upload_is_shown_on_a_terminal(registry: Path, folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new/w").write_bytes(b"x" * 5000)
    seen = _seen(registry, folder, "miv", "create", BASE, "-p", "new")
    assert "5.0 kB of 5.0 kB, 1 of 1 file" in seen


def test_nothing_is_shown_to_who_asked_for_quiet(registry: Path, folder: Path) -> None:
    assert "" == _seen(registry, folder, "miv", "download", f"{BASE}/1", "-q")


def test_rate_and_time_left_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(transfers.time, "monotonic", lambda: now)
    rate = transfers._Rate()
    texts = []
    for second in range(10):
        now = 100.0 + second
        # A megabyte a second at first, then two.
        done = 1_000_000 * (second if second < 4 else 2 * second - 4)
        progress = Progress("downloading", 3, 1, 20_000_000, done, {"x/a": 5, "b\x1b": 6_000})
        texts.append(transfers._text(progress, done / 200_000, rate))
    each = "a 5 B, b\N{REPLACEMENT CHARACTER} 6.0 kB"
    assert f"0 %, 0 B of 20 MB, 1 of 3 files: {each}" == texts[0]
    assert f"10 %, 2.0 MB of 20 MB, 1 of 3 files, 1.0 MB/s, 18 s left: {each}" == texts[2]
    assert ", 2.0 MB/s, 3 s left: " in texts[9]
