"""The examples of docs/python.md run as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sims.content import plant

PAGE = Path(__file__).parents[3] / "docs" / "python.md"


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path / "registry")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELFS_REGISTRY", f"local:{tmp_path / 'registry'}")
    monkeypatch.setenv("MODELFS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELFS_STATE_DIR", str(tmp_path / "state"))
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert 5 == len(examples)
    names: dict[str, Any] = {}
    try:
        for example in examples:
            exec(example, names)  # noqa: S102
    finally:
        names["client"].close()
    told = capsys.readouterr().out
    assert "alice/bert/pytorch/base/3 3" in told
    assert "alice/bert-two/pytorch/base/1 the second one" in told
    assert "the first" in names["notes"]
    assert [tmp_path / "bert/config.json"] == names["paths"]
