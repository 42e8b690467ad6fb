"""What a mount says of the machine that it is started on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelfs.mount.session import request_timeout, warn_of_hasty_kernel


@pytest.mark.parametrize(
    ("default", "most", "expected"),
    [("0", "0", 0), ("60", "0", 60), ("0", "40\n", 40), ("60", "20", 20), ("", "x", 0)],
)
def test_the_kernels_patience_is_the_least_that_it_names(
    default: str, most: str, expected: int, tmp_path: Path
) -> None:
    (tmp_path / "default_request_timeout").write_text(default)
    (tmp_path / "max_request_timeout").write_text(most)
    assert expected == request_timeout(tmp_path)


def test_an_older_kernel_waits_for_ever(tmp_path: Path) -> None:
    assert 0 == request_timeout(tmp_path)
    warn_of_hasty_kernel(tmp_path)


def test_a_kernel_with_less_patience_than_ours_is_told_of(
    tmp_path: Path, expect_warnings: Callable[..., None]
) -> None:
    (tmp_path / "max_request_timeout").write_text("60")
    warn_of_hasty_kernel(tmp_path)
    (tmp_path / "max_request_timeout").write_text("20")
    expect_warnings("when a request takes 20 s, and ours may take 24 s: set fs.fuse.")
    warn_of_hasty_kernel(tmp_path)
