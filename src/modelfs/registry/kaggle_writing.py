"""Publishing to Kaggle Models, or to a server that speaks its protocol.

Owns which upload sessions were never used (one lock, held for look-ups only). What may be sent is
decided in `proposals` and `described`, how bytes get there in `uploading`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from modelfs.errors import (
    Corrupt,
    Exists,
    Expired,
    Forbidden,
    InvalidName,
    NotFound,
    Unavailable,
    Unsupported,
)
from modelfs.model import Bundle, Document, Part, Traits
from modelfs.refs import Ref
from modelfs.registry import described, frameworks, metadata, proposals, replies
from modelfs.registry.http import Http
from modelfs.registry.kaggle import KaggleRegistry
from modelfs.registry.kaggle_calls import MODELS, message_of

_BLOBS = "v1/blobs.BlobApiService"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class WritableKaggleRegistry(KaggleRegistry):
    """Kaggle Models, read and written.

    `license_name` is what new instances are proposed with. Kaggle itself has no notes for the
    first version of an instance: its request has no field for them, so they are lost there.
    Servers that have one (`has_first_notes`; the embedded registry) get it. `archive` is the trait.
    """

    def __init__(
        self,
        client: Http,
        *,
        license_name: str,
        has_first_notes: bool = False,
        archive: str = "",
        **options: Any,
    ) -> None:
        super().__init__(client, **options)
        self._license_name = license_name
        self._has_first_notes = has_first_notes
        self._archive = archive
        self._unused_lock = threading.Lock()
        self._unused: set[str] = set()

    @cached_property
    def traits(self) -> Traits:
        return replace(super().traits, is_writable=True, archive=self._archive)

    def blank(self, ref: Ref) -> tuple[Document, ...]:
        return proposals.blank(self.canonical(ref), self._license_name)

    def check(self, bundle: Bundle) -> None:
        proposals.check(bundle)

    # Bytes

    def begin(self, part: Part) -> str:
        message: dict[str, object] = {
            "type": "MODEL",
            "name": part.path.rpartition("/")[2],
            "lastModifiedEpochSeconds": max(0, int(part.mtime)),
        }
        if part.size:
            message["contentLength"] = part.size
        reply = self._client.call(f"{_BLOBS}/StartBlobUpload", message)
        token, url = replies.text(reply, "token"), replies.text(reply, "createUrl")
        if not token or not url:
            raise Corrupt(f"{part.path}: the registry gives no address for an upload")
        session = json.dumps({"token": token, "url": url})
        with self._unused_lock:
            self._unused.add(session)
        return session

    def send(self, session: str, part: Part, fd: int, progress: Callable[[int], None]) -> str:
        token, url = _session(session)
        with self._unused_lock:
            is_new = session in self._unused
            self._unused.discard(session)
        self._client.upload(url, part, fd, progress, is_new=is_new)
        return token

    # Versions

    def create(self, bundle: Bundle) -> Ref:
        """See the protocol. Exists: the instance that was to be new is there meanwhile.

        It and its first version are one request, so nothing was made then.
        """
        ref = self.canonical(bundle.ref)
        new = {self.canonical(parent): documents for parent, documents in bundle.parents}
        for parent in sorted(new, key=lambda parent: parent.depth):
            if parent.depth == 2:
                self._create_model(parent, new[parent])
        if ref.parent in new:
            return self._create_instance(bundle, ref.parent, new[ref.parent])
        return self._create_version(bundle, ref.parent)

    def _create_model(self, ref: Ref, documents: tuple[Document, ...]) -> None:
        message = _new_model(ref, proposals.fields(ref, documents))
        try:
            self._client.call(f"{MODELS}/CreateModel", message)
        except Exists:
            pass  # somebody was faster, or the first answer got lost
        except InvalidName:
            # Nobody tells in which words Kaggle says that there is one already.
            if not self._is_there(ref):
                raise

    def _create_instance(self, bundle: Bundle, ref: Ref, documents: tuple[Document, ...]) -> Ref:
        owner, model, framework, slug = ref.parts
        body = {
            "instanceSlug": slug,
            "framework": frameworks.wire(framework),
            **_on_wire(proposals.fields(ref, documents)),
            **_tree(bundle.uploads),
        }
        if self._has_first_notes and bundle.notes:
            body["versionNotes"] = bundle.notes
        message = {"ownerSlug": owner, "modelSlug": model, "body": body}
        reply = self._submit("CreateModelInstance", message)
        return ref.child(_told_number(reply, ref) or "1")

    def _create_version(self, bundle: Bundle, ref: Ref) -> Ref:
        before = self._names(ref) if bundle.before is None else bundle.before
        body = {"versionNotes": bundle.notes, **_tree(bundle.uploads)}
        reply = self._submit("CreateModelInstanceVersion", {**message_of(ref), "body": body})
        if number := _told_number(reply, ref):
            return ref.child(number)
        made = [name for name in self._names(ref) if name not in before]
        if not made:
            raise Unavailable(f"{ref}: a version was made, and is not listed yet")
        return ref.child(made[-1])

    def _submit(self, method: str, message: Mapping[str, object]) -> Mapping[str, Any]:
        try:
            return self._client.submit(f"{MODELS}/{method}", message)
        except Corrupt as exc:
            raise Unavailable(f"the registry's answer makes no sense: {exc}") from exc

    def _names(self, ref: Ref) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.children(ref))

    def _is_there(self, ref: Ref) -> bool:
        try:
            self.stat(ref)
        except NotFound:
            return False
        return True

    def add(self, ref: Ref, documents: tuple[Document, ...]) -> None:
        ref = self.canonical(ref)
        if ref.depth != 2:
            raise Unsupported(f"{ref}: cannot be without a version, or without what is in it")
        message = _new_model(ref, proposals.new(ref, documents))
        try:
            self._submit("CreateModel", message)
        except InvalidName as exc:
            if self._is_there(ref):  # see _create_model
                raise Exists(f"{ref}: model exists") from exc
            raise

    # What exists

    def update(self, ref: Ref, document: Document) -> None:
        ref = self.canonical(ref)
        current = self.documents(ref)
        if not current:
            raise InvalidName(f"{ref}: there is no {document.name} of it")
        changed = described.changes(document, current[0], ref)
        if not changed:
            return
        method = "UpdateModel" if ref.depth == 2 else "UpdateModelInstance"
        mask = ",".join(changed)
        message = {**message_of(ref), **_on_wire(changed), "updateMask": mask}
        self._client.call(f"{MODELS}/{method}", message)

    def delete(self, ref: Ref) -> None:
        ref = self.canonical(ref)
        if ref.depth not in _DELETES:
            raise Unsupported(f"{ref}: cannot be deleted, only what is in it")
        try:
            self._client.call(f"{MODELS}/{_DELETES[ref.depth]}", message_of(ref))
        except NotFound:
            pass
        except Forbidden:
            # Kaggle says this of what is not there too, as after an answer that got lost.
            if self._is_there(ref):
                raise


_DELETES = {2: "DeleteModel", 4: "DeleteModelInstance", 5: "DeleteModelInstanceVersion"}


def _session(text: str) -> tuple[str, str]:
    """Token and address in a session's text."""
    try:
        told = json.loads(text)
        token, url = told["token"], told["url"]
    except (ValueError, TypeError, KeyError):
        token = url = None
    if not isinstance(token, str) or not isinstance(url, str):
        raise Expired("an upload's session cannot be read")
    return token, url


