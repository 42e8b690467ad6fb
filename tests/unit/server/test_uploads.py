"""Resumable uploads, as both official clients do them, and as nobody should."""

from __future__ import annotations

import base64
import hashlib
import threading
from pathlib import Path
from urllib.parse import urlsplit

import google_crc32c
import pytest

from conftest import wait_for
from modelfs.server.app import Settings, running
from unit.server.client import Answer, Client

DATA = bytes(range(256)) * 40  # 10,240 bytes


def put(client: Client, url: str, data: bytes, content_range: str = "") -> Answer:
    return client.request(
        "PUT", url, data, {"Content-Range": content_range} if content_range else {}
    )


def put_head(url: str, size: int) -> bytes:
    """The head of a PUT of so many bytes."""
    parts = urlsplit(url)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"
    return head.encode()


def ask(client: Client, url: str, size: int | str = "*") -> Answer:
    """How much is here."""
    return put(client, url, b"", f"bytes */{size}")


def test_a_plain_put_is_the_whole_file(client: Client) -> None:
    url = client.begin("w", len(DATA))["createUrl"]
    assert url.startswith(client.url + "/")
    assert 200 == put(client, url, DATA).status


def test_a_whole_range_is_the_whole_file(client: Client) -> None:
    url = client.begin("w", len(DATA))["createUrl"]
    assert 200 == put(client, url, DATA, f"bytes 0-{len(DATA) - 1}/{len(DATA)}").status


def test_what_arrived_is_told_with_its_hashes(client: Client) -> None:
    url = client.begin("w", len(DATA))["createUrl"]
    md5 = base64.b64encode(hashlib.md5(DATA).digest()).decode()
    crc32c = base64.b64encode(google_crc32c.value(DATA).to_bytes(4, "big")).decode()
    told = {"name": "w", "size": str(len(DATA)), "md5Hash": md5, "crc32c": crc32c}
    for answer in (put(client, url, DATA), ask(client, url, len(DATA)), put(client, url, DATA)):
        assert (200, told) == (answer.status, answer.json)
        assert f"crc32c={crc32c},md5={md5}" == answer.headers["x-goog-hash"]


def test_an_empty_file_comes_in_three_ways(client: Client) -> None:
    chunked = client.begin("e", 0)["createUrl"]
    parts = urlsplit(chunked)
    head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    said = client.raw(
        f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n".encode()
    )
    assert said.startswith(b"HTTP/1.1 200 ")
    assert 200 == put(client, client.begin("e", 0)["createUrl"], b"").status
    assert 200 == ask(client, client.begin("e", 0)["createUrl"], 0).status


def test_an_upload_goes_on_where_it_stopped(client: Client) -> None:
    size = len(DATA)
    begun = client.begin("w", size)
    url = begun["createUrl"]
    fresh = ask(client, url, size)
    assert (308, None) == (fresh.status, fresh.headers.get("range"))
    first = put(client, url, DATA[:4000], f"bytes 0-3999/{size}")
    assert (308, "bytes=0-3999") == (first.status, first.headers["range"])
    told = ask(client, url, size)
    assert (308, "bytes=0-3999") == (told.status, told.headers["range"])
    # A client that is behind sends some of it again.
    second = put(client, url, DATA[3000:], f"bytes 3000-{size - 1}/{size}")
    assert 200 == second.status
    # For days a client may ask whether an upload was finished, or send it again.
    assert 200 == ask(client, url, size).status
    assert 200 == put(client, url, DATA).status
    client.create_model()
    body = {"instanceSlug": "base", "framework": "jax", "files": [{"token": begun["token"]}]}
    name = {"ownerSlug": "alice", "modelSlug": "bert"}
    assert client.rpc("CreateModelInstance", **name, body=body).json["id"]
    values = {**name, "framework": "jax", "instanceSlug": "base", "versionNumber": 1, "path": "w"}
    location = client.rpc("DownloadModelInstanceVersion", **values).headers["location"]
    assert DATA == client.request("GET", location).body


def test_what_came_before_a_cut_is_kept(client: Client) -> None:
    data = DATA * 300  # 3 MB
    url = client.begin("w", len(data))["createUrl"]
    with client.connect() as connection:
        connection.sendall(put_head(url, len(data)) + data[: 2 << 20])

    def received() -> int:
        return int(ask(client, url).headers.get("range", "bytes=0--1").rpartition("-")[2]) + 1

    # All but what was still in buffers.
    here = wait_for(lambda: n if (n := received()) >= 1 << 20 else 0)
    assert here <= 2 << 20
    rest = put(client, url, data[here:], f"bytes {here}-{len(data) - 1}/{len(data)}")
    assert 200 == rest.status


def test_a_newer_request_takes_an_upload_over(client: Client) -> None:
    url = client.begin("w", len(DATA))["createUrl"]
    with client.connect() as stalled:
        stalled.sendall(put_head(url, len(DATA)) + DATA[:5000])
        assert 200 == put(client, url, DATA).status
        assert 200 == ask(client, url).status


def test_many_requests_for_one_upload_leave_it_whole(client: Client) -> None:
    url = client.begin("w", len(DATA))["createUrl"]
    seen: list[int] = []

    def send() -> None:
        try:
            seen.append(put(client, url, DATA).status)
        except OSError:  # taken over by another
            seen.append(0)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(seen) <= {0, 200}
    assert 200 in seen
    assert 200 == ask(client, url).status


@pytest.mark.parametrize(
    ("data", "content_range", "status"),
    [
        (DATA + b"x", "", 413),
        (DATA[:-1], "", 400),
        (DATA[5:9], "bytes 5-8/10240", 416),
        (DATA[:5], "bytes 0-8/10240", 400),
        (DATA[:9], "bytes 0-8/9", 400),
        (DATA[:9], "bytes 8-0/10240", 400),
        (DATA[:9], "bytes 10236-10244/*", 413),
        (b"", "bytes */11", 400),
        (b"", "rubbish", 400),
    ],
)
def test_what_does_not_fit_is_refused(
    client: Client, data: bytes, content_range: str, status: int
) -> None:
    url = client.begin("w", len(DATA))["createUrl"]
    answer = put(client, url, data, content_range)
    assert (status, status) == (answer.status, answer.json["code"])
    assert 308 == ask(client, url).status
    assert 200 == put(client, url, DATA).status


def test_chunks_beyond_the_announced_size_are_refused(client: Client) -> None:
    url = client.begin("w", 5)["createUrl"]
    parts = urlsplit(url)
    head = (
        f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    said = client.raw(head.encode() + b"6\r\nabcdef\r\n0\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")


def test_a_guessed_upload_does_not_exist(client: Client) -> None:
    for token in ("", "guess", "../../token", "0" * 48):
        assert 404 == put(client, f"/upload?upload_id={token}", b"").status


def test_an_upload_survives_a_restart(directory: Path) -> None:
    with running(Settings(directory, "alice")) as url:
        client = Client(url, (directory / "token").read_text().strip())
        old = client.begin("w", len(DATA))["createUrl"].removeprefix(url)
        put(client, old, DATA[:1000], f"bytes 0-999/{len(DATA)}")
    with running(Settings(directory, "alice")) as url:
        client = Client(url, client.token)
        assert "bytes=0-999" == ask(client, old).headers["range"]
        rest = put(client, old, DATA[1000:], f"bytes 1000-{len(DATA) - 1}/{len(DATA)}")
        assert 200 == rest.status
