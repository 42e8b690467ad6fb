"""Archives that mean harm, made of nothing: `KINDS` maps a name to a function that gives one.

What a registry is sent as `x.tar` or `x.zip` it unpacks, so these are uploads of an enemy.
"""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence

OUTSIDE = "modelfs-hostile"
BOMB = 64 << 20
MANY = 3000
DEEP = "/".join(["d"] * 1500)

Entry = tuple[tarfile.TarInfo, bytes]


def _tar(*entries: Entry, format: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for info, data in entries:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o644) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = 1, 5
    return info, b"" if kind != tarfile.REGTYPE else b"x"


def _field(archive: bytes, start: int, value: bytes) -> bytes:
    """The first header of a tar with another field, and a checksum that is right again."""
    header = bytearray(archive[:512])
    header[start : start + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + archive[512:]


def _pax(**fields: str) -> bytes:
    info, data = _info("innocent")
    info.pax_headers = fields
    return _tar((info, data), format=tarfile.PAX_FORMAT)


def _sparse_bomb() -> bytes:
    return _pax(**{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1e15"})


def _zip(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice is what some are about
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def _mode(name: str, kind: int, data: bytes = b"x") -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o4755) << 16
    info.create_system = 3
    return info, data


def _renamed(old: bytes, new: bytes, *, both: bool) -> bytes:
    """A zip whose entry is called `new` in its directory, and `old` at the entry if not `both`."""
    data = _zip((old.decode(), b"x"))
    at = data.rindex(old)
    data = data[:at] + new + data[at + len(old) :]
    return data.replace(old, new) if both else data


def _central(data: bytes, offset: int, value: bytes) -> bytes:
    """A zip with another field in its first record of the directory."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + value + data[at + len(value) :]


def _overlapping(count: int) -> bytes:
    """Entries that all unpack the same bytes: a bomb that needs no compression of its own."""
    body = zlib.compress(bytes(1 << 20), 9)[2:-4]
    crc = zlib.crc32(bytes(1 << 20))
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, crc, len(body), 1 << 20, 1, 0)
    local = b"PK\x03\x04" + common + b"a" + body
    directory = b""
    for number in range(count):
        name = b"%04d" % number
        fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0x21, crc, len(body), 1 << 20)
        rest = struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0)
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + fields + rest + name
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(local), 0)
    return local + directory + b"PK\x05\x06" + end


def _nameless() -> bytes:
    """Two entries of which one has an empty name, as lengths of 0 with the name left over."""
    data = _zip(("a", b"x"))
    local, central = data.index(b"PK\x03\x04") + 26, data.index(b"PK\x01\x02") + 28
    for at in (local, central):
        data = data[:at] + b"\0\0\1\0" + data[at + 4 :]  # the name is the extra field now
    return data


def _many_of_tar() -> bytes:
    return _tar(*[_info(f"f{number}") for number in range(MANY)])


_TARS: dict[str, Callable[[], bytes]] = {
    "parent": lambda: _tar(_info(f"../{OUTSIDE}")),
    "parent further down": lambda: _tar(_info(f"a/../../{OUTSIDE}")),
    "absolute": lambda: _tar(_info(f"/tmp/{OUTSIDE}")),
    "absolute twice": lambda: _tar(_info(f"//tmp/{OUTSIDE}")),
    "symbolic link out": lambda: _tar(_info("l", tarfile.SYMTYPE, "/etc/passwd")),
    "symbolic link up": lambda: _tar(_info("l", tarfile.SYMTYPE, "../../..")),
    "through a symbolic link": lambda: _tar(
        _info("l", tarfile.SYMTYPE, "/tmp"), _info(f"l/{OUTSIDE}")
    ),
    "hard link out": lambda: _tar(_info("l", tarfile.LNKTYPE, "/etc/passwd")),
    "hard link up": lambda: _tar(_info("l", tarfile.LNKTYPE, "../../../token")),
    "through a hard link": lambda: _tar(_info("l", tarfile.LNKTYPE, "/etc/hostname"), _info("l")),
    "character device": lambda: _tar(_info("d", tarfile.CHRTYPE)),
    "block device": lambda: _tar(_info("d", tarfile.BLKTYPE)),
    "fifo": lambda: _tar(_info("d", tarfile.FIFOTYPE)),
    "setuid": lambda: _tar(_info("d", mode=0o6777)),
    "unknown type": lambda: _field(_tar(_info("d")), 156, b"Z"),
    "lying size": lambda: _field(_tar(_info("d")), 124, b"77777777777\0"),
    "broken in the middle": lambda: _tar(_info("a"), _info("b")).replace(b"b\0\0", b"c\0\0", 1),
    "negative size": lambda: _field(_tar(_info("d")), 124, b"\xff" * 12),
    "sparse bomb": _sparse_bomb,
    "cut": lambda: _tar(_info("a"), _info("b"))[:1400],
    "broken header": lambda: _tar(_info("a"), _info("b")).replace(b"ustar", b"vstar"),
    "path of a pax header": lambda: _pax(path=f"../{OUTSIDE}"),
    "size of a pax header": lambda: _pax(size="9999999999999"),
    "many": _many_of_tar,
    "deep": lambda: _tar(_info(f"{DEEP}/f")),
    "twice": lambda: _tar(_info("a"), _info("a")),
    "file and directory": lambda: _tar(_info("a"), _info("a/b")),
    "control characters": lambda: _tar(_info("a\x1b[2J\nb")),
    "not text": lambda: _tar(_info("a")).replace(b"a\0", b"\xff\0", 1),
}
_ZIPS: dict[str, Callable[[], bytes]] = {
    "parent": lambda: _zip((f"../{OUTSIDE}", b"x")),
    "absolute": lambda: _zip((f"/tmp/{OUTSIDE}", b"x")),
    "backslashes": lambda: _renamed(b"aa_bbb", b"..\\bbb", both=True),
    "symbolic link": lambda: _zip(_mode("l", stat.S_IFLNK, b"/etc/passwd")),
    "device": lambda: _zip(_mode("d", stat.S_IFCHR)),
    "fifo": lambda: _zip(_mode("d", stat.S_IFIFO)),
    "setuid": lambda: _zip(_mode("d", stat.S_IFREG)),
    "bomb": lambda: _zip(("zeros", bytes(BOMB)), method=zipfile.ZIP_DEFLATED),
    "bomb of bzip2": lambda: _zip(("zeros", bytes(BOMB)), method=zipfile.ZIP_BZIP2),
    "bomb of lzma": lambda: _zip(("zeros", bytes(BOMB)), method=zipfile.ZIP_LZMA),
    "overlapping entries": lambda: _overlapping(64),
    "bomb in a zip": lambda: _zip(
        ("inner.zip", _zip(("zeros", bytes(BOMB)), method=zipfile.ZIP_DEFLATED))
    ),
    "many": lambda: _zip(*[(f"f{number}", b"") for number in range(MANY)]),
    "deep": lambda: _zip((f"{DEEP}/f", b"x")),
    "twice": lambda: _zip(("a", b"1"), ("a", b"2")),
    "file and directory": lambda: _zip(("a", b"1"), ("a/b", b"2")),
    "lying size": lambda: _central(
        _zip(("a", bytes(1 << 20)), method=zipfile.ZIP_DEFLATED), 24, b"\1\0\0\0"
    ),
    "wrong checksum": lambda: _central(_zip(("a", b"abc")), 16, b"\0\0\0\0"),
    "cut": lambda: _zip(("a", bytes(9000)))[:5000],
    "another name inside": lambda: _renamed(b"innocent", b"../evil1", both=False),
    "name with a NUL": lambda: _renamed(b"good_evil", b"good\0evil", both=True),
    "no name": _nameless,
}


def archives() -> Sequence[tuple[str, str, Callable[[], bytes]]]:
    """Name, ending and maker of each."""
    tars = [(kind, ".tar", make) for kind, make in _TARS.items()]
    return tars + [(kind, ".zip", make) for kind, make in _ZIPS.items()]
