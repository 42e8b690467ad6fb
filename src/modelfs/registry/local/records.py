"""What the embedded registry keeps, as frozen values. No I/O.

Times are float seconds since the epoch. Frameworks are canonical (see registry/frameworks.py),
digests lower-case hex.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model: what its metadata says."""

    id: int
    owner: str
    slug: str
    title: str
    subtitle: str
    is_private: bool
    description: str
    publish_time: float | None
    provenance_sources: str
    created: float
    updated: float


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A published version; it never changes."""

    id: int
    instance_id: int
    number: int
    notes: str
    created: float
    file_count: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """An instance of a model. `instance_type` is the wire's name without prefix: BASE_MODEL.

    `version` is the current, that is the highest one; None when all were deleted.
    """

    id: int
    model_id: int
    owner: str
    model: str
    framework: str
    slug: str
    overview: str
    usage: str
    license_name: str
    fine_tunable: bool
    training_data: tuple[str, ...]
    instance_type: str
    base_model_instance: str
    external_base_model_url: str
    created: float
    updated: float
    version: VersionRecord | None


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a version, or the archive of a whole one."""

    path: str
    size: int
    created: float
    sha256: str
    md5: str
    crc32c: str


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A finished upload, as part of a bundle; its name is the one it was begun with."""

    token: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class UploadedDirectory:
    """A directory of a bundle."""

    name: str
    files: tuple[UploadedFile, ...] = ()
    directories: tuple[UploadedDirectory, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A tree of uploads: the content of a version that is to be."""

    files: tuple[UploadedFile, ...] = ()
    directories: tuple[UploadedDirectory, ...] = ()


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload session. `received` bytes of `size` are here; digests are set once complete.

    `owner` is who began it; `mtime` is the file's, as its sender told.
    """

    token: str
    name: str
    size: int
    mtime: float
    owner: str
    received: int
    is_complete: bool
    sha256: str = ""
    md5: str = ""
    crc32c: str = ""
