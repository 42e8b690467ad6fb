"""Slow, greedy and malformed clients; and requests to us as to a proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from conftest import wait_for
from modelfs.server.app import Settings, running
from modelfs.server.limits import Limits
from unit.server.client import Client

PATH = "/v1/models.ModelApiService/ListModels"


@pytest.fixture
def impatient(directory: Path) -> Iterator[Client]:
    """At a server that waits for nobody and has room for three."""
    limits = replace(
        Limits(), connections=3, head_wait=0.5, idle_wait=1.0, body_wait=0.5, json_body=1000
    )
    with running(Settings(directory, "alice", limits=limits)) as url:
        yield Client(url, (directory / "token").read_text().strip())


def head(client: Client, length: int) -> str:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.token}\r\n"
        f"Content-Length: {length}\r\n"
    )


def test_an_unfinished_head_times_out(impatient: Client) -> None:
    said = impatient.raw(b"POST /v1/models.Mod")
    assert said.startswith(b"HTTP/1.1 408 ")
    assert 408 == json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"]


def test_dripping_does_not_help(impatient: Client) -> None:
    with impatient.connect() as connection:
        connection.settimeout(0.05)
        received = b""

        def is_over() -> bool:
            nonlocal received
            try:
                connection.sendall(b"x")
                received += connection.recv(4096)
            except TimeoutError:
                return False
            except OSError:
                return True
            return b"408" in received

        wait_for(is_over, 8)


def test_a_silent_connection_is_closed_without_a_word(impatient: Client) -> None:
    assert b"" == impatient.raw(b"")
    said = impatient.raw(head(impatient, 2).encode() + b"\r\n{}")
    assert said.endswith(b'{"models": [], "nextPageToken": ""}')


def test_an_unfinished_body_times_out(impatient: Client) -> None:
    said = impatient.raw(head(impatient, 5).encode() + b"\r\n{")
    assert said.startswith(b"HTTP/1.1 408 ")
    begun = impatient.begin("w", 5)["createUrl"].removeprefix(impatient.url)
    said = impatient.raw(f"PUT {begun} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n1".encode())
    assert said.startswith(b"HTTP/1.1 408 ")


def test_a_connection_too_many_is_told_to_come_back(impatient: Client) -> None:
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(impatient.connect())
        said = impatient.raw(b"")
    assert said.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 1\r\n" in said
    reply = json.loads(said.partition(b"\r\n\r\n")[2])
    assert (429, "RESOURCE_EXHAUSTED") == (reply["error"]["code"], reply["error"]["status"])

    def is_answered() -> bool:
        try:
            return impatient.rpc("ListModels").status == 200
        except OSError:
            return False

    wait_for(is_answered)


def test_a_body_that_is_too_large_is_refused(impatient: Client) -> None:
    assert 413 == impatient.rpc("ListModels", search="x" * 1000).status
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    chunked = head(impatient, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
    said = impatient.raw(chunked.encode() + b"\r\n" + chunk)
    assert said.startswith(b"HTTP/1.1 413 ")


def test_a_compressed_body_is_not_unpacked(client: Client) -> None:
    assert 400 == client.request(
        "POST", PATH, b"\x1f\x8b\x08\x00", {"Content-Encoding": "gzip",
        "Authorization": f"Bearer {client.token}"}
    ).status  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_without_a_traceback(client: Client, data: bytes) -> None:
    said = client.raw(data)
    assert b" 400 " in said.partition(b"\r\n")[0]
    assert b"Traceback" not in said
    assert 200 == client.rpc("ListModels").status


def test_a_strange_host_is_a_bad_request(client: Client) -> None:
    for host in ("[", "a b", "h:99999999", ""):
        said = client.raw(
            f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {client.token}\r\n"
            "Connection: close\r\nContent-Length: 2\r\n\r\n{}".encode()
        )
        assert b"HTTP/1.1 500" not in said


def test_a_client_of_the_last_century_is_served(client: Client) -> None:
    said = client.raw(
        f"POST {PATH} HTTP/1.0\r\nAuthorization: Bearer {client.token}\r\n"
        "Content-Length: 2\r\n\r\n{}".encode()
    )
    assert said.startswith(b"HTTP/1.0 200 ")


def test_an_absolute_target_is_ours_whatever_it_names(client: Client) -> None:
    body = json.dumps({"name": "w", "contentLength": 1}).encode()
    said = client.raw(
        b"POST http://localhost/api/v1/blobs.BlobApiService/StartBlobUpload HTTP/1.1\r\n"
        b"Host: localhost\r\nConnection: close\r\n"
        + f"Authorization: Bearer {client.token}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    assert said.startswith(b"HTTP/1.1 200 ")
    url = json.loads(said.partition(b"\r\n\r\n")[2])["createUrl"]
    assert url.startswith("http://localhost/upload?")
    # Reachable the way the client came.
    said = client.raw(
        f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        "Content-Length: 1\r\n\r\nx".encode()
    )
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("host", ["localhost", "api.kaggle.com:8080", "[::1]:8080"])
def test_requests_reaches_us_through_a_proxy_setting(
    client: Client, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", client.url)
    monkeypatch.setenv("http_proxy", client.url)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    client.create_model()
    client.create_instance({"w": b"weights"})
    base = f"http://{host}/api/v1"
    with requests.Session() as session:
        session.auth = ("alice", client.token)
        answer = session.post(
            f"{base}/models.ModelApiService/DownloadModelInstanceVersion",
            json={"ownerSlug": "alice", "modelSlug": "bert", "framework": "pyTorch",
                  "instanceSlug": "base", "versionNumber": 1, "path": "w"},
            timeout=10,
        )  # fmt: skip
        assert (200, b"weights") == (answer.status_code, answer.content)
        assert answer.url.startswith(f"http://{host}/storage/w?")


def test_an_open_registry_is_a_proxy_for_any_name(open_client: Client) -> None:
    said = open_client.raw(
        f"POST http://any.example{PATH} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n"
        "Content-Length: 2\r\n\r\n{}".encode()
    )
    assert said.startswith(b"HTTP/1.1 200 ")


def test_many_connections_do_not_disturb_one(client: Client) -> None:
    with ExitStack() as slow:
        for _ in range(100):
            slow.enter_context(client.connect()).sendall(b"GET / HT")
        assert 200 == client.rpc("ListModels").status
