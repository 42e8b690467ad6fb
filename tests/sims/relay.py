"""What stands between a client and a server: hands requests on, records them, loses answers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from sims.raw import DROP, RawServer, Request, Script, head


@dataclass(frozen=True)
class Answered:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, script: Script) -> Answered:
        """What a script of one step says."""
        (step,) = script
        assert isinstance(step, bytes)
        first, _, body = step.partition(b"\r\n\r\n")
        status, *lines = first.decode("latin-1").split("\r\n")
        told = dict(line.split(": ", 1) for line in lines)
        return cls(int(status.split()[1]), told, body)

    @property
    def script(self) -> Script:
        return [head(self.status, self.headers) + self.body]


# Answers a request, after handing it on or instead.
Meddle = Callable[[Request, Callable[[Request], Answered]], Script]


class Relay:
    """A way to the server at `url`. A context manager.

    The answer to a request whose path ends with one in `losing` is lost, once for each time that
    it is in there, after the server has done what was asked. `meddle`, if there is one, answers
    in place of the relay; it is given the request, and what hands one on.
    """

    def __init__(self, url: str, meddle: Meddle | None = None) -> None:
        self._target = urlsplit(url)
        self._server = RawServer(self._answer, "relay")
        self.meddle = meddle
        self.losing: list[str] = []
        self._counting = threading.Condition()
        self._handed_on = 0

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def requests(self) -> list[Request]:
        return self._server.requests

    def messages(self, method: str) -> list[dict[str, object]]:
        """The bodies of the calls of `method`."""
        return [item.message for item in self.requests if item.path.endswith(f"/{method}")]

    def settle(self) -> None:
        """Wait until the server has done what was handed on, also for who has stopped waiting."""
        with self._counting:
            assert self._counting.wait_for(lambda: not self._handed_on, 120)

    def _answer(self, request: Request) -> Script:
        if self.meddle is not None:
            return self.meddle(request, self._hand_on)
        answered = self._hand_on(request)
        for ending in self.losing:
            if request.path.endswith(ending):
                self.losing.remove(ending)
                return [DROP]
        return answered.script

    def _hand_on(self, request: Request) -> Answered:
        connection = http.client.HTTPConnection(
            self._target.hostname or "", self._target.port, timeout=120
        )
        with self._counting:
            self._handed_on += 1
        try:
            # The Host header stays ours, so that the server's addresses lead here.
            connection.request(request.method, request.target, request.body, dict(request.headers))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
            with self._counting:
                self._handed_on -= 1
                self._counting.notify_all()
        kept = {key: value for key, value in answer.getheaders() if key != "Transfer-Encoding"}
        return Answered(answer.status, {**kept, "Content-Length": str(len(body))}, body)

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
