"""A version as one archive on the disk, as the official client downloads it.

Made here from the files in the cache, each checked: the registry's own archive tells no digest of
what is in it. The same version always gives the same bytes.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from modelfs.errors import Corrupt, NoSpace
from modelfs.refs import Ref

if TYPE_CHECKING:
    from modelfs.api import Client, Tell
    from modelfs.model import Manifest

# Weights hardly compress; storing them is many times as fast.
_LEVEL = 0
_CHUNK = 1 << 20


def write(client: Client, version: Ref, folder: Path, tell: Tell | None) -> Path:
    """Write the archive of `version` into `folder`, whole or not at all; its path."""
    manifest = client.manifest(version)
    if manifest.rejected:
        first = manifest.rejected[0]
        raise Corrupt(f"{version} lists what no archive may hold: {first.path}: {first.reason}")
    try:
        client.warm(version, progress=tell)
    except NoSpace:
        pass  # a cache that cannot keep it gives it all the same, file by file
    folder.mkdir(parents=True, exist_ok=True)
    _, model, framework, instance, number = version.parts
    path = folder / f"{model}-{framework}-{instance}-{number}.tar.gz"
    temporary = folder / f".{path.name}.{os.getpid()}.part"
    try:
        _pack(client, version, manifest, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _pack(client: Client, version: Ref, manifest: Manifest, path: Path) -> None:
    with (
        path.open("xb") as sink,
        gzip.GzipFile("", "wb", _LEVEL, sink, mtime=0) as packed,
        tarfile.TarFile(
            mode="w", fileobj=packed, format=tarfile.PAX_FORMAT, copybufsize=_CHUNK
        ) as archive,
    ):
        for file in manifest.files:
            member = tarfile.TarInfo(file.path)
            member.size = file.size
            member.mtime = int(file.mtime or 0)
            member.mode = 0o644
            with client.open(f"{version}/{file.path}") as content:
                archive.addfile(member, content)
