"""Uploaded archives: the way some clients send a directory, unpacked into contents.

Knows ZIP and uncompressed tar, and trusts neither: only plain files with paths that stay inside
are taken, and no more of them than an archive of that size may hold. No state.
"""

from __future__ import annotations

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from modelfs.errors import Error, InvalidName, TooLarge
from modelfs.model import File
from modelfs.refs import file_path_fault
from modelfs.registry.local.blobs import Blobs, Readable

# More files than any published model has; a directory of more is slow in every tool.
MEMBERS = 250_000

# An archive may hold a gigabyte, or a hundred times its own size: weights compress by far less,
# while the bombs seen so far start at a thousand.
_ALWAYS = 1 << 30
_RATIO = 100

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)

# What the standard library says of archives that nobody wrote in good faith.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    NotImplementedError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
)


def unpack(archive: Path, name: str, blobs: Blobs) -> list[File] | None:
    """The files in an uploaded archive, their contents kept in `blobs` (not yet synced).

    None if it is no archive after all, or one that not everybody can open. InvalidName if it is
    damaged, or if a member is a link, a device, or would lie outside; TooLarge if there is too
    much of it.
    """
    limit = max(_ALWAYS, _RATIO * archive.stat().st_size)
    try:
        if name.endswith(".tar"):
            if not tarfile.is_tarfile(archive):
                return None
            with tarfile.open(archive, "r:") as tar:
                return _kept(_tar_members(tar), name, blobs, limit)
        if not zipfile.is_zipfile(archive):
            return None
        with zipfile.ZipFile(archive) as packed:
            if not all(_is_readable(info) for info in packed.infolist()):
                return None
            return _kept(_zip_members(packed), name, blobs, limit)
    except _DAMAGE as exc:
        raise InvalidName(f"{name}: archive is damaged") from exc
    except OSError as exc:
        if exc.errno is None:  # what a decompressor of the standard library says of bad data
            raise InvalidName(f"{name}: archive is damaged") from exc
        raise Error(f"{name}: archive cannot be read: {exc.strerror}") from exc


def _kept(
    members: Iterator[tuple[str, Readable]], name: str, blobs: Blobs, limit: int
) -> list[File]:
    files: list[File] = []
    with blobs.arriving() as arrivals:
        for path, source in members:
            if fault := file_path_fault(path):
                raise InvalidName(f"{name}: member cannot be a file, {fault}: {path!r}")
            if len(files) == MEMBERS:
                raise TooLarge(f"{name}: archive has more than {MEMBERS} files")
            size, digests = arrivals.add(source, limit)
            limit -= size
            files.append(File(path, size, None, digests))
    return files


def _is_readable(info: zipfile.ZipInfo) -> bool:
    is_encrypted = info.flag_bits & 0x41
    return not is_encrypted and info.compress_type in _METHODS


def _zip_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, Readable]]:
    for info in archive.infolist():
        if "\0" in info.orig_filename:  # which other programs take for the end of the name
            raise InvalidName(f"archive member has no name: {info.orig_filename!r}")
        mode = info.external_attr >> 16
        if info.is_dir():
            continue
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise InvalidName(f"archive member is not a plain file: {info.filename!r}")
        with archive.open(info) as source:
            yield info.filename, source


def _tar_members(archive: tarfile.TarFile) -> Iterator[tuple[str, Readable]]:
    for member in archive:
        if member.isdir():
            continue
        if member.size < 0:
            raise tarfile.ReadError("negative size")
        source = archive.extractfile(member) if member.isreg() else None
        if source is None:
            raise InvalidName(f"archive member is not a plain file: {member.name!r}")
        with source:
            yield member.name.removeprefix("./"), source
    # The iteration ends as quietly at a header that is broken or cut: half an archive is not one.
    assert archive.fileobj is not None  # noqa: S101 - it is open
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
        raise tarfile.ReadError("no end")
