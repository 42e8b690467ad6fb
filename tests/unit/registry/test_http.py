"""The HTTP client against servers that break the rules."""

from __future__ import annotations

import gc
import hashlib
import itertools
import random
import re
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate

import pytest

from conftest import wait_for
from modelfs import errors, waiting
from modelfs.registry import connections
from modelfs.registry.base import Body
from modelfs.registry.http import Http
from modelfs.registry.retries import Limits
from sims import faults
from sims.raw import (
    DROP,
    RESET,
    STALL,
    Answer,
    Pause,
    RawServer,
    Request,
    Script,
    head,
    json_reply,
    redirect,
    reply,
)

CONTENT = random.Random(1).randbytes(300_000)
FAST = Limits(connect=2, read=0.3, total=6, document=100_000, first_wait=0.01, longest_wait=0.05)


@pytest.fixture
def serve() -> Iterator[object]:
    """`serve(answer)`: a running RawServer."""
    servers: list[RawServer] = []

    def start(answer: Answer) -> RawServer:
        server = RawServer(answer)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


def client(server: RawServer, secret: str = "", limits: Limits = FAST, **environ: str) -> closing:
    return closing(Http(server.url, authorization=lambda: secret, environ=environ, limits=limits))


def drained(body: Body) -> bytes:
    content, buffer = bytearray(), memoryview(bytearray(70_000))
    with body:
        while count := body.readinto(buffer):
            content += buffer[:count]
    return bytes(content)


def fetched(http: Http, url: str, start: int, stop: int, size: int = len(CONTENT)) -> bytes:
    return drained(http.open(lambda is_fresh: url, size, start, stop))


RANGES = [(0, 300_000), (0, 1), (299_999, 300_000), (100_000, 200_000)]


@pytest.mark.parametrize(("start", "stop"), RANGES)
def test_a_range_is_exactly_what_was_asked_for(serve, start, stop):
    server = serve(lambda request: faults.good(request, CONTENT))
    with client(server) as http:
        assert CONTENT[start:stop] == fetched(http, f"{server.url}/file", start, stop)
    assert [(start, stop)] == [request.range for request in server.requests]


def test_the_digests_of_the_whole_file_come_with_a_range(serve):
    server = serve(lambda request: faults.good(request, CONTENT))
    with client(server) as http, http.open(lambda _: f"{server.url}/f", 300_000, 5, 6) as body:
        assert hashlib.md5(CONTENT).hexdigest() == body.digests.md5


def test_one_connection_serves_many_ranges(serve):
    server = serve(lambda request: faults.good(request, CONTENT))
    connections = set()
    with client(server) as http:
        for start in range(0, 300_000, 30_000):
            fetched(http, f"{server.url}/file", start, start + 30_000)
            connections.update(server._threads)
    assert 2 == len(connections)  # the listener's and one connection's


@pytest.mark.parametrize("name", faults.PASSING)
@pytest.mark.parametrize(("start", "stop"), [(0, 300_000), (1000, 250_000)])
def test_a_passing_fault_is_not_seen_by_the_reader(serve, name, start, stop):
    fault = faults.PASSING[name]
    server = serve(faults.first(iter([fault, fault]), CONTENT))
    with client(server) as http:
        assert CONTENT[start:stop] == fetched(http, f"{server.url}/file", start, stop)


@pytest.mark.parametrize("name", faults.LASTING)
def test_a_lasting_fault_ends_in_an_error_of_ours(serve, name):
    server = serve(lambda request: faults.LASTING[name](request, CONTENT))
    with client(server) as http, pytest.raises(errors.Error):
        fetched(http, f"{server.url}/file", 1000, 250_000)


@pytest.mark.parametrize(
    ("name", "times"),
    [*((name, 1) for name in (*faults.PASSING, *faults.LASTING)), ("503", 9), ("429", 9)],
)
def test_who_met_a_fault_is_not_left_to_the_collector(serve, name, times):
    """He has files open, which nobody would close in an idle process."""
    fault = (faults.PASSING | faults.LASTING)[name]
    server = serve(faults.first(itertools.repeat(fault, times), CONTENT))

    class Buffer(bytearray):
        """What a weak reference can be made of."""

    def read(http: Http) -> weakref.ref[Buffer]:
        buffer = Buffer(1000)
        try:
            body = http.open(lambda _: f"{server.url}/file", len(CONTENT), 1000, 2000)
            body.readinto(memoryview(buffer))
        except errors.Error:
            pass
        return weakref.ref(buffer)

    with client(server) as http:
        gc.collect()
        gc.disable()
        try:
            assert read(http)() is None
        finally:
            gc.enable()


