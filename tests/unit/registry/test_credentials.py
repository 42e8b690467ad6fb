"""Where credentials are found, and where they never go."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from modelfs import errors
from modelfs.config import Config
from modelfs.refs import Ref
from modelfs.registry import open_registry
from modelfs.registry.credentials import Credentials, Login, for_kaggle, for_other
from modelfs.registry.kaggle import KaggleRegistry
from modelfs.registry.kaggle_calls import connect
from sims.raw import RawServer, Request, Script, json_reply


def put(path: Path, content: str | dict[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def basic(username: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{key}".encode()).decode()


KEY = {"username": "alice", "key": "k3y"}
OAUTH = {
    "access_token": "oauth",
    "refresh_token": "again",
    "access_token_expiration": "2999-01-01T00:00:00",
    "username": "alice",
    "scopes": ["resources.admin:*"],
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_nothing_is_nobody(home: Path) -> None:
    found = for_kaggle({}, home)
    assert not found
    assert "" == found.header


def test_each_place_comes_before_the_next(home: Path, tmp_path: Path) -> None:
    """From the last place of the official clients' order to the first, each hides the rest."""
    environ: dict[str, str] = {}

    def header() -> str:
        return for_kaggle(environ, home).header

    put(home / ".kaggle/credentials.json", OAUTH)
    assert "Bearer oauth" == header()
    put(home / ".config/kaggle/kaggle.json", KEY)
    assert basic("alice", "k3y") == header()
    environ["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    put(tmp_path / "xdg/kaggle/kaggle.json", KEY | {"key": "xdg"})
    assert basic("alice", "xdg") == header()
    put(home / ".kaggle/kaggle.json", KEY | {"key": "home"})
    assert basic("alice", "home") == header()
    environ["KAGGLE_CONFIG_DIR"] = str(tmp_path / "named")
    put(tmp_path / "named/kaggle.json", KEY | {"key": "named"})
    assert basic("alice", "named") == header()
    environ |= {"KAGGLE_USERNAME": "bob", "KAGGLE_KEY": "env"}
    assert basic("bob", "env") == header()
    put(home / ".kaggle/access_token.txt", "KGAT_txt\n")
    assert "Bearer KGAT_txt" == header()
    put(home / ".kaggle/access_token", " KGAT_file\n\n")
    assert "Bearer KGAT_file" == header()
    environ["KAGGLE_API_TOKEN"] = "KGAT_env"
    assert "Bearer KGAT_env" == header()
    environ["KAGGLE_API_TOKEN"] = str(put(tmp_path / "token", "KGAT_named"))
    assert "Bearer KGAT_named" == header()
    environ["KAGGLE_API_V1_TOKEN"] = str(put(tmp_path / "notebook", "KGAT_notebook"))
    assert "Bearer KGAT_notebook" == header()


def test_a_user_name_without_a_key_is_not_a_login(home: Path) -> None:
    assert not for_kaggle({"KAGGLE_USERNAME": "alice"}, home)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("kaggle.json", "{"),
        ("kaggle.json", "[]"),
        ("kaggle.json", "{}"),
        ("kaggle.json", '{"username": "alice", "key": 5}'),
        ("kaggle.json", '{"username": "al:ice", "key": "k"}'),
        ("credentials.json", "nothing"),
        ("credentials.json", "{}"),
        ("access_token", "two words"),
        ("access_token", "grüße"),
        ("access_token", "a\nb: c"),
    ],
)
def test_a_file_that_makes_no_sense_is_told_in_one_sentence(
    home: Path, name: str, content: str
) -> None:
    path = put(home / ".kaggle" / name, content)
    with pytest.raises(errors.Usage) as caught:
        for_kaggle({}, home)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_told(home: Path) -> None:
    path = put(home / ".kaggle/access_token", "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.Usage, match="not text"):
        for_kaggle({}, home)


def test_a_repr_shows_no_secret(home: Path) -> None:
    put(home / ".kaggle/credentials.json", OAUTH)
    assert "oauth" not in repr(for_kaggle({}, home))
    assert "again" not in repr(for_kaggle({}, home))


def test_another_registry_gets_only_what_is_meant_for_it(home: Path, tmp_path: Path) -> None:
    environ = {"KAGGLE_API_TOKEN": "KGAT", "KAGGLE_USERNAME": "alice", "KAGGLE_KEY": "k3y"}
    put(home / ".kaggle/kaggle.json", KEY)
    assert not for_other(environ, None)
    assert "Bearer mine" == for_other(environ | {"MODELFS_TOKEN": "mine"}, None).header
    path = put(tmp_path / "token", "of-file\n")
    assert "Bearer of-file" == for_other({"MODELFS_TOKEN": "mine"}, path).header
    with pytest.raises(errors.Usage, match="no such token file"):
        for_other({}, tmp_path / "missing")


@pytest.fixture
def thief() -> Iterator[RawServer]:
    """A server that keeps what it is sent."""

    def answer(request: Request) -> Script:
        return json_reply({"models": [{"ref": "alice/bert"}], "userName": "alice"})

    with RawServer(answer) as server:
        yield server


def test_credentials_of_kaggle_never_reach_another_host(thief: RawServer, home: Path) -> None:
    put(home / ".kaggle/kaggle.json", KEY)
    put(home / ".kaggle/access_token", "KGAT_secret")
    environ = {"KAGGLE_API_TOKEN": "KGAT_secret", "KAGGLE_USERNAME": "a", "KAGGLE_KEY": "b"}
    with closing(open_registry(f"kaggle+{thief.url}", Config(home=home, environ=environ))) as other:
        other.account()
        other.stat(Ref(("alice",)))
    assert thief.requests
    assert not any("authorization" in request.headers for request in thief.requests)


def test_a_token_of_its_own_reaches_another_host(thief: RawServer, home: Path) -> None:
    config = Config(home=home, environ={"MODELFS_TOKEN": "mine"})
    with closing(open_registry(f"kaggle+{thief.url}", config)) as other:
        assert "alice" == other.account().name
    assert "Bearer mine" == thief.requests[0].headers["authorization"]


def test_an_expired_login_is_renewed_once(home: Path) -> None:
    def answer(request: Request) -> Script:
        if request.path.endswith("GenerateAccessToken"):
            return json_reply({"token": "fresh", "expiresIn": 43200})
        return json_reply({"userName": "alice"})

    expired = Credentials("Bearer old", "a file", refresh="again", expires=time.time() - 5)
    with RawServer(answer) as server:
        registry = KaggleRegistry(connect(server.url, expired, {}), has_login=True)
        with closing(registry):
            registry.account()
            registry.account()
        sent = [request.headers.get("authorization") for request in server.requests]
        assert [None, "Bearer fresh", "Bearer fresh"] == sent
        assert "again" == server.requests[0].message["refreshToken"]


@pytest.mark.parametrize(("refresh", "reply"), [("", {}), ("again", {}), ("again", {"token": 5})])
def test_a_login_that_cannot_be_renewed_is_told(refresh: str, reply: dict[str, object]) -> None:
    expired = Credentials("Bearer old", "a file", refresh=refresh, expires=100.0)
    with pytest.raises(errors.Unauthenticated, match="a file has ended"):
        Login(expired, lambda _: reply, clock=lambda: 200.0).header()


def test_a_login_that_never_expires_is_left_alone() -> None:
    found = Credentials("Bearer x", "a file")
    assert "Bearer x" == Login(found, lambda _: {}, clock=lambda: 1e12).header()
