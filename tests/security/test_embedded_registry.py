"""The embedded registry trusts nobody it does not know, and no path, and no web page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelfs.server.app import Settings, running
from modelfs.server.rest import ROUTES
from modelfs.server.wriftai import PREFIX
from sims.content import BERT, plant
from unit.server.client import Client

ROOT = Path(__file__).parents[2]
LIST = "/v1/models.ModelApiService/ListModels"
CANARY = "canary-of-the-registry-0123456789"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("security") / "registry"
    plant(directory, [BERT])
    (directory / "token").write_text(CANARY)
    (directory.parent / "outside").write_text(CANARY)
    return directory


@pytest.fixture(scope="module")
def client(directory: Path) -> Iterator[Client]:
    with running(Settings(directory, "alice")) as url:
        yield Client(url, CANARY)


@pytest.fixture(scope="module")
def open_client(directory: Path, client: Client) -> Iterator[Client]:
    """At a server that was started with --open."""
    del client  # which has the other directory
    other = directory.with_name("open")
    plant(other, [BERT])
    with running(Settings(other, "alice", is_open=True)) as url:
        yield Client(url)


def calls() -> list[tuple[str, str]]:
    """One request for each thing that can be asked of the registry."""
    found = [(route.verb, f"{top}{route.path}") for route in ROUTES for top in ("/v1", "/api/v1")]
    source = (ROOT / "src/modelfs/server/rpc.py").read_text()
    names = re.findall(r'"(\w+)": operations\.', source)
    assert len(names) > 10
    found += [("POST", f"/v1/models.ModelApiService/{name}") for name in names]
    found += [("POST", "/v1/blobs.BlobApiService/StartBlobUpload"), ("GET", "/v1/hello")]
    source = (ROOT / "src/modelfs/server/wriftai.py").read_text()
    below = re.findall(r'Route\("(\w+)", f?"([^"]+)"', source)
    assert len(below) > 5
    found += [
        (verb, PREFIX + path)
        for verb, path in below
        if not re.search(r"\{_[A-Z]+\}", path)  # a constant of the module
    ]
    return [(verb, re.sub(r"\{\w+\}", "1", path)) for verb, path in found]


@pytest.mark.parametrize("header", ["", "Bearer", f"Bearer {CANARY[:-1]}", f"Bearer {CANARY}x"])
def test_nothing_is_told_without_the_token(header: str, client: Client) -> None:
    headers = {"Content-Type": "application/json", **({"Authorization": header} if header else {})}
    for verb, path in calls():
        answer = client.request(verb, path, b"{}" if verb != "GET" else None, headers)
        assert 401 == answer.status, (verb, path, answer.body)
        assert b"bert" not in answer.body


TRAVERSALS = [
    "/storage/../token",
    "/storage/..%2ftoken",
    "/storage/%2e%2e/token",
    "/storage//etc/passwd",
    "/storage/token?path=token&size=33&sha256=x&signature=x",
    "/storage/x?path=../outside&size=33",
    "/upload?upload_id=../token",
    "/upload?upload_id=..%2ftoken",
    "/upload?upload_id=%00",
    "/v1/../token",
    "/../token",
    "//token",
    "/%00",
    "/models/../../token",
    "/v1/models/..%2f..%2ftoken/bert/get",
    "/v1/models/alice/bert/pyTorch/base/1/download?path=../../token",
    "/v1/models/alice/bert/pyTorch/base/1/download?path=%2fetc%2fpasswd",
]


@pytest.mark.parametrize("target", TRAVERSALS)
@pytest.mark.parametrize("verb", ["GET", "PUT"])
def test_no_path_leads_out_of_what_is_published(verb: str, target: str, client: Client) -> None:
    lines = [f"{verb} {target} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {CANARY}"]
    said = client.raw(
        "\r\n".join([*lines, "Content-Length: 0", "Connection: close\r\n\r\n"]).encode()
    )
    head, _, body = said.partition(b"\r\n\r\n")
    assert CANARY.encode() not in said
    assert b"root:" not in said
    is_page = (
        target.startswith("/models/") and head.startswith(b"HTTP/1.1 200") and b"<!doc" in body
    )
    assert is_page or re.match(rb"HTTP/1.1 4\d\d ", head), said
    assert b"Traceback" not in said


# A page on evil.example whose name was made to mean this machine (DNS rebinding), or that posts
# across origins. What programs send has no Origin, and names this machine.
PAGES = [
    {"Host": "evil.example"},
    {"Host": "evil.example:7777", "Origin": "http://evil.example:7777"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1", "Origin": "http://evil.example"},
    {"Host": "localhost", "Origin": "null"},
]


@pytest.mark.parametrize("headers", PAGES, ids=lambda item: " ".join(item.values()))
def test_an_open_registry_answers_no_web_page(headers: dict[str, str], open_client: Client) -> None:
    assert 200 == open_client.request("POST", LIST, b'{"owner": "alice"}').status
    for verb, path in (*calls(), ("GET", "/-/stats")):
        answer = open_client.request(verb, path, b"{}" if verb != "GET" else None, headers)
        assert 403 == answer.status, (verb, path, answer.body)
        assert b"bert" not in answer.body
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("headers", PAGES, ids=lambda item: " ".join(item.values()))
def test_no_web_page_sees_the_counters(headers: dict[str, str], client: Client) -> None:
    assert 200 == client.request("GET", "/-/stats").status
    assert 403 == client.request("GET", "/-/stats", None, headers).status


def test_an_open_registry_is_for_this_machine(tmp_path: Path) -> None:
    with (
        pytest.raises(Exception, match="for this machine only"),
        running(Settings(tmp_path / "r", "alice", host="0.0.0.0", is_open=True)),
    ):
        pass


def test_slow_clients_hold_up_nobody(client: Client) -> None:
    """Sixty that send a byte and nothing more; one that asks."""
    with ThreadPoolExecutor(1) as pool:
        idle = [client.connect() for _ in range(60)]
        try:
            for connection in idle:
                connection.sendall(b"P")
            answer = pool.submit(client.rpc, "ListModels", owner="alice").result(5)
        finally:
            for connection in idle:
                connection.close()
    assert 200 == answer.status


def test_secrets_are_compared_in_constant_time() -> None:
    """No `==` on a secret: how long that takes tells how much of a guess is right."""
    secret = re.compile(r"token|secret|signature|password|authorization|_key\b", re.IGNORECASE)
    found = []
    for path in (ROOT / "src/modelfs/server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and isinstance(
                node.ops[0], ast.Eq | ast.NotEq | ast.In
            ):
                sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
                literal = any(isinstance(side, ast.Constant) for side in node.comparators)
                if not literal and any(secret.search(side) for side in sides):
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert [] == found
    source = (ROOT / "src/modelfs/server/auth.py").read_text()
    assert "hmac.compare_digest(" in source


def test_what_the_registry_keeps_is_for_its_owner(directory: Path, client: Client) -> None:
    del client
    assert 0o700 == directory.stat().st_mode & 0o777
    assert 0o600 == (directory / "storage.key").stat().st_mode & 0o777
