"""What clients can ask of the registry, once: both protocols lead here.

Each operation takes who asks and the fields of the request and gives the reply's JSON object, or
an address to go to. Blocks (the store's disk); called in threads, holds no state of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfs.errors import Exists, InvalidName, NotFound
from modelfs.refs import file_path_fault
from modelfs.registry import frameworks, metadata
from modelfs.registry.local import facts
from modelfs.registry.local.records import (
    Bundle,
    FileRecord,
    InstanceRecord,
    ModelRecord,
    UploadedDirectory,
    UploadedFile,
)
from modelfs.registry.local.store import Store
from modelfs.server import replies, uploads
from modelfs.server.auth import Caller
from modelfs.server.limits import Limits
from modelfs.server.replies import Reply
from modelfs.server.storage import Addresses, Stored
from modelfs.server.wire import Fields

# Deeper than any path can be: a path has at most 3072 bytes, but nobody nests like that.
_DEPTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks, with what, and under which origin they know us."""

    caller: Caller
    fields: Fields
    base: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that is somewhere else."""

    address: str


class Operations:
    """The registry's operations, by their names in the protocol's ModelApiService."""

    def __init__(self, store: Store, directory: Path, addresses: Addresses, limits: Limits) -> None:
        self._store = store
        self._directory = directory
        self._addresses = addresses
        self._limits = limits

    # Models

    def list_models(self, call: Call) -> Reply:
        fields = call.fields
        page = self._store.models(
            owner=fields.text("owner"),
            search=fields.text("search"),
            order=fields.text("sortBy"),
            viewer=call.caller.viewer,
            **self._paging(fields),
        )
        models = [self._model_reply(record, call.base) for record in page.items]
        return replies.page("models", models, page)

    def get_model(self, call: Call) -> Reply:
        return self._model_reply(self._visible_model(call), call.base)

    def create_model(self, call: Call) -> Reply:
        fields = call.fields
        owner = fields.text("ownerSlug")
        call.caller.check_owner(owner)
        slug = fields.text("slug")
        record = self._store.create_model(
            owner,
            slug,
            title=fields.text("title") or slug,
            subtitle=fields.text("subtitle"),
            is_private=fields.flag("isPrivate", default=True),
            description=fields.text("description"),
            publish_time=fields.time("publishTime"),
            provenance_sources=fields.text("provenanceSources"),
        )
        return _model_done(record, call.base)

    def update_model(self, call: Call) -> Reply:
        owner, slug = self._owned_model(call)
        changes = _changes(call.fields, metadata.MODEL_FIELDS)
        return _model_done(self._store.update_model(owner, slug, changes), call.base)

    def delete_model(self, call: Call) -> Reply:
        self._store.delete_model(*self._owned_model(call))
        return {}

    # Instances

    def list_model_instances(self, call: Call) -> Reply:
        model = self._visible_model(call)
        page = self._store.instances(model.owner, model.slug, **self._paging(call.fields))
        items = [facts.listed_instance(record, call.base) for record in page.items]
        return replies.page("instances", items, page)

    def get_model_instance(self, call: Call) -> Reply:
        return facts.instance(self._visible_instance(call)[1], call.base)

    def create_model_instance(self, call: Call) -> Reply:
        owner, model = self._owned_model(call)
        body = call.fields.object("body")
        try:
            record = self._store.create_instance(
                owner,
                model,
                frameworks.parse(body.text("framework")),
                body.text("instanceSlug"),
                bundle=_bundle(body),
                fields={
                    ours: _value(body, wire) for wire, ours in metadata.INSTANCE_FIELDS.items()
                },
                notes=body.text("versionNotes"),
            )
        except Exists as exc:
            # kagglehub makes a new version on exactly this answer, and fails on a plain 409.
            return {"error": str(exc), "errorCode": exc.status}
        return _instance_done(record, call.base)

    def update_model_instance(self, call: Call) -> Reply:
        name = self._owned_instance(call)
        changes = _changes(call.fields, metadata.INSTANCE_FIELDS)
        return _instance_done(self._store.update_instance(*name, changes), call.base)

    def delete_model_instance(self, call: Call) -> Reply:
        self._store.delete_instance(*self._owned_instance(call))
        return {}

    # Versions

    def list_model_instance_versions(self, call: Call) -> Reply:
        model, instance = self._visible_instance(call)
        page = self._store.versions(*_name(instance), **self._paging(call.fields))
        items = [facts.listed_version(record, instance, model, call.base) for record in page.items]
        return {"versionList": {"versions": items}, "nextPageToken": page.next_token}

    def list_model_instance_version_files(self, call: Call) -> Reply:
        number = call.fields.number("versionNumber") or None
        page = self._store.files(*self._visible_name(call), number, **self._paging(call.fields))
        return replies.page("files", [facts.file(record) for record in page.items], page)

    def create_model_instance_version(self, call: Call) -> Reply:
        name = self._owned_instance(call)
        body = call.fields.object("body")
        version = self._store.create_version(
            *name, bundle=_bundle(body), notes=body.text("versionNotes")
        )
        instance = self._store.instance(*name)
        url = f"{facts.instance_page(call.base, instance)}/{version.number}"
        return replies.created(version.id, f"{'/'.join(name)}/{version.number}", url)

    def delete_model_instance_version(self, call: Call) -> Reply:
        name = self._owned_instance(call)
        self._store.delete_version(*name, _version_number(call.fields))
        return {}

    def download_model_instance_version(self, call: Call) -> Redirect:
        """To one file of a version or, without a path, to all of it as an archive."""
        name = self._visible_name(call)
        number = _version_number(call.fields)
        path = call.fields.text("path")
        if path:
            if fault := file_path_fault(path):
                raise InvalidName(f"not a file's path, {fault}: {path!r}")
            record = self._store.file(*name, number, path)
            place = self._store.blob_path(record.sha256)
        else:
            version = self._store.version(*name, number)
            place = self._store.archive(version)
            record = self._store.archive_record(version)
        return Redirect(self._addresses.address(call.base, self._stored(record, place)))

    # Uploads

    def start_blob_upload(self, call: Call) -> Reply:
        fields = call.fields
        return self._begin(call, fields.text("name"))

    def upload_model_file(self, call: Call) -> Reply:
        """What StartBlobUpload was before it had a service of its own."""
        return self._begin(call, call.fields.text("fileName"))

    def _begin(self, call: Call, name: str) -> Reply:
        size = call.fields.number("contentLength")
        mtime = float(call.fields.number("lastModifiedEpochSeconds"))
        upload = self._store.uploads.begin(name, size, mtime, call.caller.user)
        return {"token": upload.token, "createUrl": uploads.address(call.base, upload.token)}

    def _stored(self, record: FileRecord, place: Path) -> Stored:
        return Stored(
            path=place.relative_to(self._directory).as_posix(),
            name=record.path.rpartition("/")[2],
            size=record.size,
            mtime=int(record.created),
            sha256=record.sha256,
            md5=record.md5,
            crc32c=record.crc32c,
        )

    # Names and permissions

    def _visible_model(self, call: Call) -> ModelRecord:
        """The model of the request; NotFound also if it is somebody else's private one."""
        owner, slug = call.fields.text("ownerSlug"), call.fields.text("modelSlug")
        record = self._store.model(owner, slug)
        if record.is_private and call.caller.viewer not in (None, record.owner):
            raise NotFound(f"{owner}/{slug}: no such model")
        return record

    def _visible_instance(self, call: Call) -> tuple[ModelRecord, InstanceRecord]:
        model = self._visible_model(call)
        framework = frameworks.parse(call.fields.text("framework"))
        slug = call.fields.text("instanceSlug")
        return model, self._store.instance(model.owner, model.slug, framework, slug)

    def _visible_name(self, call: Call) -> tuple[str, str, str, str]:
        """The instance's name in a request; the model is looked up only if it may be hidden."""
        fields = call.fields
        owner = fields.text("ownerSlug")
        if call.caller.viewer not in (None, owner):
            self._visible_model(call)
        framework = frameworks.parse(fields.text("framework"))
        return owner, fields.text("modelSlug"), framework, fields.text("instanceSlug")

    def _owned_model(self, call: Call) -> tuple[str, str]:
        """Owner and slug of the model of a request that changes it; Forbidden if not theirs."""
        owner = call.fields.text("ownerSlug")
        call.caller.check_owner(owner)
        return owner, call.fields.text("modelSlug")

    def _owned_instance(self, call: Call) -> tuple[str, str, str, str]:
        owner, model = self._owned_model(call)
        framework = frameworks.parse(call.fields.text("framework"))
        return owner, model, framework, call.fields.text("instanceSlug")

    def _model_reply(self, record: ModelRecord, base: str) -> Reply:
        instances = self._store.all_instances(record.owner, record.slug)
        return facts.model(record, instances, base)

    def _paging(self, fields: Fields) -> dict[str, Any]:
        size = fields.number("pageSize") or self._limits.default_page
        return {"size": min(size, self._limits.page), "token": fields.page_token()}


