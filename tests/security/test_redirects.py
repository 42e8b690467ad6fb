"""Wherever a registry sends its clients, its credentials do not go along."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from modelfs.errors import Error
from modelfs.registry.http import Http
from modelfs.registry.retries import Limits
from security.leaks import Scan
from sims import faults
from sims.raw import RawServer, Request, Script, json_reply, redirect

CONTENT = bytes(range(256)) * 40
SECRET = "canary-0123456789-abcdef"
FAST = Limits(connect=2, read=1, total=3, attempts=2, first_wait=0.01)

# Where the registry at port `a` sends whoever asks; the thief is at port `b`. Those that are
# followed bring the file, those that are not end in an error.
KINDS: dict[str, str] = {
    "another port": "http://127.0.0.1:{b}/f",
    "another name of this machine": "http://localhost:{b}/f",
    "relative to the protocol": "//localhost:{b}/f",
    "a scheme in capitals": "HTTP://LOCALHOST:{b}/f",
    "userinfo": "http://alice:pass@localhost:{b}/f",
    "our address as userinfo": "http://127.0.0.1:{a}@localhost:{b}/f",
    "backslashes": "http:\\\\localhost:{b}\\f",
    "a backslash before an at sign": "http://127.0.0.1:{a}\\@localhost:{b}/f",
    "https": "https://localhost:{b}/f",
    "file": "file:///etc/passwd",
    "a line break": "/f\r\nX-Injected: http://localhost:{b}/f",
    "a name that begins like ours": "http://127.0.0.1:{a}.localhost:{b}/f",
    "another host of the network": "http://registry.test:{b}/f",
    "every address of this machine": "http://0.0.0.0:{b}/f",
}
FOLLOWED = {
    "another port",
    "another name of this machine",
    "relative to the protocol",
    "a scheme in capitals",
}
PLAIN = {"another host of the network", "every address of this machine"}


@pytest.fixture
def thief() -> Iterator[RawServer]:
    with RawServer(lambda request: faults.good(request, CONTENT), "thief") as server:
        yield server


@pytest.fixture
def registry(thief: RawServer, request: pytest.FixtureRequest) -> Iterator[RawServer]:
    servers: list[RawServer] = []

    def answer(asked: Request) -> Script:
        kind, status = request.param
        location = KINDS[kind].format(a=servers[0].port, b=thief.port)
        return redirect(location, status) if asked.path == "/start" else json_reply({})

    with RawServer(answer, "registry") as server:
        servers.append(server)
        yield server


EVERY = [(kind, 302) for kind in KINDS] + [
    ("another name of this machine", status) for status in (301, 303, 307)
]


@pytest.mark.parametrize("registry", EVERY, indirect=True, ids=lambda item: f"{item[0]}, {item[1]}")
def test_credentials_do_not_follow_a_redirect(
    registry: RawServer, thief: RawServer, request: pytest.FixtureRequest
) -> None:
    kind, _ = request.node.callspec.params["registry"]
    with closing(Http(registry.url, authorization=lambda: f"Bearer {SECRET}", limits=FAST)) as http:
        if kind in FOLLOWED:
            assert CONTENT == _read(http, f"{registry.url}/start")
        else:
            with pytest.raises(Error) as caught:
                _read(http, f"{registry.url}/start")
            assert SECRET not in str(caught.value)
            if kind in PLAIN:
                assert "without TLS" in str(caught.value)
        # A call is not redirected at all: its body may be a secret, too.
        with pytest.raises(Error):
            http.call("start", {"secret": SECRET})
    assert any(SECRET in asked.headers.get("authorization", "") for asked in registry.requests)
    scan = Scan([SECRET, "alice:pass"])
    scan.text("thief", repr(thief.requests))
    assert [] == scan.found
    # The greeting of TLS is random, and may look like a request of no known method.
    assert (kind in FOLLOWED) == any(asked.method.isalpha() for asked in thief.requests)


def test_credentials_are_back_only_at_home(thief: RawServer) -> None:
    """Out to another host and back: what is asked there has none, what is asked at home has."""
    with ExitStack() as stack:
        servers: list[RawServer] = []

        def at_home(asked: Request) -> Script:
            if asked.path == "/start":
                return redirect(f"http://localhost:{servers[1].port}/away")
            return faults.good(asked, CONTENT)

        def away(asked: Request) -> Script:
            return redirect(f"{servers[0].url}/home")

        for number, answer in enumerate((at_home, away)):
            servers.append(stack.enter_context(RawServer(answer, f"host-{number}")))
        home, other = servers
        client = Http(home.url, authorization=lambda: f"Bearer {SECRET}", limits=FAST)
        with closing(client) as http:
            assert CONTENT == _read(http, f"{home.url}/start")
    assert [False] == ["authorization" in asked.headers for asked in other.requests]


def _read(http: Http, url: str) -> bytes:
    buffer = memoryview(bytearray(len(CONTENT)))
    at = 0
    with http.open(lambda _: url, len(CONTENT), 0, len(CONTENT)) as body:
        while count := body.readinto(buffer[at:]):
            at += count
    return bytes(buffer[:at])


# Certificates.

Sign = Callable[..., ssl.SSLContext]


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Sign]:
    """A certificate authority of ours, and `sign(*extensions, days)`: a server's side of TLS."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificates")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        *("req", "-x509", *key, "-days", "2", "-subj", "/CN=authority"),
        *("-keyout", "ca.key", "-out", "ca.pem"),
    )

    def sign(name: str, is_expired: bool = False) -> ssl.SSLContext:
        (tmp_path / "extensions").write_text(f"subjectAltName={name}\n")
        openssl("req", "-new", *key, "-subj", "/CN=server", "-keyout", "key", "-out", "request")
        openssl(
            *("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-extfile", "extensions", "-out", "cert"),
            *("-days", "-1" if is_expired else "2"),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        return context

    return tmp_path / "ca.pem", sign


@pytest.mark.parametrize(
    ("name", "is_trusting", "is_expired", "is_taken"),
    [
        ("IP:127.0.0.1", True, False, True),
        ("IP:127.0.0.1", False, False, False),
        ("DNS:registry.example", True, False, False),
        ("IP:127.0.0.1", True, True, False),
    ],
    ids=["good", "of an unknown authority", "of another name", "expired"],
)
def test_only_a_certificate_that_is_good_gets_the_token(
    authority: tuple[Path, Sign], name: str, is_trusting: bool, is_expired: bool, is_taken: bool
) -> None:
    bundle, sign = authority
    environ = {"REQUESTS_CA_BUNDLE": str(bundle)} if is_trusting else {}
    server = RawServer(lambda request: json_reply({"ok": 1}), tls=sign(name, is_expired))
    with server:
        client = Http(
            server.url, authorization=lambda: f"Bearer {SECRET}", environ=environ, limits=FAST
        )
        with closing(client) as http:
            if is_taken:
                assert {"ok": 1} == http.call("v1/x", {})
            else:
                with pytest.raises(Error, match="not trusted"):
                    http.call("v1/x", {})
    assert is_taken == any(asked.method.isalpha() for asked in server.requests)


def test_nothing_turns_the_check_of_certificates_off() -> None:
    """No option, no variable: not in the sources, so not by mistake."""
    sources = (Path(__file__).parents[2] / "src").rglob("*.py")
    words = ("verify=False", "CERT_NONE", "check_hostname", "InsecureRequestWarning", "_unverified")
    assert [] == [str(path) for path in sources for word in words if word in path.read_text()]