def test_reads_complete_when_three_of_ten_requests_fail(serve):
    chance = random.Random(7)
    kinds = list(faults.PASSING.values())

    def answer(request: Request) -> Script:
        bad = chance.random() < 0.3
        return (chance.choice(kinds) if bad else faults.good)(request, CONTENT)

    server = serve(answer)
    with client(server) as http:
        for start in range(0, 300_000, 5_000):
            assert CONTENT[start : start + 5_000] == fetched(
                http, f"{server.url}/file", start, start + 5_000
            )


def test_a_body_is_resumed_at_the_next_byte_and_only_of_the_same_file(serve):
    half = faults._half(DROP)
    server = serve(faults.first(iter([half, half]), CONTENT))
    with client(server) as http:
        fetched(http, f"{server.url}/file", 0, 300_000)
    starts = [request.range[0] for request in server.requests]
    assert [0, 150_000, 225_000] == starts
    assert ["", *[f'"{hashlib.md5(CONTENT).hexdigest()}"'] * 2] == [
        request.headers.get("if-range", "") for request in server.requests
    ]


@pytest.mark.parametrize("untold", ["ETag", "x-goog-hash"])
def test_a_file_that_changes_while_it_is_read_is_corrupt(serve, untold):
    contents = iter([CONTENT])

    def answer(request: Request) -> Script:
        content = next(contents, CONTENT[::-1])
        fields = faults.right_fields(request, content)
        del fields[untold]
        start, stop = request.range
        if content is CONTENT:
            return [head(206, fields) + content[start : stop // 2], DROP]
        return [head(206, fields) + content[start:stop]]

    server = serve(answer)
    with client(server) as http, pytest.raises(errors.Corrupt, match="changed while it was read"):
        fetched(http, f"{server.url}/file", 0, 300_000)


def test_what_is_said_to_be_compressed_is_not_taken_for_bytes(serve):
    def answer(request: Request) -> Script:
        fields = faults.right_fields(request, CONTENT) | {"Content-Encoding": "gzip"}
        return [head(206, fields) + CONTENT]

    server = serve(answer)
    with client(server) as http, pytest.raises(errors.Corrupt, match="compressed"):
        fetched(http, f"{server.url}/file", 0, 300_000)


def test_a_storage_without_ranges_serves_the_front_of_a_file(serve):
    server = serve(lambda request: faults._whole(request, CONTENT))
    with client(server) as http:
        assert CONTENT[:9] == fetched(http, f"{server.url}/file", 0, 9)
        assert CONTENT[70_000:70_009] == fetched(http, f"{server.url}/file", 70_000, 70_009)


def test_a_storage_without_ranges_is_not_read_from_far_behind(serve):
    content = bytes(3 << 20)
    server = serve(lambda request: faults._whole(request, content))
    with client(server) as http, pytest.raises(errors.Corrupt, match="part of a file"):
        fetched(http, f"{server.url}/file", 2 << 20, 3 << 20, len(content))


def test_a_dripping_head_does_not_outlast_the_time_out(serve):
    def drip(request: Request) -> Script:
        yield b"HTTP/1.1 200 X\r\n"
        for count in range(1000):
            yield Pause(0.05)
            yield f"X-{count}: y\r\n".encode()

    server = serve(drip)
    begun = time.monotonic()
    limits = Limits(read=0.3, total=1, first_wait=0.01)
    with client(server, limits=limits) as http, pytest.raises(errors.DeadlinePassed):
        http.call("v1/x", {})
    assert time.monotonic() - begun < 20


def test_a_dripping_document_does_not_outlast_the_deadline(serve):
    def drip(request: Request) -> Script:
        yield head(200, {"Content-Length": "1000"})
        for _ in range(1000):
            yield Pause(0.05)
            yield b" "

    server = serve(drip)
    begun = time.monotonic()
    limits = Limits(read=5, total=1, first_wait=0.01)
    with client(server, limits=limits) as http, pytest.raises(errors.DeadlinePassed):
        http.call("v1/x", {})
    assert time.monotonic() - begun < 20


def test_a_dripping_body_is_given_up(serve):
    server = serve(lambda request: slowly(request, piece=1, pause=0.02))
    begun = time.monotonic()
    with (
        client(server, limits=Limits(read=5, total=0.5)) as http,
        pytest.raises(errors.DeadlinePassed, match="bytes came within"),
    ):
        fetched(http, f"{server.url}/file", 0, 2500)  # in 50 s
    assert time.monotonic() - begun < 20


def test_a_slow_body_comes_to_its_end(serve):
    server = serve(lambda request: slowly(request, piece=50_000, pause=0.3))
    with client(server, limits=Limits(read=5, total=0.5)) as http:
        assert CONTENT == fetched(http, f"{server.url}/file", 0, len(CONTENT))


def slowly(request: Request, piece: int, pause: float) -> Script:
    (answer,) = faults.good(request, CONTENT)
    assert isinstance(answer, bytes)
    begin = answer.index(b"\r\n\r\n") + 4
    yield answer[:begin]
    for at in range(begin, len(answer), piece):
        yield answer[at : at + piece]
        yield Pause(pause)


# Credentials


def test_credentials_go_to_the_registry(serve):
    server = serve(lambda request: json_reply({}))
    with client(server, "Bearer s3cret") as http:
        http.call("v1/x", {})
    assert "Bearer s3cret" == server.requests[0].headers["authorization"]


def test_credentials_go_to_no_other_host(serve):
    thief = serve(lambda request: faults.good(request, CONTENT))
    registry = serve(lambda request: redirect(f"{thief.url}/file"))
    with client(registry, "Bearer s3cret") as http:
        assert CONTENT == fetched(http, f"{registry.url}/file", 0, 300_000)
        assert f"{thief.url}/file" == http.locate("v1/x", {})
    assert "authorization" in registry.requests[0].headers
    assert ["authorization" in request.headers for request in thief.requests] == [False]
    assert "s3cret" not in repr(thief.requests)


def test_credentials_in_a_netrc_are_not_used(serve, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server = serve(lambda request: json_reply({}))
    with client(server) as http:
        http.call("v1/x", {})
    assert "authorization" not in server.requests[0].headers


def test_a_cookie_is_not_kept(serve):
    server = serve(lambda request: json_reply({}, set_cookie="a=b"))
    with client(server) as http:
        http.call("v1/x", {})
        http.call("v1/x", {})
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize("text", ["{url}/file?X-Goog-Signature=s3cret", "http://u:s3cret@{host}/"])
def test_an_error_shows_no_secret(serve, text):
    server = serve(lambda request: reply(416))
    url = text.format(url=server.url, host=server.url.removeprefix("http://"))
    with client(server, "Bearer s3cret") as http, pytest.raises(errors.Error) as caught:
        fetched(http, url, 0, 5)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize(
    ("header", "quoted"),
    [
        ("Bearer s3cret", "s3cret"),
        ("Basic YWxpY2U6czNjcmV0", "alice:s3cret is not known"),
        ("Basic YWxpY2U6czNjcmV0", "Authorization: Basic YWxpY2U6czNjcmV0"),
    ],
)
def test_a_registry_that_quotes_our_credentials_is_not_quoted(serve, status, header, quoted):
    server = serve(lambda request: json_reply({"code": 403, "message": f"no: {quoted}"}, status))
    with client(server, header) as http, pytest.raises(errors.Forbidden) as caught:
        http.call("v1/x", {})
    assert str(caught.value).startswith("no: ")
    assert not re.search("s3cret|czNjcmV0", str(caught.value) + repr(caught.value.__cause__))


# Redirects


def test_redirects_of_a_storage_are_followed(serve):
    hops = itertools.chain([redirect("/b"), redirect("/c?d", 307)])
    server = serve(lambda request: next(hops, None) or faults.good(request, CONTENT))
    with client(server) as http:
        assert CONTENT[5:9] == fetched(http, f"{server.url}/a", 5, 9)
    assert ["/a", "/b", "/c?d"] == [request.target for request in server.requests]


def test_redirects_end(serve):
    count = itertools.count()
    server = serve(lambda request: redirect(f"/{next(count)}"))
    with client(server) as http, pytest.raises(errors.Corrupt, match="without an end"):
        fetched(http, f"{server.url}/a", 5, 9)
    assert 6 == len(server.requests)


def test_a_call_that_is_redirected_is_not_answered(serve):
    server = serve(lambda request: redirect("/login"))
    with client(server) as http, pytest.raises(errors.Error):
        http.call("v1/x", {})


def test_addresses_and_bytes_come_over_one_connection(serve):
    def answer(request: Request) -> Script:
        if request.method == "POST":
            return json_reply({}, 302, location="/file")
        return faults.good(request, CONTENT)

    server = serve(answer)
    connections = set()
    with client(server) as http:
        for start in range(5):
            url = http.locate("v1/x", {})
            assert CONTENT[start : start + 1] == fetched(http, url, start, start + 1)
            connections.update(server._threads)
    assert 2 == len(connections)  # the listener's and one connection's


@pytest.mark.parametrize("rest", [[STALL], [bytes(10_000)] * 10_000], ids=["stalls", "is endless"])
def test_what_a_redirect_says_beside_its_address_is_not_waited_for(serve, rest):
    script = [head(302, {"Location": "/file", "Content-Length": "100000000"}), *rest]
    server = serve(lambda request: script)
    with client(server) as http:
        begun = time.monotonic()
        assert f"{server.url}/file" == http.locate("v1/x", {})
        assert time.monotonic() - begun < 2


# Retries


def answers(*scripts: Script) -> Answer:
    rest = iter(scripts)
    return lambda request: next(rest, None) or json_reply({"ok": 1})


@pytest.mark.parametrize(
    "script", [reply(500), reply(503), [DROP], [RESET], reply(502, faults.HTML)]
)
def test_an_idempotent_call_is_tried_again(serve, script):
    server = serve(answers(script, script))
    with client(server) as http:
        assert {"ok": 1} == http.call("v1/x", {})
    assert 3 == len(server.requests)


@pytest.mark.parametrize("script", [reply(500), [DROP], [RESET], [STALL]])
def test_a_call_that_changes_something_is_sent_once(serve, script):
    server = serve(answers(script))
    with client(server) as http, pytest.raises(errors.Unavailable):
        http.call("v1/x", {}, is_idempotent=False)
    assert 1 == len(server.requests)


def test_a_call_that_changes_something_is_sent_again_after_429(serve):
    server = serve(answers(reply(429)))
    with client(server) as http:
        assert {"ok": 1} == http.call("v1/x", {}, is_idempotent=False)


def test_a_refused_connection_is_tried_again_for_any_call(serve):
    server = serve(answers())
    server.stop()
    with client(server) as http, pytest.raises(errors.Unavailable, match="no connection"):
        http.call("v1/x", {}, is_idempotent=False)
    server._listener = None
    server.start()  # for the fixture


def test_retry_after_is_kept_by_everybody(serve):
    server = serve(answers(reply(429, retry_after="1")))
    with client(server) as http:
        begun = time.monotonic()
        http.call("v1/x", {})
        assert 1 <= time.monotonic() - begun < 3


def test_retry_after_may_be_a_date(serve):
    # A date has no fractions: two seconds ahead are more than one.
    server = serve(answers(reply(429, retry_after=formatdate(time.time() + 2, usegmt=True))))
    with client(server) as http:
        begun = time.monotonic()
        http.call("v1/x", {})
        assert time.monotonic() - begun > 0.9


def test_a_long_retry_after_is_told_at_once(serve):
    server = serve(answers(reply(429, retry_after="100")))
    with client(server) as http:
        begun = time.monotonic()
        for _ in range(2):
            with pytest.raises(errors.TooManyRequests, match="left alone"):
                http.call("v1/x", {})
        assert time.monotonic() - begun < FAST.total
    assert 1 == len(server.requests)


def test_retries_end(serve):
    server = serve(lambda request: reply(500))
    with client(server) as http, pytest.raises(errors.Unavailable, match="answered 500"):
        http.call("v1/x", {})
    assert FAST.attempts == len(server.requests)


# Documents


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        (json_reply({"code": 404, "message": "gone"}, 404), errors.NotFound, "gone"),
        (json_reply({"code": 404, "message": "gone"}), errors.NotFound, "gone"),
        (json_reply({"code": "404", "message": "gone"}), errors.NotFound, "gone"),
        (json_reply({"error": {"code": 403, "message": "no"}}, 403), errors.Forbidden, "no"),
        (json_reply({"error": "taken", "errorCode": 409}), errors.Exists, "taken"),
        (json_reply({"error": "bad licence"}), errors.InvalidName, "bad licence"),
        (reply(401), errors.Unauthenticated, "answered 401"),
        (json_reply([]), errors.Corrupt, "not a JSON object"),
        (json_reply("text"), errors.Corrupt, "not a JSON object"),
        (reply(200), errors.Corrupt, "empty answer"),
        (reply(204), errors.Corrupt, "empty answer"),
        (reply(200, b"{"), errors.Corrupt, "not JSON"),
        (reply(200, b'{"a": NaN}'), errors.Corrupt, "not JSON"),
        (reply(200, b"[" * 90_000), errors.Corrupt, "not JSON"),
        (reply(200, b"\xff\xfe{}"), errors.Corrupt, "not JSON"),
        (reply(200, b'{"a":"' + b"x" * 200_000 + b'"}'), errors.Corrupt, "too much"),
        (reply(200, faults.HTML), errors.Unavailable, "web page"),
        (reply(200, b"{}", content_encoding="gzip"), errors.Corrupt, "compressed"),
        ([head(200, {"Content-Length": "9"}) + b"{}", DROP], errors.Unavailable, "early|lost"),
        ([head(200, {"Content-Length": "²"}) + b"[]", DROP], errors.Error, "not a JSON|lost"),
    ],
)
def test_an_answer_that_is_none_is_told(serve, script, kind, message):
    server = serve(lambda request: script)
    with client(server) as http, pytest.raises(kind, match=message):
        http.call("v1/x", {})


@pytest.mark.parametrize(
    "fields", [{}, {"Content-Length": str(1 << 40)}, {"Transfer-Encoding": "chunked"}]
)
def test_an_answer_without_an_end_is_given_up_after_so_much(serve, fields):
    sent = 0

    def answer(request: Request) -> Script:
        nonlocal sent
        yield head(200, fields)
        piece = b'"x": 1, ' * 1000
        if "Transfer-Encoding" in fields:
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        yield b"1\r\n{\r\n" if "Transfer-Encoding" in fields else b"{"
        while True:
            yield piece
            sent += len(piece)

    server = serve(answer)
    with client(server) as http, pytest.raises(errors.Corrupt, match="too much: more than 100000"):
        http.call("v1/x", {})
    # And what the sockets of both sides hold.
    assert sent < 32 << 20


@pytest.mark.parametrize("value", [b"[],", b"{},", b"0,"])
def test_a_document_of_very_many_values_is_not_read(serve, value):
    body = b'{"a": [' + value * 500_000 + b"0]}"
    server = serve(lambda request: reply(200, body))
    told = pytest.raises(errors.Corrupt, match="too much: more than 500000 values")
    with client(server, limits=Limits()) as http, told:
        http.call("v1/x", {})


def test_a_message_is_one_line_without_control_characters(serve):
    text = "no\n\x1b[31msuch\tthing" + "x" * 1000
    server = serve(lambda request: json_reply({"code": 404, "message": text}, 404))
    with client(server) as http, pytest.raises(errors.NotFound) as caught:
        http.call("v1/x", {})
    assert str(caught.value).startswith("no [31msuch thing")
    assert 300 == len(str(caught.value))


def test_chunked_documents_are_read(serve):
    chunked = head(200, {"Transfer-Encoding": "chunked"}) + b'5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n'
    server = serve(lambda request: [chunked])
    with client(server) as http:
        assert {"a": 1} == http.call("v1/x", {})
        assert {"a": 1} == http.call("v1/x", {})


# Addresses that expire


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_expired_address_is_renewed_once(serve, status):
    def answer(request: Request) -> Script:
        good = request.target == "/new"
        return faults.good(request, CONTENT) if good else reply(status, b"<Error>Expired</Error>")

    server = serve(answer)
    with client(server) as http:
        body = http.open(
            lambda is_fresh: server.url + ("/new" if is_fresh else "/old"), 300_000, 1, 9
        )
        assert CONTENT[1:9] == drained(body)
    assert ["/old", "/new"] == [request.target for request in server.requests]


def test_an_address_that_is_refused_afresh_is_an_error(serve):
    server = serve(lambda request: reply(403))
    with client(server) as http, pytest.raises(errors.Corrupt, match="refuses a fresh address"):
        fetched(http, server.url, 0, 5)
    assert 2 == len(server.requests)


# Proxies


def test_a_proxy_of_the_environment_is_used(serve):
    proxy = serve(lambda request: json_reply({"through": request.target}))
    with closing(
        Http("http://registry.example", environ={"HTTP_PROXY": proxy.url}, limits=FAST)
    ) as http:
        assert {"through": "http://registry.example/v1/x"} == http.call("v1/x", {})


def test_no_proxy_is_obeyed(serve):
    proxy = serve(lambda request: json_reply({"through": "proxy"}))
    server = serve(lambda request: json_reply({"through": "none"}))
    with client(server, HTTP_PROXY=proxy.url, NO_PROXY="example.com, 127.0.0.1") as http:
        assert {"through": "none"} == http.call("v1/x", {})


def test_the_environment_of_the_process_is_not_read(serve, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server = serve(lambda request: json_reply({}))
    with client(server) as http:
        assert {} == http.call("v1/x", {})


@pytest.mark.parametrize("script", [json_reply({}), reply(404), redirect("/x")])
def test_close_closes_the_connections(serve, script):
    server = serve(lambda request: script)
    with client(server) as http:
        try:
            http.call("v1/x", {})
        except errors.Error:
            pass
        assert 1 == len(server._connections)
    wait_for(lambda: not server._connections)


def test_close_wakes_those_who_wait(serve):
    server = serve(lambda request: reply(429, retry_after="60"))
    http = Http(server.url, limits=replace(SLOW, total=120))
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(http.call, "v1/x", {})
        wait_for(lambda: server.requests)
        http.close()
        with pytest.raises(connections.Final):
            asked.result(30)


SLOW = Limits(connect=20, read=60, total=60)


@pytest.mark.parametrize("is_begun", [False, True], ids=["no head", "a head and some bytes"])
@pytest.mark.parametrize("way", ["closed", "turn is over"])
def test_who_waits_for_a_server_that_says_nothing_can_be_freed(serve, way, is_begun) -> None:
    full = b"".join(part for part in faults.good(_ranged(), CONTENT) if isinstance(part, bytes))
    server = serve(lambda request: [full[: len(full) // 2], STALL] if is_begun else [STALL])
    turn, ends = waiting.Turn(), []

    def work() -> None:
        waiting.take_turn(turn)
        try:
            fetched(http, server.url, 0, len(CONTENT))
        except errors.Unavailable as exc:
            ends.append(type(exc))

    with client(server, limits=SLOW) as http:
        thread = threading.Thread(target=work)
        thread.start()
        wait_for(lambda: server.requests)
        time.sleep(0.05)
        begun = time.monotonic()
        if way == "closed":
            http.close()
        else:
            turn.finish()
        thread.join(30)
        assert time.monotonic() - begun < 20
    assert [connections.Final if way == "closed" else waiting.GaveWay] == ends


def test_who_asks_while_a_client_is_closed_waits_for_nothing(serve) -> None:
    """Neither one who is connecting then, nor one who comes later."""
    server, unasked = serve(lambda request: [STALL]), serve(lambda request: [STALL])
    limits = replace(SLOW, quick_tries=0)

    def ask(http: Http, number: int) -> type[errors.Error]:
        time.sleep(number / 1000)  # before, meanwhile and after
        with pytest.raises(errors.Unavailable) as caught:
            fetched(http, server.url, 0, len(CONTENT))
        return caught.type

    begun = time.monotonic()
    with ThreadPoolExecutor(32) as threads:
        for _ in range(5):
            with client(server, limits=limits) as http:
                asked = [threads.submit(ask, http, number) for number in range(32)]
                time.sleep(0.016)
            assert {connections.Final} == {each.result(30) for each in asked}
    with client(unasked, limits=limits) as http:
        http.close()
        assert connections.Final == ask(http, 0)
    assert [] == unasked.requests
    assert time.monotonic() - begun < 40


def test_one_host_gets_no_more_connections_than_that(serve) -> None:
    lock, open_now, most = threading.Lock(), 0, 0

    def answer(request: Request) -> Script:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        yield Pause(0.05)
        with lock:
            open_now -= 1
        yield from faults.good(request, CONTENT)

    server = serve(answer)
    limits = Limits(connections=3)
    with client(server, limits=limits) as http, ThreadPoolExecutor(12) as threads:
        found = threads.map(lambda n: fetched(http, server.url, n, n + 1000), range(40))
        assert [CONTENT[n : n + 1000] for n in range(40)] == list(found)
    assert 3 == most


def _ranged() -> Request:
    return Request("GET", "/", {"range": f"bytes=0-{len(CONTENT) - 1}"}, b"")
