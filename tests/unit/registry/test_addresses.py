"""Rules for addresses and for waiting, as tables."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from modelfs.errors import Corrupt
from modelfs.registry.addresses import origin, proxy_for, redirected, shown
from modelfs.registry.patience import LONGEST, Gates, retry_after


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("http://a/x/y", "z", "http://a/x/z"),
        ("http://a/x", "http://a:81/y?s=1", "http://a:81/y?s=1"),
        ("http://A/x", "http://a/y", "http://a/y"),
        ("http://a/x", "https://b/y", "https://b/y"),
        ("http://a/x", "https://a/x", "https://a/x"),
        ("https://a/x", "//b/y", "https://b/y"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:2/", "http://127.0.0.1:2/"),
        ("http://localhost/", "http://127.0.0.2:3/", "http://127.0.0.2:3/"),
        ("http://[::1]/", "http://registry.localhost/", "http://registry.localhost/"),
        ("http://10.0.0.1/", "http://10.0.0.1:9000/", "http://10.0.0.1:9000/"),
        ("http://a/", "/gr\u00c3\u00bc\u00c3\u009fe", "http://a/grüße"),
    ],
)
def test_a_redirect_leads_somewhere(url: str, location: str, expected: str) -> None:
    assert expected == redirected(url, location)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://a/", "http://a/"),
        ("http://a/", "file:///etc/passwd"),
        ("http://a/", "ftp://a/"),
        ("http://a/", "javascript:alert(1)"),
        ("http://a/", ""),
        ("http://a/", "https:///nowhere"),
        ("http://a/", "http://[::1"),
        ("http://a/", "http://a:port/"),
        ("http://a/", "http://user:password@a/"),
        ("http://a/", "http://b/"),
        ("http://a/", "//b/"),
        ("http://a/", "http://a.b/"),
        ("http://localhost/", "http://10.0.0.1/"),
        ("http://127.0.0.1/", "http://0.0.0.0/"),
        ("http://127.0.0.1/", "http://127.0.0.1.example/"),
        ("http://10.0.0.1/", "http://10.0.0.2/"),
        ("http://10.0.0.1/", "http://127.0.0.1/"),
        ("https://api.example/", "https://127.0.0.1/"),
        ("https://api.example/", "https://localhost/"),
        ("https://api.example/", "https://169.254.169.254/latest/meta-data"),
        ("https://api.example/", "https://10.1.2.3/"),
        ("https://api.example/", "https://[::1]/"),
        ("https://api.example/", "https://[fe80::1]/"),
        ("https://8.8.8.8/", "https://192.168.1.1/"),
    ],
)
def test_a_redirect_must_not_lead_there(url: str, location: str) -> None:
    with pytest.raises(Corrupt) as caught:
        redirected(url, location)
    assert "password@" not in str(caught.value)


def test_who_is_sent_to_another_host_without_tls_is_told_so() -> None:
    with pytest.raises(Corrupt) as caught:
        redirected("http://a:8000/", "http://b:81/y?s=1")
    assert "a:8000 redirects to another host without TLS: b:81" == str(caught.value)


def test_what_is_shown_of_an_address_is_its_host() -> None:
    assert "a.example" == shown("https://u:p@A.example:443/x?secret")
    assert "a.example:80" == shown("https://a.example:80/")
    assert ("https", "a", 443) == origin("https://A/")


PROXIES = {"HTTP_PROXY": "proxy:3128", "https_proxy": "http://secure:1", "NO_PROXY": "x.org"}


@pytest.mark.parametrize(
    ("url", "more", "expected"),
    [
        ("http://a/", {}, "http://proxy:3128"),
        ("https://a/", {}, "http://secure:1"),
        ("http://x.org/", {}, ""),
        ("http://www.x.org/", {}, ""),
        ("http://notx.org/", {}, "http://proxy:3128"),
        ("http://a/", {"no_proxy": "*"}, ""),
        ("http://a/", {"no_proxy": "b, a"}, ""),
        ("http://a:81/", {"no_proxy": "a:80"}, "http://proxy:3128"),
        ("http://a:80/", {"no_proxy": "a:80"}, ""),
        ("http://10.2.3.4/", {"no_proxy": "10.0.0.0/8"}, ""),
        ("http://11.2.3.4/", {"no_proxy": "10.0.0.0/8,nonsense/99"}, "http://proxy:3128"),
        ("http://b.a.org/", {"no_proxy": ".a.org"}, ""),
    ],
)
def test_the_proxy_of_an_address(url: str, more: dict[str, str], expected: str) -> None:
    assert expected == proxy_for(url, PROXIES | more)


def test_without_an_environment_there_is_no_proxy() -> None:
    assert "" == proxy_for("http://a/", {})
    assert "socks5://s:1" == proxy_for("http://a/", {"ALL_PROXY": "socks5://s:1"})


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 50, LONGEST),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW - 30, usegmt=True), 0.0),
        (formatdate(NOW + 1e7, usegmt=True), LONGEST),
        ("Mon, 99 Foo 2024 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, expected: float | None) -> None:
    assert expected == retry_after(text, NOW)


def test_a_host_is_left_alone_as_long_as_it_asked_and_longer_each_time() -> None:
    now = [0.0]
    gates = Gates(lambda: now[0])
    assert 0 == gates.delay("a")
    gates.refused("a", 10)
    gates.refused("a", 1)
    assert 10 <= gates.delay("a") <= 10.25
    assert 0 == gates.delay("b")
    now[0] = 10.0
    assert 0 == gates.delay("a")
    gates.answered("a", 0.1)
    waits = []
    for _ in range(10):
        gates.refused("a", None)
        waits.append(gates.delay("a"))
        now[0] += 100
    assert 0.25 <= waits[0] <= 0.75
    assert 4 <= waits[-1] <= 8.25
    for _ in range(10):
        gates.refused("b", None)
    assert gates.delay("b") <= 0.75


def test_a_slow_host_is_waited_for_longer_than_a_quick_one() -> None:
    gates = Gates(lambda: 0.0)
    gates.answered("slow", 3.0)
    gates.answered("quick", 0.1)
    assert (9.0, 2.0, 2.0) == (gates.quick("slow"), gates.quick("quick"), gates.quick("new"))
    for _ in range(100):
        gates.answered("slow", 0.1)
    assert 2.0 == gates.quick("slow")
