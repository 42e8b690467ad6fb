"""What counts as a difference between a version and what was sent."""

from __future__ import annotations

import pytest

from modelfs.fs.comparing import compared
from modelfs.model import NOTES, Digests, Document, File, Manifest, Part

MD5, OTHER_MD5 = "a" * 32, "b" * 32
PARTS = tuple(
    Part(path, size, 1.0, Digests(md5=MD5, sha256="c" * 64))
    for path, size in (("a", 1), ("d/b", 2), ("d/x.zip", 3))
)
LISTED = tuple(File(part.path, part.size) for part in PARTS)


def difference(*files: File, is_final: bool = True) -> str:
    return str(compared(Manifest(files, is_final=is_final), PARTS, ()))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (LISTED, ""),
        (LISTED[1:], "missing: a"),
        ((), "missing: a, d/b, d/x.zip"),
        ((*LISTED, File("e", 1)), "not ours: e"),
        ((File("a", 2), *LISTED[1:]), "not the same: a"),
        ((File("a", 1, None, Digests(md5=MD5)), *LISTED[1:]), ""),
        ((File("a", 1, None, Digests(md5=OTHER_MD5)), *LISTED[1:]), "not the same: a"),
        # A hash that we do not have says nothing.
        ((File("a", 1, None, Digests(crc32c="00000000")), *LISTED[1:]), ""),
        # The archive was unpacked where it was, and nowhere else.
        ((*LISTED[:2], File("d/x/1", 9), File("d/2", 9)), ""),
        ((*LISTED[:2], File("e/1", 9)), "missing: d/x.zip; not ours: e/1"),
        ((*LISTED[:2],), "missing: d/x.zip"),
    ],
)
def test_a_listing_is_compared_by_path_size_and_hash(
    files: tuple[File, ...], expected: str
) -> None:
    assert expected == difference(*files)


@pytest.mark.parametrize(
    ("files", "is_final", "expected"),
    [
        (LISTED[1:], False, True),
        ((), False, True),
        (LISTED[1:], True, False),
        ((*LISTED[1:], File("e", 1)), False, False),
    ],
)
def test_only_what_is_missing_may_still_come(
    files: tuple[File, ...], is_final: bool, expected: bool
) -> None:
    assert expected == compared(Manifest(files, is_final=is_final), PARTS, ()).is_settling


@pytest.mark.parametrize(
    ("sent", "told", "expected"),
    [
        (b"one\ntwo\n", b"one\r\ntwo", True),
        (b"one", b"", True),
        (b"one", b"two", False),
        (b"one", None, True),
    ],
)
def test_notes_are_the_same_but_for_white_space(
    sent: bytes, told: bytes | None, expected: bool
) -> None:
    documents = () if told is None else (Document(NOTES, told),)
    manifest = Manifest(LISTED, documents)
    assert expected == compared(manifest, PARTS, (Document(NOTES, sent),)).has_same_notes


def test_a_long_list_is_cut() -> None:
    files = tuple(File(f"f{number}", 1) for number in range(9))
    assert "not ours: f0, f1, f2, f3, f4 and 4 more" in difference(*LISTED, *files)


SCHEMAS = b'{"prediction": {"input": {"type": "object", "n": 1}, "output": {"enum": [1, 2]}}}'


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (SCHEMAS, ""),
        (SCHEMAS.replace(b" ", b"\n  "), ""),
        (SCHEMAS.replace(b'"n": 1', b'"n": 1, "title": "filled in"'), ""),
        (SCHEMAS.replace(b'"n": 1', b'"n": 2'), "not the same: s"),
        (SCHEMAS.replace(b'"n": 1', b'"n": true'), "not the same: s"),
        (SCHEMAS.replace(b', "n": 1', b""), "not the same: s"),
        (SCHEMAS.replace(b"[1, 2]", b"[1, 2, 3]"), "not the same: s"),
        (b"[" * 100_000, "not the same: s"),
        (None, ""),
    ],
)
def test_a_document_may_say_more_than_was_sent_and_nothing_else(
    told: bytes | None, expected: str
) -> None:
    documents = () if told is None else (Document("s", told), Document("d", b"sha256:0"))
    manifest = Manifest((), documents)
    sent = (Document("s", SCHEMAS), Document("d", b" sha256:0\n"), Document("e", b"x"))
    assert expected == str(compared(manifest, (), sent))
    assert "" == str(compared(manifest, (), sent, {"s"}))
