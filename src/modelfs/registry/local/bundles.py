"""From a tree of uploads to the files of a version, before anything of it is recorded.

Looks every upload up, unpacks the archives that stand for directories, and checks the whole for
what no directory can hold. No state.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelfs.errors import InvalidName, WrongState
from modelfs.model import Digests, File, Manifest
from modelfs.refs import name_fault
from modelfs.registry.local.blobs import Blobs
from modelfs.registry.local.records import (
    Bundle,
    Upload,
    UploadedDirectory,
    UploadedFile,
)
from modelfs.registry.local.unpacking import unpack
from modelfs.registry.local.uploads import Uploads

# What kagglehub calls the one archive it sends instead of more than fifty files.
_WHOLE = "archive.zip"
_ARCHIVES = (".zip", ".tar")


def contents(bundle: Bundle, uploads: Uploads, blobs: Blobs) -> tuple[File, ...]:
    """The files that `bundle` stands for, sorted by path, their contents durable in `blobs`.

    An archive at the top is unpacked into a directory of its name without suffix, as its sender
    made it from one; the archive of a whole version into the version itself. NotFound if an
    upload is not known, WrongState if one is not complete, InvalidName for an impossible tree.
    """
    found: list[File] = []
    for directory, file in _walk(bundle):
        upload = uploads.find(file.token)
        path = directory + upload.name
        if not upload.is_complete:
            raise WrongState(
                f"{path}: upload is not complete: {upload.received} of {upload.size} bytes"
            )
        unpacked = None if directory else _unpacked(upload, blobs)
        if unpacked is None:
            digests = Digests(upload.md5, upload.crc32c, upload.sha256)
            unpacked = [File(path, upload.size, None, digests)]
        found += unpacked
    manifest = Manifest.of(found)
    if manifest.rejected:
        first = manifest.rejected[0]
        raise InvalidName(f"{first.path}: cannot be a file of a version, {first.reason}")
    blobs.sync(file.digests.sha256 for file in manifest.files)
    return manifest.files


def tokens_of(bundle: Bundle) -> Iterator[str]:
    """The uploads that `bundle` is made of."""
    return (file.token for _, file in _walk(bundle))


def _walk(bundle: Bundle) -> Iterator[tuple[str, UploadedFile]]:
    """Every upload with the directory it lies in, which ends in a slash unless it is the top."""
    waiting: list[tuple[str, Bundle | UploadedDirectory]] = [("", bundle)]
    while waiting:
        path, tree = waiting.pop()
        for file in tree.files:
            yield path, file
        for directory in tree.directories:
            if fault := name_fault(directory.name):
                raise InvalidName(f"not a directory name, {fault}: {directory.name!r}")
            waiting.append((f"{path}{directory.name}/", directory))


def _unpacked(upload: Upload, blobs: Blobs) -> list[File] | None:
    stem, suffix = upload.name[:-4], upload.name[-4:]
    if suffix not in _ARCHIVES or not stem:
        return None
    inner = unpack(blobs.path(upload.sha256), upload.name, blobs)
    if inner is None or upload.name == _WHOLE:
        return inner
    return [File(f"{stem}/{file.path}", file.size, None, file.digests) for file in inner]
