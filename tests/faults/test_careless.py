"""A careless client is fooled by the faults that ours is not: what shows that they are faults."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping

import pytest
import requests

from faults.cells import ERROR, RIGHT, WRONG
from sims import faults, faults_bytes
from sims.raw import RawServer

CONTENT = random.Random(24).randbytes(60_000)
START, STOP = 20_000, 30_000
# What takes a careless client long, and tells nothing.
# By as many of the kinds it was, and by two more in part.
FOOLED = 27
SLOW = {"a byte now and then", "a head without an end", "a body without an end"}
KINDS = [kind for kind in faults_bytes.ALL if "stall" not in kind and kind not in SLOW]


def careless(url: str, headers: Mapping[str, str]) -> bytes:
    """What many a script does: it asks, and takes what comes."""
    answer = requests.get(url, headers=dict(headers), timeout=20)
    answer.raise_for_status()
    return answer.content


def outcome(url: str, headers: Mapping[str, str], expected: bytes) -> str:
    try:
        return RIGHT if careless(url, headers) == expected else WRONG
    except (requests.RequestException, ValueError):
        return ERROR


@pytest.mark.filterwarnings("ignore")
def test_a_careless_client_is_fooled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "urllib3")
    whole, part = {}, {}
    ranged = {"Range": f"bytes={START}-{STOP - 1}"}
    for kind in KINDS:
        with RawServer(lambda request, kind=kind: faults_bytes.ALL[kind](request, CONTENT)) as web:
            url = f"{web.url}/f?a=1"
            whole[kind] = outcome(url, {}, CONTENT)
            part[kind] = outcome(url, ranged, CONTENT[START:STOP])
    with RawServer(lambda request: faults.good(request, CONTENT)) as web:
        assert RIGHT == outcome(web.url, {}, CONTENT)
        assert RIGHT == outcome(web.url, ranged, CONTENT[START:STOP])
    fooled = [kind for kind, each in whole.items() if each == WRONG]
    fooled_in_part = [kind for kind, each in part.items() if each == WRONG]
    assert set(faults_bytes.LIES) <= set(fooled)
    assert set(faults_bytes.LIES) <= set(fooled_in_part)
    assert FOOLED <= len(fooled)
    assert FOOLED <= len(fooled_in_part)
