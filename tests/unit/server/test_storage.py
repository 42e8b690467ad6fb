"""Published files: whole, in part, not at all."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

import google_crc32c
import pytest

from modelfs.server.app import Settings, running
from unit.server.client import INSTANCE, Client

# More than what is sent in one write, so that the kernel sends it.
BIG = hashlib.shake_256(b"weights").digest(300_000)
FILES = {"big.bin": BIG, "empty": b"", "d/ü #?%2f;+.json": b'{"code": 500}'}


@pytest.fixture
def bert(client: Client) -> Client:
    client.create_model()
    assert client.create_instance(FILES).json["id"]
    return client


@pytest.mark.parametrize("path", FILES)
def test_a_file_comes_back_with_its_hashes(bert: Client, path: str) -> None:
    data = FILES[path]
    answer = bert.request("GET", bert.location(path=path))
    assert (200, data) == (answer.status, answer.body)
    assert str(len(data)) == answer.headers["content-length"]
    assert "application/octet-stream" == answer.headers["content-type"]
    assert "bytes" == answer.headers["accept-ranges"]
    assert f'"{hashlib.sha256(data).hexdigest()}"' == answer.headers["etag"]
    assert answer.headers["last-modified"].endswith(" GMT")
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    crc32c = google_crc32c.value(data).to_bytes(4, "big")
    hashes = f"crc32c={base64.b64encode(crc32c).decode()},md5={md5}"
    assert hashes == answer.headers["x-goog-hash"]


def test_an_address_ends_in_the_encoded_name(bert: Client) -> None:
    path = urlsplit(bert.location(path="d/ü #?%2f;+.json")).path
    assert "/storage/%C3%BC%20%23%3F%252f%3B%2B.json" == path


def test_a_head_tells_the_same_and_sends_nothing(bert: Client) -> None:
    url = bert.location(path="big.bin")
    whole, head = bert.request("GET", url), bert.request("HEAD", url)
    assert b"" == head.body
    ignored = {"date"}
    assert {k: v for k, v in whole.headers.items() if k not in ignored} == {
        k: v for k, v in head.headers.items() if k not in ignored
    }


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=10-", 10, 300_000), ("bytes=-5", 299_995, 300_000)],
)
def test_a_part_says_what_it_is(bert: Client, text: str, start: int, stop: int) -> None:
    url = bert.location(path="big.bin")
    whole = bert.request("HEAD", url)
    answer = bert.request("GET", url, headers={"Range": text})
    assert (206, BIG[start:stop]) == (answer.status, answer.body)
    assert f"bytes {start}-{stop - 1}/300000" == answer.headers["content-range"]
    assert str(stop - start) == answer.headers["content-length"]
    for name in ("etag", "last-modified", "x-goog-hash"):
        assert whole.headers[name] == answer.headers[name]


def test_a_part_beyond_the_end_cannot_be_sent(bert: Client) -> None:
    url = bert.location(path="big.bin")
    answer = bert.request("GET", url, headers={"Range": "bytes=300000-"})
    assert (416, "bytes */300000") == (answer.status, answer.headers["content-range"])


def test_what_the_client_has_is_compared(bert: Client) -> None:
    url = bert.location(path="big.bin")
    etag = bert.request("HEAD", url).headers["etag"]
    part = bert.request("GET", url, headers={"Range": "bytes=1-2", "If-Range": etag})
    other = bert.request("GET", url, headers={"Range": "bytes=1-2", "If-Range": '"x"'})
    same = bert.request("GET", url, headers={"If-None-Match": etag})
    assert (206, 200, 304) == (part.status, other.status, same.status)
    assert b"" == same.body


def test_a_whole_version_is_a_tar_that_never_changes(bert: Client) -> None:
    first = bert.request("GET", bert.location())
    second = bert.request("GET", bert.location())
    assert first.body == second.body
    assert first.headers["etag"] == second.headers["etag"]
    assert "md5=" in first.headers["x-goog-hash"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(first.body))) as archive:
        found = {item.name: archive.extractfile(item) for item in archive if item.isfile()}
        assert FILES == {name: file.read() for name, file in found.items() if file}


def test_an_address_is_good_without_a_token_and_after_a_restart(directory: Path) -> None:
    with running(Settings(directory, "alice")) as url:
        client = Client(url, (directory / "token").read_text().strip())
        client.create_model()
        client.create_instance(FILES)
        location = client.location(path="big.bin").removeprefix(url)
    with running(Settings(directory, "alice")) as url:
        assert BIG == Client(url).request("GET", location).body


def test_a_guessed_address_is_forbidden(bert: Client) -> None:
    url = bert.location(path="big.bin")
    assert 403 == bert.request("GET", url[:-1] + ("0" if url[-1] != "0" else "1")).status
    assert 403 == bert.request("GET", url.partition("?")[0]).status
    assert 403 == bert.request("GET", url.replace("/big.bin?", "/other?")).status


def test_a_file_that_was_damaged_is_not_served(bert: Client, directory: Path) -> None:
    url = bert.location(path="big.bin")
    blob = next(path for path in (directory / "blobs").rglob("*") if path.is_file()
                and path.stat().st_size == len(BIG))  # fmt: skip
    blob.chmod(0o600)
    blob.write_bytes(BIG[:-1])
    assert 502 == bert.request("GET", url).status
    blob.unlink()
    assert 404 == bert.request("GET", url).status


def test_bytes_served_are_counted_once(bert: Client) -> None:
    url = bert.location(path="big.bin")
    bert.request("GET", url)
    bert.request("HEAD", url)
    bert.request("GET", url, headers={"Range": "bytes=0-9"})
    stats = bert.request("GET", "/-/stats").json
    assert len(BIG) + 10 == stats["bytes_served"]
    assert 3 == stats["requests"]["storage"]


def test_a_connection_is_used_again(bert: Client) -> None:
    parts = urlsplit(bert.location(path="big.bin"))
    head = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
    said = bert.raw(f"{head}\r\n{head}Range: bytes=0-3\r\nConnection: close\r\n\r\n".encode())
    assert 1 == said.count(b"HTTP/1.1 200 OK")
    assert said.endswith(b"\r\n\r\n" + BIG[:4])
    assert BIG in said


def test_another_version_has_another_archive(bert: Client) -> None:
    bert.create_version({"x": b"1"})
    assert 2 == bert.rpc("GetModelInstance", **INSTANCE).json["versionNumber"]
    assert (
        bert.request("HEAD", bert.location(1)).headers["etag"]
        != bert.request("HEAD", bert.location(2)).headers["etag"]
    )
