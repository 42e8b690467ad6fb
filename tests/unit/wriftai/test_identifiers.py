"""What is an identifier, and what would lead to an address of something else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfs.errors import InvalidName
from modelfs.refs import Ref
from modelfs.registry.wriftai_calls import _path
from modelfs.wriftai import InvalidIdentifier, identifiers

EITHER = "Identifier must be in either owner/name or owner/name:version-number format."
MODEL = "Model Identifier must be in owner/name format."
VERSION = "Model Version Identifier must be in owner/name:version-number format."


@pytest.mark.parametrize(
    "text",
    [
        *("", "alice", "alice/", "/m1", "alice/m1:", "alice/:1", "a/b/c:1", "a/b/c", "a b/m:1"),
        *("alice/../x", "alice/..", "../m:1", "alice/m?x=1", "alice/m#x:1", "a%2e/m", "alice/m\n"),
    ],
)
def test_what_is_no_identifier_is_neither(text: str) -> None:
    for parse in (identifiers.model, identifiers.version):
        with pytest.raises(InvalidIdentifier, match=f"^{re.escape(EITHER)}$"):
            parse(text)


@pytest.mark.parametrize("text", ["alice/m1", "alice/m1:x", "alice/m1:0", "alice/m1:01"])
@pytest.mark.parametrize("kind", [ValueError, InvalidName])
def test_what_is_no_version_is_told(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"^{re.escape(VERSION)}$"):
        identifiers.version(text)


@pytest.mark.parametrize("text", ["a/m:-1", "a/m:1.0", "a/m:٢", "a/m:9999999999", "a/m: 1"])
def test_a_number_is_written_as_numbers_are(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        identifiers.version(text)


@pytest.mark.parametrize("text", ["a/m:1/../../x", "a/m:1:2", "a/m:1?x"])
def test_nothing_hides_behind_a_number(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        identifiers.version(text)


def test_a_version_is_no_model() -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(MODEL)}$"):
        identifiers.model("alice/m1:1")
    for odd in (None, 7, b"alice/m1"):
        with pytest.raises(ValueError, match="Identifier"):
            identifiers.model(odd)  # type: ignore[arg-type]


_names = st.from_regex(r"[^\s/\\:?#%\x00-\x1f\x7f]+", fullmatch=True).filter(
    lambda name: name not in (".", "..") and len(name.encode(errors="replace")) < 256
)


@given(_names, _names, st.integers(1, 999_999_999))
def test_every_good_identifier_comes_back_as_its_parts(owner: str, name: str, number: int) -> None:
    assert Ref((owner, name)) == identifiers.model(f"{owner}/{name}")
    parts = identifiers.version(f"{owner}/{name}:{number}").parts
    assert (owner, name, str(number)) == parts
    assert re.fullmatch(r"[A-Za-z0-9%._~/-]+", _path(parts))
    assert 2 == _path(parts).count("/")


@given(st.text(max_size=40) | st.from_regex(r"[a-z./:%?#]*", fullmatch=True))
def test_any_text_is_an_identifier_or_refused(text: str) -> None:
    for parse in (identifiers.model, identifiers.version):
        try:
            ref = parse(text)
        except InvalidIdentifier:
            continue
        owner, name, *number = ref.parts
        assert text == f"{owner}/{name}" + "".join(f":{each}" for each in number)
        assert not {"..", "."} & {owner, name}