def _name(record: InstanceRecord) -> tuple[str, str, str, str]:
    return record.owner, record.model, record.framework, record.slug


def _version_number(fields: Fields) -> int:
    number = fields.number("versionNumber")
    if number < 1:
        raise InvalidName("versionNumber is missing")
    return number


def _changes(fields: Fields, names: Mapping[str, str]) -> dict[str, object]:
    return {ours: _value(fields, wire) for wire, ours in fields.touched(names).items()}


def _value(fields: Fields, wire: str) -> object:
    """A metadata field of a request as our records have it; its default where absent."""
    match wire:
        case "isPrivate" | "fineTunable":
            return fields.flag(wire)
        case "publishTime":
            return fields.time(wire)
        case "trainingData":
            return fields.texts(wire)
        case "modelInstanceType":
            return metadata.parse_instance_type(fields.text(wire))
        case _:
            return fields.text(wire)


def _bundle(body: Fields) -> Bundle:
    """The tree of uploads in the body of a create call."""
    return Bundle(_files(body), _directories(body, 0))


def _files(fields: Fields) -> tuple[UploadedFile, ...]:
    return tuple(
        UploadedFile(item.text("token"), item.text("description"))
        for item in fields.objects("files")
    )


def _directories(fields: Fields, depth: int) -> tuple[UploadedDirectory, ...]:
    if depth > _DEPTH_MAX:
        raise InvalidName(f"directories are nested deeper than {_DEPTH_MAX}")
    return tuple(
        UploadedDirectory(item.text("name"), _files(item), _directories(item, depth + 1))
        for item in fields.objects("directories")
    )


def _model_done(record: ModelRecord, base: str) -> Reply:
    ref = f"{record.owner}/{record.slug}"
    return replies.created(record.id, ref, facts.model_page(base, record))


def _instance_done(record: InstanceRecord, base: str) -> Reply:
    return replies.created(record.id, "/".join(_name(record)), facts.instance_page(base, record))
