"""What stands between a client and a server: hands requests on, records them, loses answers."""

from __future__ import annotations

import http.client
from types import TracebackType
from urllib.parse import urlsplit

from sims.raw import DROP, RawServer, Request, Script, head


class Relay:
    """A way to the server at `url`. A context manager.

    The answer to a request whose path ends with one in `losing` is lost, once for each time that
    it is in there, after the server has done what was asked.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._server = RawServer(self._answer, "relay")
        self.losing: list[str] = []

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def requests(self) -> list[Request]:
        return self._server.requests

    def messages(self, method: str) -> list[dict[str, object]]:
        """The bodies of the calls of `method`."""
        return [item.message for item in self.requests if item.path.endswith(f"/{method}")]

    def _answer(self, request: Request) -> Script:
        connection = http.client.HTTPConnection(
            self._target.hostname or "", self._target.port, timeout=30
        )
        try:
            # The Host header stays ours, so that the server's addresses lead here.
            connection.request(request.method, request.target, request.body, dict(request.headers))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        for ending in self.losing:
            if request.path.endswith(ending):
                self.losing.remove(ending)
                return [DROP]
        kept = {key: value for key, value in answer.getheaders() if key != "Transfer-Encoding"}
        return [head(answer.status, {**kept, "Content-Length": str(len(body))}) + body]

    def __enter__(self) -> Relay:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
