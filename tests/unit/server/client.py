"""A plain client of the embedded registry for tests: urllib3 is not in the way, bytes are seen."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

FRAMEWORK = "MODEL_FRAMEWORK_PY_TORCH"
INSTANCE = {
    "ownerSlug": "alice",
    "modelSlug": "bert",
    "framework": FRAMEWORK,
    "instanceSlug": "base",
}


@dataclass(frozen=True)
class Answer:
    """A whole response. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Somebody with a token (or an Authorization header) at one server."""

    url: str
    token: str = ""
    authorization: str = ""

    def request(
        self,
        verb: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; `target` is a path or an absolute URL of ours."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            connection.request(verb, target.removeprefix(self.url), body, dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def signed(self, verb: str, target: str, values: Any = None, **headers: str) -> Answer:
        """A request with our credentials and a JSON body."""
        if self.authorization or self.token:
            headers["Authorization"] = self.authorization or f"Bearer {self.token}"
        body = None if values is None else json.dumps(values).encode()
        return self.request(verb, target, body, {"Content-Type": "application/json", **headers})

    def rpc(self, method: str, service: str = "models.ModelApiService", **values: Any) -> Answer:
        return self.signed("POST", f"/v1/{service}/{method}", values)

    def begin(self, name: str, size: int) -> dict[str, str]:
        """Start an upload: its token and address."""
        values = {"type": "MODEL", "name": name, "contentLength": size}
        answer = self.rpc("StartBlobUpload", "blobs.BlobApiService", **values)
        assert 200 == answer.status, answer.body
        reply: dict[str, str] = answer.json
        return reply

    def upload(self, name: str, data: bytes) -> str:
        """The token of a complete upload."""
        begun = self.begin(name, len(data))
        assert 200 == self.request("PUT", begun["createUrl"], data).status
        return begun["token"]

    def create_model(self, owner: str = "alice", slug: str = "bert", **more: Any) -> Answer:
        return self.rpc("CreateModel", ownerSlug=owner, slug=slug, title=slug.title(), **more)

    def create_instance(self, files: Mapping[str, bytes], **more: Any) -> Answer:
        """The instance alice/bert/pytorch/base with `files`, whose names may hold directories."""
        body = {"instanceSlug": "base", "framework": FRAMEWORK, **self.tree(files), **more}
        return self.rpc("CreateModelInstance", ownerSlug="alice", modelSlug="bert", body=body)

    def create_version(self, files: Mapping[str, bytes], notes: str = "") -> Answer:
        body = {"versionNotes": notes, **self.tree(files)}
        return self.rpc("CreateModelInstanceVersion", **INSTANCE, body=body)

    def tree(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """Upload `files` and describe them as kagglehub does, directories and all."""
        root: dict[str, Any] = {"files": [], "directories": []}
        for path, data in files.items():
            *parents, name = path.split("/")
            here = root
            for parent in parents:
                found = [item for item in here["directories"] if item["name"] == parent]
                if not found:
                    found = [{"name": parent, "files": [], "directories": []}]
                    here["directories"] += found
                here = found[0]
            here["files"].append({"token": self.upload(name, data)})
        return root

    def location(self, number: int = 1, **path: str) -> str:
        """The storage address of a version or of one file of it."""
        answer = self.rpc("DownloadModelInstanceVersion", **INSTANCE, versionNumber=number, **path)
        assert 302 == answer.status, answer.body
        return answer.headers["location"]

    def connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname, parts.port), timeout=20)

    def raw(self, data: bytes) -> bytes:
        """What comes back for `data` until the server closes the connection."""
        with self.connect() as connection:
            connection.sendall(data)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        return received
