"""The HTTP client over TLS: nobody is trusted who is not vouched for."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from modelfs.errors import Corrupt, Unavailable, Usage
from modelfs.registry.http import Http
from modelfs.registry.retries import Limits
from sims import faults
from sims.raw import RawServer, Request, Script, json_reply, redirect

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes certificates")

CONTENT = bytes(range(256)) * 1000
FAST = Limits(read=1, total=3, attempts=3, first_wait=0.01)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    path = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(path / "key.pem"), "-out", str(path / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return path / "cert.pem"


@pytest.fixture
def server(certificate: Path) -> Iterator[RawServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    def answer(request: Request) -> Script:
        if request.path == "/plain":
            return redirect("http://127.0.0.1:1/")
        good = request.method == "GET"
        return faults.good(request, CONTENT) if good else json_reply({"ok": 1})

    with RawServer(answer, tls=context) as server:
        yield server


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_authorities_of_the_environment_are_trusted(
    server: RawServer, certificate: Path, name: str
) -> None:
    with closing(Http(server.url, environ={name: str(certificate)}, limits=FAST)) as http:
        assert {"ok": 1} == http.call("v1/x", {})
        buffer = memoryview(bytearray(len(CONTENT)))
        with http.open(lambda _: f"{server.url}/f", len(CONTENT), 0, len(CONTENT)) as body:
            at = 0
            while count := body.readinto(buffer[at:]):
                at += count
        assert CONTENT == bytes(buffer)


def test_a_certificate_that_nobody_vouches_for_is_refused(server: RawServer) -> None:
    with (
        closing(Http(server.url, limits=FAST)) as http,
        pytest.raises(Unavailable, match="not trusted"),
    ):
        http.call("v1/x", {})
    assert [] == server.requests


def test_a_server_without_tls_is_not_said_to_have_a_bad_certificate() -> None:
    with (
        RawServer(lambda _: json_reply({})) as server,
        closing(Http(server.url.replace("http://", "https://"))) as http,
        pytest.raises(Unavailable, match="no TLS") as caught,
    ):
        http.call("v1/x", {})
    assert "http://" in caught.value.hint


def test_a_certificate_of_another_name_is_refused(server: RawServer, certificate: Path) -> None:
    environ = {"REQUESTS_CA_BUNDLE": str(certificate)}
    url = server.url.replace("127.0.0.1", "localhost")
    with (
        closing(Http(url, environ=environ, limits=FAST)) as http,
        pytest.raises(Unavailable, match="not trusted"),
    ):
        http.call("v1/x", {})


def test_a_redirect_to_plain_text_is_refused(server: RawServer, certificate: Path) -> None:
    environ = {"REQUESTS_CA_BUNDLE": str(certificate)}
    with (
        closing(Http(server.url, environ=environ, limits=FAST)) as http,
        pytest.raises(Corrupt, match="https to http"),
    ):
        http.open(lambda _: f"{server.url}/plain", 5, 0, 5)


def test_authorities_that_are_not_there_are_told(server: RawServer) -> None:
    environ = {"REQUESTS_CA_BUNDLE": "/nonexistent/authorities"}
    with (
        closing(Http(server.url, environ=environ, limits=FAST)) as http,
        pytest.raises(Usage, match="authorities"),
    ):
        http.call("v1/x", {})
