"""Signed addresses open what they were made for, for a while, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from modelfs.errors import Forbidden
from modelfs.server.storage import LIFETIME, Addresses, Stored

STORED = Stored("blobs/ab/abcd", "ü #?%2f.bin", 5, 1700000000, "ab" * 32, "cd" * 16, "ef" * 4)


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(url: str, addresses: Addresses, **changed: str) -> Stored:
    parts = urlsplit(url)
    name = unquote(parts.path.rpartition("/")[2])
    return addresses.stored(changed.pop("name", name), dict(parse_qsl(parts.query)) | changed)


def test_an_address_opens_what_it_was_made_for() -> None:
    addresses = Addresses("key", Clock())
    url = addresses.address("http://h:1", STORED)
    assert url.startswith("http://h:1/storage/%C3%BC%20%23%3F%252f.bin?")
    assert STORED == opened(url, addresses)


@pytest.mark.parametrize(
    "changed",
    [
        {"path": "../../etc/passwd"},
        {"name": "other"},
        {"size": "6"},
        {"md5": ""},
        {"expires": "99999999999"},
        {"signature": ""},
        {"signature": "é"},
    ],
)
def test_a_changed_address_opens_nothing(changed: dict[str, str]) -> None:
    addresses = Addresses("key", Clock())
    with pytest.raises(Forbidden):
        opened(addresses.address("http://h", STORED), addresses, **changed)


def test_an_address_expires() -> None:
    clock = Clock()
    addresses = Addresses("key", clock)
    url = addresses.address("http://h", STORED)
    clock.now += LIFETIME
    assert STORED == opened(url, addresses)
    clock.now += 1
    with pytest.raises(Forbidden, match="expired"):
        opened(url, addresses)


def test_an_address_of_another_registry_opens_nothing() -> None:
    url = Addresses("other", Clock()).address("http://h", STORED)
    with pytest.raises(Forbidden):
        opened(url, Addresses("key", Clock()))
