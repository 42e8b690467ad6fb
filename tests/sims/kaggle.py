"""Kaggle Models as it is live, as far as that is known, over a sample of content.

Pages hold two names, whatever is asked for, so that everything pages. Versions come without
notes, dates or sizes, files without hashes; storage is another host that signs its addresses,
here one that differs in its port. Counts what it is asked.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import quote, unquote

from modelfs.registry import frameworks, metadata
from sims import faults
from sims.content import MOMENT, Instance, Model
from sims.raw import RawServer, Request, Script, json_reply, redirect, reply
from sims.relay import Answered, Meddle

_PAGE = 2
DATE = datetime.fromtimestamp(MOMENT, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
_DENIED = json_reply({"code": 403, "message": "Permission 'models.get' was denied"}, 403)


class Kaggle:
    """A registry with the models of a sample, and its storage. A context manager."""

    def __init__(self, models: Sequence[Model], token: str = "", user: str = "") -> None:
        self.models = list(models)
        self.token = token
        self.user = user
        self.is_down = False
        # What the API says to everything, if it is not what it should.
        self.refusal: Script | None = None
        # What stands before the API, if anything does.
        self.meddle: Meddle | None = None
        # How the storage answers, and what versions of a model list besides their files.
        self.storage: faults.Fault = faults.good
        self.listed_besides: Mapping[str, Sequence[dict[str, object]]] = {}
        self._api = RawServer(self._answer, "shared-api")
        self._storage = RawServer(self._bytes, "shared-storage")
        self._signatures = itertools.count(1)
        # Addresses with a signature below this one have expired.
        self.valid_from = 0

    @property
    def url(self) -> str:
        return self._api.url

    def calls(self) -> Counter[str]:
        """What was asked so far: methods of the API, and GET for the storage."""
        names = [request.path.rpartition("/")[2] for request in self._api.requests]
        return Counter(names) + Counter(GET=len(self._storage.requests))

    @property
    def fetched(self) -> list[Request]:
        """What the storage was asked for."""
        return self._storage.requests

    def clear(self) -> None:
        self._api.requests.clear()
        self._storage.requests.clear()

    def __enter__(self) -> Kaggle:
        self._api.start()
        self._storage.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._api.stop()
        self._storage.stop()

    # The API

    def _answer(self, request: Request) -> Script:
        if self.meddle is not None:
            return self.meddle(request, lambda asked: Answered.of(self._right(asked)))
        return self._right(request)

    def _right(self, request: Request) -> Script:
        if self.is_down:
            return reply(503, faults.HTML)
        if self.refusal is not None:
            return self.refusal
        given = request.headers.get("authorization", "")
        if given and given != f"Bearer {self.token}":
            return json_reply({"code": 401, "message": "Unauthenticated"}, 401)
        message = request.message
        if not re.fullmatch("[0-9]{1,9}", str(message.get("pageToken") or 0)):
            return json_reply({"code": 400, "message": "Page token is not valid"}, 400)
        method = request.path.rpartition("/")[2]
        if method == "Hello":
            return json_reply({"userName": self.user} if given else {"code": 401})
        if method == "ListModels":
            owner = message.get("owner")
            words = str(message.get("search", ""))
            found = [
                model
                for model in self.models
                if owner in (None, model.owner) and words in model.slug
            ]
            return _page("models", [_model(model) for model in found], message)
        if "ownerSlug" not in message:  # of no method of the API
            return json_reply({"code": 404, "message": "Not found"}, 404)
        model = self._model(message)
        if model is None:
            return _DENIED
        if method == "GetModel":
            return json_reply(_model(model))
        if method == "ListModelInstances":
            items = [_listed(model, instance) for instance in model.instances]
            return _page("instances", items, message)
        instance = _instance(model, message)
        if instance is None:
            return json_reply({"code": 404, "message": "Not found"}, 404)
        return self._of_instance(method, model, instance, message)

    def _of_instance(
        self, method: str, model: Model, instance: Instance, message: dict[str, object]
    ) -> Script:
        if method == "GetModelInstance":
            return json_reply(_told(instance))
        if method == "ListModelInstanceVersions":
            numbers = [{"versionNumber": n + 1} for n in range(len(instance.versions))]
            page = _cut(numbers[::-1], message)
            return json_reply({"versionList": {"versions": page[0]}, "nextPageToken": page[1]})
        number = int(str(message.get("versionNumber", 0)))
        if not 0 < number <= len(instance.versions):
            return json_reply({"code": 404, "message": "Version not found"}, 404)
        files = instance.versions[number - 1].files
        if method == "ListModelInstanceVersionFiles":
            items = [
                {"name": path, "size": len(content), "creationDate": DATE}
                for path, content in files.items()
            ]
            items += self.listed_besides.get(model.slug, ())
            return _page("files", items, message)
        if method == "DownloadModelInstanceVersion" and message["path"] in files:
            place = f"{model.owner}/{model.slug}/{instance.framework}/{instance.slug}/{number}"
            path = quote(f"{place}/{message['path']}")
            signature = next(self._signatures)
            return redirect(f"{self._storage.url}/{path}?X-Goog-Signature={signature}")
        return json_reply({"code": 404, "message": "Not found"}, 404)

    def _model(self, message: dict[str, object]) -> Model | None:
        wanted = (message["ownerSlug"], message["modelSlug"])
        found = [model for model in self.models if (model.owner, model.slug) == wanted]
        return found[0] if found else None

    # The storage

    def _bytes(self, request: Request) -> Script:
        path, _, query = request.target.partition("?")
        assert "authorization" not in request.headers
        signature = query.rpartition("=")[2]
        if not signature.isdigit():
            return reply(404)
        if int(signature) < self.valid_from:
            return reply(400, b"<Error><Code>ExpiredToken</Code></Error>")
        owner, slug, framework, name, number, file = unquote(path).strip("/").split("/", 5)
        for model in self.models:
            for instance in model.instances:
                if (model.owner, model.slug, instance.framework, instance.slug) == (
                    owner,
                    slug,
                    framework,
                    name,
                ):
                    return self.storage(request, instance.versions[int(number) - 1].files[file])
        return reply(404)


def _cut(items: list[dict[str, object]], message: dict[str, object]) -> tuple[list, str]:
    start = int(str(message.get("pageToken") or 0))
    stop = start + min(_PAGE, int(str(message.get("pageSize", 20))))
    return items[start:stop], str(stop) if stop < len(items) else ""


def _page(key: str, items: list[dict[str, object]], message: dict[str, object]) -> Script:
    page, token = _cut(items, message)
    return json_reply({key: page, "nextPageToken": token})


def _instance(model: Model, message: dict[str, object]) -> Instance | None:
    for instance in model.instances:
        wire = frameworks.wire(instance.framework)
        if (wire, instance.slug) == (message["framework"], message["instanceSlug"]):
            return instance
    return None


def _model(model: Model) -> dict[str, object]:
    return {
        "id": 1,
        "ref": f"{model.owner}/{model.slug}",
        "slug": model.slug,
        "title": model.title,
        "subtitle": model.subtitle,
        "isPrivate": model.is_private,
        "description": model.description,
        "updateTime": DATE,
        "instances": [],
    }


def _told(instance: Instance) -> dict[str, object]:
    return {
        "id": 2,
        "slug": instance.slug,
        "framework": frameworks.wire(instance.framework),
        "overview": instance.overview,
        "usage": instance.usage,
        "licenseName": instance.license,
        "fineTunable": True,
        "trainingData": ["some/data"],
        "modelInstanceType": metadata.wire_instance_type("BASE_MODEL"),
        "versionNumber": len(instance.versions),
    }


def _listed(model: Model, instance: Instance) -> dict[str, object]:
    return _told(instance) | {
        "ownerSlug": model.owner,
        "modelSlug": model.slug,
        "versionNotes": instance.versions[-1].notes,
    }