def _new_model(ref: Ref, fields: described.Fields) -> dict[str, object]:
    owner, slug = ref.parts
    return {"ownerSlug": owner, "slug": slug, **_on_wire(fields)}


def _on_wire(fields: described.Fields) -> dict[str, object]:
    """Fields of a metadata file as requests have them; an empty date is an absent one."""
    message = dict(fields)
    if "modelInstanceType" in message:
        kind = metadata.wire_instance_type(str(message["modelInstanceType"]))
        message["modelInstanceType"] = kind
    if day := message.pop("publishTime", ""):
        message["publishTime"] = f"{day}T00:00:00.000Z"
    return message


def _tree(parts: Iterable[Part]) -> dict[str, object]:
    """Uploaded files as the tree of their directories."""
    files: list[dict[str, str]] = []
    below: dict[str, list[Part]] = {}
    for part in sorted(parts, key=lambda part: part.path):
        top, separator, rest = part.path.partition("/")
        if separator:
            below.setdefault(top, []).append(replace(part, path=rest))
        else:
            files.append({"token": part.token})
    directories = [{"name": name, **_tree(inner)} for name, inner in below.items()]
    return {"files": files, "directories": directories}


def _told_number(reply: Mapping[str, Any], ref: Ref) -> str:
    """The number of the new version of the instance `ref`, if the registry told it; else empty."""
    if (number := replies.number(reply, "versionNumber")) > 0:
        return str(number)
    for key in ("ref", "url"):
        parts = replies.text(reply, key).rstrip("/").split("/")[-5:]
        if len(parts) == 5 and _is_same(parts[:4], ref) and _NUMBER.fullmatch(parts[4]):
            return parts[4]
    return ""


def _is_same(parts: list[str], ref: Ref) -> bool:
    try:
        parts[2] = frameworks.parse(parts[2])
    except InvalidName:
        return False
    return tuple(part.lower() for part in parts) == tuple(part.lower() for part in ref.parts)
