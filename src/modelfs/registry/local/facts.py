"""What the registry keeps, as the facts that Kaggle's protocol tells: for the wire and for `item`.

Every field that an official client looks at is here; what this registry does not have (votes, tags,
download counts) is empty or zero. Enum values are full names: other spellings crash the clients.
`base` is the address that the registry is known under; empty where it has none. Pure: records in,
JSON objects out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from modelfs.errors import InvalidName
from modelfs.registry import frameworks, metadata
from modelfs.registry.local.records import (
    FileRecord,
    InstanceRecord,
    ModelRecord,
    VersionRecord,
)

Facts = dict[str, Any]


def model(record: ModelRecord, instances: Sequence[InstanceRecord], base: str) -> Facts:
    """ApiModel: a model with its instances."""
    reply: Facts = {
        "id": record.id,
        "ref": f"{record.owner}/{record.slug}",
        "title": record.title,
        "subtitle": record.subtitle,
        "author": record.owner,
        "slug": record.slug,
        "isPrivate": record.is_private,
        "description": record.description,
        "instances": [instance(item, base) for item in instances],
        "tags": [],
        "updateTime": time_text(record.updated),
        "provenanceSources": record.provenance_sources,
        "url": model_page(base, record),
        "modelVersionLinks": [],
        "voteCount": 0,
    }
    if record.publish_time is not None:
        reply["publishTime"] = time_text(record.publish_time)
    return reply


def instance(record: InstanceRecord, base: str) -> Facts:
    """ApiModelInstance: an instance as part of its model, and as GetModelInstance answers."""
    version = record.version
    return _instance_text(record) | {
        "id": record.id,
        "versionId": version.id if version else 0,
        "versionNumber": version.number if version else 0,
        "downloadUrl": download_path(record),
        "url": instance_page(base, record),
        "licenseName": record.license_name,
        "totalUncompressedBytes": version.total_bytes if version else 0,
    }


def listed_instance(record: InstanceRecord, base: str) -> Facts:
    """ModelInstance: an instance as ListModelInstances answers."""
    version = record.version
    status = "READY" if version else "DELETED"
    return instance(record, base) | {
        "ownerSlug": record.owner,
        "modelSlug": record.model,
        "modelId": record.model_id,
        "versionNotes": version.notes if version else "",
        "lastVersionId": version.id if version else 0,
        "renderedUsage": "",
        "license": {"id": 0, "name": record.license_name},
        "status": status,
        "creationStatus": {
            "status": status,
            "creationPercentComplete": 1.0,
            "creationStart": time_text(record.created),
            "creationLastUpdate": time_text(record.updated),
            "versionNumber": version.number if version else 0,
        },
        "databundleId": record.id,
        "databundleVersionId": version.id if version else 0,
        "databundleVersionType": "FILESET",
        "canUse": True,
        "downloadSummary": {
            "totalDownloads": 0,
            "downloadSeriesPoints": [],
            "modelInstanceId": record.id,
        },
        "sigstoreState": "SIGSTORE_STATE_NONE",
        "firestorePath": "",
    }


def listed_version(
    record: VersionRecord, parent: InstanceRecord, model: ModelRecord, base: str
) -> Facts:
    """ModelInstanceVersion. The notes, date and sizes are ours: Kaggle's own reply has none."""
    return {
        "id": record.id,
        "framework": frameworks.wire(parent.framework),
        "isTfhubModel": False,
        "url": f"{instance_page(base, parent)}/{record.number}",
        "variationSlug": parent.slug,
        "versionNumber": record.number,
        "modelTitle": model.title,
        "thumbnailUrl": "",
        "isPrivate": model.is_private,
        "sigstoreState": "SIGSTORE_STATE_NONE",
        "modelId": parent.model_id,
        "ownerSlug": parent.owner,
        "modelSlug": parent.model,
        "modelInstanceId": parent.id,
        "versionNotes": record.notes,
        "creationTime": time_text(record.created),
        "fileCount": record.file_count,
        "totalUncompressedBytes": record.total_bytes,
    }


def file(record: FileRecord) -> Facts:
    return {
        "name": record.path,
        "size": record.size,
        "creationDate": time_text(record.created),
    }


def model_page(base: str, record: ModelRecord) -> str:
    return f"{base}/models/{quote(record.owner)}/{quote(record.slug)}"


def instance_page(base: str, record: InstanceRecord) -> str:
    framework = frameworks.pascal(record.framework)
    parts = (record.owner, record.model, framework, record.slug)
    return f"{base}/models/{'/'.join(quote(part) for part in parts)}"


def download_path(record: InstanceRecord) -> str:
    """Where the old protocol downloads the current version, without the protocol's prefix."""
    number = record.version.number if record.version else 0
    parts = (record.owner, record.model, frameworks.pascal(record.framework), record.slug)
    return f"/models/{'/'.join(quote(part) for part in parts)}/{number}/download"


def time_text(seconds: float) -> str:
    """`2024-01-02T00:00:00.000Z`, the only form that all clients read."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instance_text(record: InstanceRecord) -> Facts:
    """What an instance's metadata says, for both kinds of replies."""
    reply: Facts = {
        "slug": record.slug,
        "framework": frameworks.wire(record.framework),
        "fineTunable": record.fine_tunable,
        "overview": record.overview,
        "usage": record.usage,
        "trainingData": list(record.training_data),
        "modelInstanceType": metadata.wire_instance_type(record.instance_type),
        "externalBaseModelUrl": record.external_base_model_url,
    }
    if parent := _base_model(record.base_model_instance):
        reply["baseModelInstanceInformation"] = parent
    return reply


def _base_model(ref: str) -> Facts | None:
    """BaseModelInstanceInformation of `owner/model/framework/instance`, if it is one."""
    parts = ref.split("/")
    if len(parts) != 4:
        return None
    owner, name, framework, slug = parts
    try:
        spelled = frameworks.wire(framework)
    except InvalidName:
        return None
    return {
        "id": 0,
        "owner": {"id": 0, "name": owner, "slug": owner, "isOrganization": False},
        "modelSlug": name,
        "instanceSlug": slug,
        "framework": spelled,
    }
