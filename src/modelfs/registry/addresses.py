"""Rules for addresses: where a request may be redirected, and which proxy it takes. Pure.

A registry's redirects are not trusted: they may not leave http(s), may be plain text only where
the registry is and only on its own host, may not carry credentials of their own, and may not lead
from the internet into this machine or its network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urljoin, urlsplit

from modelfs.errors import Corrupt

_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


def origin(url: str) -> Origin:
    """Scheme, host and port of `url`; raises Corrupt if it is no http(s) address."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as exc:
        raise Corrupt("an address makes no sense") from exc
    if parts.scheme not in _PORTS or not parts.hostname:
        raise Corrupt(f"an address is not of http or https: {parts.scheme}:")
    return parts.scheme, parts.hostname.lower(), port


def shown(url: str) -> str:
    """Host and port of `url`: what of it may be shown, its path and query being secrets."""
    scheme, host, port = origin(url)
    return host if port == _PORTS[scheme] else f"{host}:{port}"


def redirected(url: str, location: str) -> str:
    """Where a request for `url` goes on; raises Corrupt if it must not go there."""
    if not location:
        raise Corrupt(f"{shown(url)} redirects to nowhere")
    try:
        # Headers arrive as Latin-1; servers mean UTF-8.
        location = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
    except ValueError as exc:
        raise Corrupt(f"{shown(url)} redirects to what is no address") from exc
    old, new = origin(url), origin(target)
    if old[0] == "https" and new[0] == "http":
        raise Corrupt(f"{shown(url)} redirects from https to http")
    if _has_user(parts):
        raise Corrupt(f"{shown(url)} redirects to an address that holds a password")
    if new[0] == "http" and not _is_one_host(old[1], new[1]):
        raise Corrupt(f"{shown(url)} redirects to another host without TLS: {shown(target)}")
    if _is_near(new[1]) and not _is_near(old[1]):
        raise Corrupt(f"{shown(url)} redirects into a private network: {shown(target)}")
    return target


def _has_user(parts: SplitResult) -> bool:
    return parts.username is not None or parts.password is not None


def _is_one_host(old: str, new: str) -> bool:
    """True for the same name or number, and for any two of this machine's own to itself."""
    return old == new or (_is_loopback(old) and _is_loopback(new))


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_near(host: str) -> bool:
    """True for names and numbers of this machine or of a network that is not the internet."""
    if _is_loopback(host):
        return True
    try:
        return not ipaddress.ip_address(host.split("%")[0]).is_global
    except ValueError:
        return False


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy that the environment names for `url`; empty if none."""
    scheme, host, port = origin(url)
    if _is_direct(host, port, _either(environ, "no_proxy")):
        return ""
    proxy = _either(environ, f"{scheme}_proxy") or _either(environ, "all_proxy")
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def _either(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _is_direct(host: str, port: int, no_proxy: str) -> bool:
    for item in no_proxy.replace(" ", ",").lower().split(","):
        if not item:
            continue
        if item == "*" or item in (host, f"{host}:{port}") or _is_within(host, item):
            return True
        if host.endswith("." + item.lstrip(".").removeprefix("*.")):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    """True if `host` is a number in the range `network`, such as 10.0.0.0/8."""
    if "/" not in network:
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
