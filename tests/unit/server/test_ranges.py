"""Which bytes a request is for, as a table."""

from __future__ import annotations

import pytest

from modelfs.errors import InvalidName
from modelfs.server.ranges import Part, Sent, http_date, sent, wanted

ETAG = '"abc"'
DATE = "Tue, 02 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", Part(206, 0, 1)),
        ("bytes=0-", Part(206, 0, 10)),
        ("bytes=3-5", Part(206, 3, 6)),
        ("bytes=3-500", Part(206, 3, 10)),
        ("bytes=9-", Part(206, 9, 10)),
        ("bytes=-4", Part(206, 6, 10)),
        ("bytes=-400", Part(206, 0, 10)),
        ("Bytes = 3 - 5", Part(206, 3, 6)),
        ("bytes=10-", Part(416, 0, 0)),
        ("bytes=-0", Part(416, 0, 0)),
        ("bytes=5-3", Part(200, 0, 10)),
        ("bytes=0-1,3-4", Part(200, 0, 10)),
        ("bytes=-", Part(200, 0, 10)),
        ("bytes=a-b", Part(200, 0, 10)),
        ("bytes=٣-٤", Part(200, 0, 10)),
        ("lines=0-1", Part(200, 0, 10)),
        ("bytes=" + "9" * 5000 + "-", Part(200, 0, 10)),
    ],
)
def test_a_range_is_cut_at_the_end(text: str, expected: Part) -> None:
    assert expected == wanted({"Range": text}, 10, ETAG, DATE)


def test_no_range_of_an_empty_file_can_be_sent() -> None:
    assert Part(416, 0, 0) == wanted({"Range": "bytes=0-"}, 0, ETAG, DATE)
    assert Part(200, 0, 0) == wanted({}, 0, ETAG, DATE)


@pytest.mark.parametrize(
    ("condition", "status"), [(ETAG, 206), (DATE, 206), ('"old"', 200), ('W/"abc"', 200)]
)
def test_a_range_is_only_sent_of_what_the_client_has(condition: str, status: int) -> None:
    headers = {"Range": "bytes=1-", "If-Range": condition}
    assert status == wanted(headers, 10, ETAG, DATE).status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": '"x", W/"abc"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": DATE}, 304),
        ({"If-None-Match": '"x"', "If-Modified-Since": DATE}, 200),
    ],
)
def test_what_the_client_has_is_not_sent_again(headers: dict[str, str], status: int) -> None:
    assert status == wanted(headers, 10, ETAG, DATE).status


def test_a_date_is_in_whole_seconds() -> None:
    assert DATE == http_date(1704153600.9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-9/10", Sent(0, 10, 10)),
        ("bytes 3-9/*", Sent(3, 10, None)),
        ("bytes */10", Sent(None, 0, 10)),
        ("bytes */*", Sent(None, 0, None)),
    ],
)
def test_a_content_range_is_read(text: str, expected: Sent) -> None:
    assert expected == sent(text)


@pytest.mark.parametrize("text", ["", "bytes 9-0/10", "bytes 0-10/10", "0-9/10", "bytes -9/10"])
def test_an_impossible_content_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidName):
        sent(text)
