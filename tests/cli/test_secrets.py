"""A token is in the requests to its registry, and nowhere else."""

from __future__ import annotations

import base64
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.commands import Shell
from cli.conftest import CONTENT, MODEL, VERSION
from cli.test_life import pid_of
from sims.kaggle import Kaggle
from sims.raw import json_reply

TOKEN = "KGAT_canary+0123456789/abcdef"
# As anything might write it.
FORMS = {
    TOKEN,
    urllib.parse.quote(TOKEN, safe=""),
    TOKEN.encode().hex(),
    base64.b64encode(TOKEN.encode()).decode().rstrip("="),
}


@pytest.fixture
def kaggle() -> Iterator[Kaggle]:
    with Kaggle([MODEL], token=TOKEN, user="alice") as server:
        yield server


@pytest.mark.parametrize("way", ["environment", "file"])
def test_a_token_is_written_nowhere(way: str, shell: Shell, kaggle: Kaggle) -> None:
    file = shell.folder / "home/token"
    file.write_text(TOKEN)
    options = ("--verbose", *(("--token-file", str(file)) if way == "file" else ()))
    environ = {"MODELFS_TOKEN": TOKEN} if way == "environment" else {}
    path = shell.mount(f"kaggle+{kaggle.url}", *options, **environ)
    assert CONTENT == (path / VERSION / "w").read_bytes()
    assert ["alice"] == os.listdir(path)  # whose name the token tells
    kaggle.refusal = json_reply({"code": 401, "message": "Unauthenticated"}, 401)
    with pytest.raises(OSError, match="denied"):
        os.listdir(path / "alice/other")
    told = b"".join(
        os.getxattr(path / VERSION / "w", name) for name in os.listxattr(path / VERSION / "w")
    )
    assert not found_in(told)
    assert not found_in(Path(f"/proc/{pid_of(shell)}/cmdline").read_bytes())
    assert 0 == shell.run("umount", path).returncode
    written = [item for item in shell.folder.rglob("*") if item.is_file() and item != file]
    assert any("mount-" in item.name for item in written)
    for item in written:
        assert not found_in(item.read_bytes()), item


def found_in(data: bytes) -> list[str]:
    return [form for form in FORMS if form.encode() in data]
