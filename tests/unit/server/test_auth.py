"""Who asks, and whether they are who they say."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from modelfs.errors import Forbidden, InvalidName, Unauthenticated
from modelfs.server.auth import Caller, Gate, check_browser, keep_secret, login_user


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("header", ["Bearer s3cret", "bearer  s3cret", basic("bob:s3cret")])
def test_the_token_is_taken_both_ways(header: str) -> None:
    assert Caller("alice") == Gate("s3cret", "alice").caller(header)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer wrong", "Bearer s3cre", basic("alice:"), basic("alice"), "Basic !!",
     "Digest s3cret", "s3cret", "Bearer \udcff"],
)  # fmt: skip
def test_anything_else_is_refused(header: str) -> None:
    with pytest.raises(Unauthenticated):
        Gate("s3cret", "alice").caller(header)


def test_an_open_registry_believes_a_name() -> None:
    gate = Gate(None, "alice")
    assert Caller("alice", is_trusted=True) == gate.caller("")
    assert Caller("alice", is_trusted=True) == gate.caller("Bearer anything")
    assert Caller("bob", is_trusted=True) == gate.caller(basic("bob:x"))
    with pytest.raises(InvalidName, match="Bob/"):
        gate.caller(basic("Bob/:x"))


def test_only_the_owner_changes_things() -> None:
    Caller("alice").check_owner("alice")
    Caller("alice", is_trusted=True).check_owner("bob")
    with pytest.raises(Forbidden, match="bob"):
        Caller("alice").check_owner("bob")


@pytest.mark.parametrize(
    ("host", "is_proxied", "origin"),
    [
        ("127.0.0.1:7777", False, ""),
        ("localhost", False, ""),
        ("[::1]:80", False, ""),
        ("registry:80", False, ""),
        ("any.example", True, ""),
        ("localhost:7777", False, "http://localhost:7777"),
    ],
)
def test_programs_are_let_in(host: str, is_proxied: bool, origin: str) -> None:
    check_browser(host, is_proxied, origin, "registry")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", ""),
        ("evil.example", "http://evil.example"),
        ("localhost:7777", "http://evil.example"),
        ("localhost:7777", "null"),
        ("", ""),
        ("[", ""),
    ],
)
def test_web_pages_are_not(host: str, origin: str) -> None:
    with pytest.raises(Forbidden):
        check_browser(host, False, origin, "127.0.0.1")


def test_a_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    secret = keep_secret(tmp_path / "token")
    assert secret == keep_secret(tmp_path / "token")
    assert len(secret) >= 40
    assert 0o600 == (tmp_path / "token").stat().st_mode & 0o777
    assert ["token"] == [path.name for path in tmp_path.iterdir()]


def test_the_login_name_can_own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "Jo.Doe@HOME_")
    assert "jo-doe-home" == login_user()
