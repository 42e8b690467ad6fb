"""WriftAI as it is live, as far as that is known, over content of its own; misbehaves on demand.

Pages hold `page` items at most, whatever is asked for, so that everything pages. `faults` are
scripts for the next answers, one each, instead of the right ones; `lost` are scripts that come
after the work was done. Refuses what the service's documents say that it refuses.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sims.content import MOMENT
from sims.raw import RawServer, Request, Script, json_reply, reply
from sims.relay import Answered, Meddle

DATE = datetime.fromtimestamp(MOMENT, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
SCHEMAS: dict[str, Any] = {
    "prediction": {
        "input": {"type": "object", "properties": {"text": {"type": "string"}}},
        "output": {"type": "string", "title": "größer"},
    }
}
_FLAGS = (
    "openai_chat_completions",
    "openai_embeddings",
    "openai_images_generations",
    "openai_responses",
    "anthropic_messages",
)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_TEXTS = ("description", "overview", "source_url", "license_url", "paper_url")

Json = dict[str, Any]


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


class RefusalError(Exception):
    """What the service says no with."""

    def __init__(self, status: int, detail: object) -> None:
        self.script = json_reply({"detail": detail}, status)


@dataclass
class Model:
    owner: str
    name: str
    fields: Json = field(default_factory=dict)
    versions: dict[int, Json] = field(default_factory=dict)
    given: int = 0

    def told(self, *, is_whole: bool = False) -> Json:
        told: Json = {
            "id": f"00000000-0000-0000-0000-{abs(hash(self.name)) % 10**12:012}",
            "name": self.name,
            "created_at": DATE,
            "visibility": "private",
            "description": None,
            "updated_at": None,
            "owner": {"account_id": "1", "name": self.owner, "avatar_url": "https://x.test/a"},
            "predictions_count": 0,
            "categories": [
                {"name": slug.title(), "slug": slug}
                for slug in self.fields.get("category_slugs") or []
            ],
            "cover_image_url": None,
        }
        own = {key: value for key, value in self.fields.items() if key != "category_slugs"}
        if not is_whole:
            return told | {key: own[key] for key in ("visibility", "description") if key in own}
        last = self.versions[max(self.versions)] if self.versions else None
        return told | dict.fromkeys(_TEXTS[1:]) | own | {"latest_version": last}


class WriftAI:
    """The service. A context manager. `url` is what `wriftai+URL` takes."""

    def __init__(self, *, token: str = "", user: str = "", page: int = 2) -> None:
        self.token = token
        self.user = user
        self.page = page
        self.users = {user} - {""}
        self.models: dict[tuple[str, str], Model] = {}
        # Answers of services before 2025 had two keys more.
        self.has_urls = False
        # What a DELETE is answered with.
        self.deleted: Script = json_reply(None)
        self.is_down = False
        self.faults: list[Script] = []
        self.lost: list[Script] = []
        # What stands before the service, if anything does.
        self.meddle: Meddle | None = None
        # Changes an answer on its way.
        self.bent: Callable[[Request, Any], Any] = lambda _, value: value
        self._lock = threading.RLock()
        self._server = RawServer(self._answer, "shared-wriftai")

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def requests(self) -> list[Request]:
        return self._server.requests

    def calls(self) -> Counter[str]:
        """What was asked so far: `GET /v1/user`."""
        return Counter(f"{request.method} {request.path}" for request in self.requests)

    def clear(self) -> None:
        self.requests.clear()

    def add_model(self, owner: str, name: str, **fields: Any) -> Model:
        """Put a model there, past the wire."""
        self.users.add(owner)
        return self.models.setdefault((owner, name), Model(owner, name, fields))

    def add_version(self, owner: str, name: str, notes: str, letter: str = "a") -> Json:
        message = {
            "release_notes": notes,
            "schemas": SCHEMAS,
            "container_image_digest": digest(letter),
        }
        return self._made(self.add_model(owner, name), message)

    def __enter__(self) -> WriftAI:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()

    def _answer(self, request: Request) -> Script:
        if self.meddle is not None:
            return self.meddle(request, lambda asked: Answered.of(self._right(asked)))
        return self._right(request)

    def _right(self, request: Request) -> Script:
        with self._lock:
            if self.is_down:
                return reply(503, b"<html>back soon</html>")
            if self.faults:
                return self.faults.pop(0)
            try:
                found = self._routed(request)
            except RefusalError as exc:
                return exc.script
            if self.lost and request.method != "GET":
                return self.lost.pop(0)
            if request.method == "DELETE":
                return self.deleted
            return json_reply(self.bent(request, found))

    def _routed(self, request: Request) -> Any:
        given = request.headers.get("authorization", "")
        if given and given != f"Bearer {self.token}":
            raise RefusalError(401, "Invalid access token")
        me = self.user if given else ""
        url = urlsplit(request.target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        match [request.method, *map(unquote, url.path.strip("/").split("/"))]:
            case ["GET", "v1", "user"]:
                return self._user(me or _refuse(401, "Not authenticated"))
            case ["GET", "v1", "users"]:
                return self._paged([self._user(name) for name in sorted(self.users)], query)
            case ["GET", "v1", "users", name]:
                return self._user(name)
            case ["GET", "v1", "models"]:
                return self._listed("", me, query)
            case ["GET", "v1", "search", "models"]:
                return self._listed("", me, query, query["q"])
            case ["GET", "v1", "models", owner]:
                return self._listed(owner, me, query)
            case ["POST", "v1", "models"]:
                return self._new_model(me or _refuse(401, "Not authenticated"), request.message)
            case [_, "v1", "models", owner, name, *rest]:
                return self._of_model(request, self._model(owner, name, me), rest, me, query)
        raise RefusalError(404, "Not Found")

    def _of_model(
        self, request: Request, model: Model, rest: list[str], me: str, query: Json
    ) -> Any:
        if request.method != "GET" and me != model.owner:
            _refuse(403 if me else 401, "Not yours")
        match [request.method, *rest]:
            case ["GET"]:
                return model.told(is_whole=True)
            case ["PATCH"]:
                self._check_fields(request.message)
                model.fields |= request.message
                return model.told(is_whole=True)
            case ["DELETE"]:
                del self.models[model.owner, model.name]
                return None
            case ["GET", "versions"]:
                kept = ("number", "release_notes", "created_at")
                told = [{key: item[key] for key in kept} for item in model.versions.values()]
                return self._paged(told[::-1], query)
            case ["POST", "versions"]:
                return self._made(model, request.message)
            case [method, "versions", number, *below]:
                if not number.isdecimal():
                    _refuse(
                        422, [{"loc": ["path", "number"], "msg": "not a number", "type": "int"}]
                    )
                version = model.versions.get(int(number)) or _refuse(404, "Version not found")
                assert isinstance(version, dict)
                return self._of_version(method, below, model, version, request)
        raise RefusalError(404, "Not Found")

    def _of_version(
        self, method: str, below: list[str], model: Model, version: Json, request: Request
    ) -> Any:
        if below == ["configuration"]:
            if method == "PATCH":
                version["configuration"] |= request.message
            return version["configuration"]
        if method == "DELETE":
            del model.versions[version["number"]]
            return None
        return {key: value for key, value in version.items() if key != "configuration"}

    def _user(self, name: str) -> Json:
        if name not in self.users:
            _refuse(404, "User not found")
        texts = dict.fromkeys(("display_name", "bio", "location", "company", "updated_at", "urls"))
        return {"account_id": "1", "name": name, "avatar_url": "x", "created_at": DATE, **texts}

    def _model(self, owner: str, name: str, me: str) -> Model:
        model = self.models.get((owner, name))
        if model is None or (
            model.fields.get("visibility", "private") == "private" and me != owner
        ):
            raise RefusalError(404, "Model not found")
        return model

    def _listed(self, owner: str, me: str, query: Json, words: str = "") -> Json:
        told = [
            model.told()
            for model in self.models.values()
            if owner in ("", model.owner)
            and words in model.name
            and (model.owner == me or model.fields.get("visibility") == "public")
        ]
        return self._paged(told, query)

    def _new_model(self, me: str, message: Json) -> Json:
        name = message.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            _refuse(422, [{"loc": ["body", "name"], "msg": "Invalid name", "type": "value_error"}])
        self._check_fields(message)
        if (me, name) in self.models:
            _refuse(409, "Model with this name already exists")
        fields = {key: value for key, value in message.items() if key != "name"}
        return self.add_model(me, str(name), **fields).told(is_whole=True)

    def _check_fields(self, message: Json) -> None:
        if message.get("visibility", "public") not in ("private", "public", "restricted"):
            loc = ["body", "visibility"]
            _refuse(422, [{"loc": loc, "msg": "Input should be 'private'", "type": "enum"}])

    def _made(self, model: Model, message: Json) -> Json:
        faults = []
        if not 0 < len(message.get("release_notes", "")) <= 255:
            faults.append("release_notes")
        if not _DIGEST.fullmatch(message.get("container_image_digest", "")):
            faults.append("container_image_digest")
        if not isinstance(message.get("schemas"), dict):
            faults.append("schemas")
        if faults:
            _refuse(422, [{"loc": ["body", key], "msg": "Invalid", "type": "v"} for key in faults])
        model.given += 1
        inherited = {"hardware_identifier": "cpu", "variable_names": []}
        model.versions[model.given] = version = {
            "number": model.given,
            "release_notes": message["release_notes"],
            "created_at": DATE,
            # Stored apart from what was sent.
            "schemas": json.loads(json.dumps(message["schemas"])),
            "compatibilities": dict.fromkeys(_FLAGS, False) | message.get("compatibilities", {}),
            "size": 1234,
            "container_image_digest": message["container_image_digest"],
            "configuration": message.get("configuration", inherited),
        }
        return version

    def _paged(self, items: list[Json], query: Json) -> Json:
        size = int(query.get("page_size", 25))
        if not 5 <= size <= 50:
            _refuse(422, [{"loc": ["query", "page_size"], "msg": "Out of range", "type": "value"}])
        cursor = str(query.get("cursor", 0))
        if not re.fullmatch("[0-9]{1,9}", cursor):
            _refuse(422, [{"loc": ["query", "cursor"], "msg": "Invalid cursor", "type": "value"}])
        start = int(cursor)
        stop = start + min(size, self.page)
        told = {
            "items": items[start:stop],
            "next_cursor": str(stop) if stop < len(items) else None,
            "previous_cursor": str(max(0, start - self.page)) if start else None,
        }
        return (
            told | {"next_url": "https://x.test/", "previous_url": None} if self.has_urls else told
        )


def _refuse(status: int, detail: object) -> Any:
    raise RefusalError(status, detail)


def limited(**headers: str) -> Script:
    """A 429 of the service, with these headers."""
    return json_reply({"detail": "Too many requests"}, 429, **headers)
