"""The embedded registry's engine: a directory as a registry.

`Store` reads and writes one (the server uses it); `LocalRegistry` and `WritableLocalRegistry` are
the same directory without a server, as a `Registry`.
"""

from modelfs.registry.local.records import (
    Bundle,
    FileRecord,
    InstanceRecord,
    ModelRecord,
    Upload,
    UploadedDirectory,
    UploadedFile,
    VersionRecord,
)
from modelfs.registry.local.registry import LocalRegistry
from modelfs.registry.local.store import Store
from modelfs.registry.local.uploads import Uploads, UploadWriter
from modelfs.registry.local.writable import WritableLocalRegistry

__all__ = [
    "Bundle",
    "FileRecord",
    "InstanceRecord",
    "LocalRegistry",
    "ModelRecord",
    "Store",
    "Upload",
    "UploadWriter",
    "UploadedDirectory",
    "UploadedFile",
    "Uploads",
    "VersionRecord",
    "WritableLocalRegistry",
]
