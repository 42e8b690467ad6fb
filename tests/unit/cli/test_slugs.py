"""Names as people type them."""

from __future__ import annotations

import pytest

from modelfs.cli.slugs import parsed
from modelfs.errors import InvalidName


@pytest.mark.parametrize(
    ("text", "depth", "expected"),
    [
        ("alice/bert", 2, "alice/bert"),
        ("bert", 2, "bert"),
        ("alice/bert/pyTorch/base", 4, "alice/bert/pyTorch/base"),
        ("alice/bert/pytorch/base/", 4, "alice/bert/pytorch/base"),
        ("alice/bert/pytorch/1.1-2b/007", 5, "alice/bert/pytorch/1.1-2b/7"),
    ],
)
def test_a_name_of_the_right_form_is_a_ref(text: str, depth: int, expected: str) -> None:
    assert expected == str(parsed(text, depth))


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("", 2),
        ("/", 2),
        ("a/b/c", 2),
        ("/bert", 2),
        ("alice//", 2),
        ("alice/..", 2),
        ("a\nb/c", 2),
        ("\ud800/c", 2),
        ("x" * 256 + "/c", 2),
        ("alice/bert", 4),
        ("alice/bert/pytorch/", 4),
        ("alice//pytorch/base", 4),
        ("alice/bert/unknown/base", 4),
        ("alice/bert/pytorch/base/1", 4),
        ("alice/bert/pytorch/base", 5),
        ("alice/bert/pytorch/base/x", 5),
        ("alice/bert/pytorch/base/0", 5),
        ("alice/bert/pytorch/base/-1", 5),
        ("alice/bert/pytorch/base/1.0", 5),
        ("alice/bert/pytorch/base/¹", 5),
        ("alice/bert/pytorch/base/99999999999", 5),
        ("alice/bert/pytorch/base/1/w", 5),
    ],
)
def test_another_is_refused(text: str, depth: int) -> None:
    with pytest.raises(InvalidName):
        parsed(text, depth)
