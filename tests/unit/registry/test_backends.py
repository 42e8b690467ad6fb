"""The list of backends."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from modelfs.config import Config
from modelfs.errors import Usage
from modelfs.registry import open_registry


@pytest.mark.parametrize(
    ("spec", "identity"),
    [
        ("kaggle", "kaggle"),
        ("kaggle+http://127.0.0.1:8080", "kaggle+http://127.0.0.1:8080"),
        ("kaggle+http://Registry.Example/", "kaggle+http://registry.example:80"),
        ("kaggle+https://registry.example", "kaggle+https://registry.example:443"),
        ("wriftai", "wriftai"),
        ("wriftai+http://Registry.Example:80/", "wriftai+http://registry.example:80"),
        ("wriftai+https://registry.example", "wriftai+https://registry.example:443"),
    ],
)
def test_a_backend_is_opened_without_a_request(spec: str, identity: str, tmp_path: Path) -> None:
    with closing(open_registry(spec, Config(home=tmp_path))) as registry:
        assert identity == registry.traits.identity


def test_a_directory_is_a_backend(tmp_path: Path) -> None:
    with closing(open_registry(f"local:{tmp_path}", Config(home=tmp_path))) as registry:
        assert f"local:{tmp_path.resolve()}" == registry.traits.identity


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "hub",
        "local",
        "local:",
        "kaggle:",
        "kaggle+ftp://x",
        "kaggle+http:",
        "kaggle+http://",
        "kaggle+http://user:secret@host",
        "kaggle+http://host/path",
        "kaggle+http://host?query",
        "kaggle+http://host:port",
        "kaggle+http://[::1",
        "http://host",
        "wriftai:",
        "wriftai+http://host/v1",
        "wriftai+http://user:secret@host",
    ],
)
def test_what_is_no_backend_is_told(spec: str, tmp_path: Path) -> None:
    with pytest.raises(Usage) as caught:
        open_registry(spec, Config(home=tmp_path))
    assert "secret" not in f"{caught.value}{caught.value.hint}"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.startswith("modelfs.registry.local")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(Usage, match="not installed: sqlalchemy") as caught:
        open_registry(f"local:{tmp_path}", Config(home=tmp_path))
    assert 'pip install "modelfs[server]"' == caught.value.hint
