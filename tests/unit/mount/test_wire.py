"""The kernel's protocol, byte for byte (layouts: include/uapi/linux/fuse.h of Linux 6.9)."""

from __future__ import annotations

import struct

import pytest

from modelfs.mount import wire
from modelfs.mount.wire import Init, InitFlag, Op, OpenFlag, Reply

UNIQUE = 0x1122334455667788


def _init(minor: int, flags: int) -> bytes:
    body = struct.pack("=IIIII44x", 7, minor, 131072, flags & 0xFFFFFFFF, flags >> 32)
    return wire.IN_HEADER.pack(40 + len(body), Op.INIT, UNIQUE, 0, 0, 0, 0, 0) + body


def _answer(init: bytes) -> tuple[int, ...]:
    reply = Init.parse(init, len(init)).reply(UNIQUE, is_passing=True)
    assert (80, 0, UNIQUE) == wire.OUT_HEADER.unpack_from(reply)
    return struct.unpack_from("=IIIIHHIIHHI", reply, 16)


def test_a_request_is_known_by_its_head() -> None:
    request = wire.Request.parse(_init(45, 0))
    assert (Op.INIT, UNIQUE) == (request.opcode, request.unique)
    assert 40 + 64 == request.length


def test_init_asks_for_large_requests_and_claims_no_newer_protocol() -> None:
    everything = (1 << 42) - 1 & ~int(InitFlag.PASSTHROUGH)
    answer = _answer(_init(99, everything))
    major, minor, ahead, flags, background, _, write, _, pages, _, flags2 = answer
    assert (7, 40) == (major, minor)
    assert flags & InitFlag.MAX_PAGES
    assert flags & InitFlag.ASYNC_READ
    assert 0 == flags2
    assert 256 == pages
    assert pages * 4096 == write == wire.MAX_REQUEST
    assert ahead >= write
    assert background > 12


def test_init_wants_nothing_the_kernel_does_not_offer() -> None:
    _, minor, _, flags, *_ = _answer(_init(31, int(InitFlag.ASYNC_READ)))
    assert 31 == minor
    assert InitFlag.ASYNC_READ == flags


@pytest.mark.parametrize("is_wanted", [True, False])
@pytest.mark.parametrize("is_offered", [True, False])
def test_passthrough_is_taken_where_it_is_offered_and_wanted(
    is_wanted: bool, is_offered: bool
) -> None:
    offer = _init(40, int(InitFlag.INIT_EXT | (InitFlag.PASSTHROUGH if is_offered else 0)))
    init = Init.parse(offer, len(offer))
    assert is_offered == init.has_passthrough
    expected = (InitFlag.PASSTHROUGH >> 32, 1) if is_wanted and is_offered else (0, 0)
    assert expected == struct.unpack_from("=II", init.reply(UNIQUE, is_passing=is_wanted), 48)


def test_a_passed_through_open_has_no_flag_about_the_cache() -> None:
    body = bytearray(struct.pack("=QII", 9, OpenFlag.KEEP_CACHE, 0))
    reply = Reply(flags=OpenFlag.KEEP_CACHE | OpenFlag.NOFLUSH, backing=5)
    wire.patch(Op.OPEN, memoryview(body), reply)
    expected = OpenFlag.PASSTHROUGH | OpenFlag.NOFLUSH
    assert (9, expected, 5) == struct.unpack("=QII", body)


def test_flags_above_the_first_word_count_only_when_announced() -> None:
    with_ext = _init(40, int(InitFlag.INIT_EXT | InitFlag.PASSTHROUGH))
    without = _init(40, int(InitFlag.PASSTHROUGH))
    assert Init.parse(with_ext, len(with_ext)).flags & InitFlag.PASSTHROUGH
    assert not Init.parse(without, len(without)).flags & InitFlag.PASSTHROUGH


def test_an_entry_may_be_kept_as_long_as_the_file_system_says() -> None:
    body = bytearray(struct.pack("=QQQQII88x", 5, 0, 1, 1, 7, 7))
    wire.patch(Op.LOOKUP, memoryview(body), Reply(valid=3600))
    assert (5, 0, 3600, 3600, 0, 0) == struct.unpack_from("=QQQQII", body)


def test_attributes_may_be_kept_as_long_as_the_file_system_says() -> None:
    body = bytearray(struct.pack("=QII88x", 1, 7, 0))
    wire.patch(Op.GETATTR, memoryview(body), Reply(valid=3600))
    assert (3600, 0) == struct.unpack_from("=QI", body)


def test_of_a_file_that_was_made_only_the_attributes_may_be_kept() -> None:
    entry = struct.pack("=QQQQII88x", 5, 0, 0, 0, 0, 0)
    body = bytearray(entry + struct.pack("=QII", 9, 0, 0))
    wire.patch(Op.CREATE, memoryview(body), Reply(valid=1))
    assert (5, 0, 0, 1, 0, 0) == struct.unpack_from("=QQQQII", body)
    assert (9, 0, 0) == struct.unpack_from("=QII", body, 128)
    wire.patch(Op.CREATE, memoryview(body), Reply(valid=1, backing=7))
    assert (5, 0, 0, 1, 0, 0) == struct.unpack_from("=QQQQII", body)
    assert (9, OpenFlag.PASSTHROUGH, 7) == struct.unpack_from("=QII", body, 128)


def test_flags_are_added_to_an_open() -> None:
    body = bytearray(struct.pack("=QII", 9, OpenFlag.DIRECT_IO, 0))
    wire.patch(Op.OPEN, memoryview(body), Reply(flags=OpenFlag.KEEP_CACHE))
    assert (9, 3, 0) == struct.unpack("=QII", body)


def test_an_answer_nobody_spoke_of_is_left_alone() -> None:
    body = bytearray(b"\x01" * 128)
    for opcode in (Op.LOOKUP, Op.GETATTR, Op.OPEN, Op.CREATE, 15):
        wire.patch(opcode, memoryview(body), Reply())
        wire.patch(opcode, memoryview(body)[:5], Reply(valid=1, flags=1))
    assert b"\x01" * 128 == bytes(body)


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_listing_that_is_cut_in_the_middle_of_a_name_is_widened_up_to_it(cut: int) -> None:
    """libfuse fills the room there is, whatever of the last name that leaves out."""
    names = [f"name {number}".encode() for number in range(5)]
    listed = b"".join(
        struct.pack("=QQII", 7, place, len(name), 8) + name.ljust(8, b"\0")
        for place, name in enumerate(names, start=1)
    )
    room = listed[: len(listed) - cut]
    _, body = wire.widened(9, memoryview(room))
    whole = len(room) // 32
    assert (whole * 160, [bytes(body[160 * n + 152 :][:6]) for n in range(whole)]) == (
        len(body),
        names[:whole],
    )
