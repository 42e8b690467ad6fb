"""The HTTP client of registries: time-outs, retries, rate limits, redirects, credentials.

With `connections` the only user of `requests`; its exceptions end here, also those that come
while a body is read. Owns the connections. Knows the error envelopes of the registries' APIs, but
no method of them. Safe for many threads: connections are pooled, the rest is constant or has its
own lock.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from requests.structures import CaseInsensitiveDict

from modelfs import __version__
from modelfs.errors import (
    Corrupt,
    Error,
    Unavailable,
    Usage,
)
from modelfs.model import Part
from modelfs.registry import addresses, connections, envelopes, patience, transfer, uploading
from modelfs.registry.answers import Answer
from modelfs.registry.retries import LIMITS, Attempt, Closed, Limits, Retries
from modelfs.waiting import Clock

USER_AGENT = f"modelfs/{__version__}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5


class Http:
    """Talks to one registry, whose API is below `base`, and to the storage it points to.

    `authorization` gives the Authorization header for `base` ("" for none); it and `headers`,
    which are sent instead of ours of those names, go to that scheme, host and port only.
    """

    def __init__(
        self,
        base: str,
        *,
        authorization: Callable[[], str] = str,
        headers: Mapping[str, str] = MappingProxyType({}),
        environ: Mapping[str, str] = MappingProxyType({}),
        limits: Limits = LIMITS,
        clock: Clock = time.monotonic,
    ) -> None:
        self._base = base.rstrip("/")
        self._origin = addresses.origin(self._base)
        self._authorization = authorization
        self._headers = headers
        self._environ = environ
        self._limits = limits
        self._clock = clock
        self._closing = threading.Event()
        self._retries = Retries(limits, clock, self._closing)
        self._pool = connections.Pool(limits.connections)

    def close(self) -> None:
        """Wake those who wait for a retry, and give the connections back."""
        self._closing.set()
        self._pool.close()

    # Calls of the API

    def call(
        self, path: str, message: Mapping[str, object], *, is_idempotent: bool = True
    ) -> dict[str, Any]:
        """The answer of POST `path` with `message`, both JSON objects."""

        return self._retries.retried(lambda this: self._asked(path, message, this), is_idempotent)

    def submit(self, path: str, message: Mapping[str, object]) -> dict[str, Any]:
        """The same for work that takes long: asked once, whatever comes of it."""
        seconds = self._limits.submit
        return self._asked(path, message, Attempt(self._clock() + seconds, False, seconds))

    def _asked(self, path: str, message: Mapping[str, object], this: Attempt) -> dict[str, Any]:
        with self._post(path, message, this) as answer:
            document = answer.document(self._limits.document, this.deadline)
        try:
            return envelopes.checked(document)
        except Error as exc:
            raise self._discreet(exc) from None

    def request(
        self,
        method: str,
        path: str,
        message: Mapping[str, object] | None = None,
        *,
        is_idempotent: bool = True,
    ) -> object:
        """The JSON value that `method` of `path` answers with; None where the answer is empty.

        What is not idempotent is asked again only if nothing was done for certain, and may take
        as long as `submit` does.
        """
        total = self._limits.total if is_idempotent else self._limits.submit

        def once(this: Attempt) -> object:
            if not is_idempotent:
                this = Attempt(this.deadline, False, total)
            with self._asking(method, path, message, this) as answer:
                if answer.status >= 300:
                    raise Corrupt(f"{answer.host} sent no answer, but {answer.status}")
                content = answer.content(self._limits.document, this.deadline)
            return envelopes.parsed(content, answer.host) if content.strip() else None

        return self._retries.retried(once, is_idempotent, total)

    def locate(self, path: str, message: Mapping[str, object]) -> str:
        """The address that POST `path` with `message` redirects to. It is a secret."""

        def once(this: Attempt) -> str:
            with self._post(path, message, this) as answer:
                if answer.status not in _REDIRECTS:
                    raise Corrupt(f"{answer.host} sent no address of a file, but {answer.status}")
                return addresses.redirected(answer.url, answer.headers.get("Location", ""))

        return self._retries.retried(once, is_idempotent=True)

    def _post(self, path: str, message: Mapping[str, object], this: Attempt) -> Answer:
        return self._asking("POST", path, message, this)

    def _asking(
        self, method: str, path: str, message: Mapping[str, object] | None, this: Attempt
    ) -> Answer:
        headers, body = {"Accept": "application/json"}, None
        if message is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(message).encode()
        answer = self._send(method, f"{self._base}/{path}", headers, this, body)
        try:
            self._raise_for(answer, this.deadline)
        except BaseException:
            answer.close()
            raise
        return answer

    # Bytes of files

    def open(
        self, locate: Callable[[bool], str], size: int, start: int, stop: int
    ) -> transfer.RangeBody:
        """Bytes [start, stop) of the file of `size` bytes at the address that `locate` gives.

        `locate(True)` must give a fresh address; it is asked for when the old one has expired.
        """
        body = transfer.RangeBody(
            _Storage(self, locate),
            size,
            start,
            stop,
            clock=self._clock,
            pause=self._retries.pause,
            patience=self._limits.total,
        )
        body.open()
        return body

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """GET `url`, following redirects; any answer but a complaint that may be retried."""

        def once(this: Attempt) -> Answer:
            answer = self._followed(url, headers, this)
            if answer.status in (200, 206) or transfer.is_expired(answer.status):
                return answer
            try:
                self._raise_for(answer, this.deadline)
            except (Unavailable, Corrupt):
                raise
            except Error as exc:
                # "Exists" and the like say nothing to somebody who reads.
                raise Corrupt(f"{answer.host} sent no bytes, but {answer.status}: {exc}") from exc
            finally:
                answer.close()
            raise Corrupt(f"{answer.host} sent no bytes, but {answer.status}")

        return self._retries.retried(once, is_idempotent=True)

    def _followed(self, url: str, headers: Mapping[str, str], this: Attempt) -> Answer:
        seen = {url}
        while True:
            answer = self._send("GET", url, headers, this)
            if answer.status not in _REDIRECTS:
                return answer
            answer.close()
            url = addresses.redirected(url, answer.headers.get("Location", ""))
            if url in seen or len(seen) > _MOST_REDIRECTS:
                raise Corrupt(f"{answer.host} redirects without an end")
            seen.add(url)

    def upload(
        self, url: str, part: Part, fd: int, progress: Callable[[int], None], *, is_new: bool
    ) -> None:
        """Send the file `fd` to an upload's address, which the API gave; see `uploading`."""

        def sent(count: int) -> None:
            self._retries.sleep(0)
            progress(count)

        uploading.Upload(
            lambda headers, body: self._put(addresses.redirected(self._base, url), headers, body),
            part,
            fd,
            progress=sent,
            pause=self._retries.pause,
            is_lasting=lambda error: isinstance(error, Closed | connections.Final),
            is_new=is_new,
        ).run()

    def _put(
        self, url: str, headers: Mapping[str, str], body: Iterable[bytes | memoryview] | None
    ) -> uploading.Reply:
        this = Attempt(self._clock() + self._limits.total, False, self._limits.stall)
        document: object = None
        with self._send("PUT", url, headers, this, body, is_signed=True) as answer:
            self._note_refusal(answer)
            try:
                until = self._clock() + self._limits.read
                document = answer.document(self._limits.document, until)
            except (Corrupt, Unavailable):  # the head says enough
                pass
            return uploading.Reply(answer.status, answer.headers, document, answer.host)

    # One request

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        this: Attempt,
        body: bytes | Iterable[bytes | memoryview] | None = None,
        *,
        is_signed: bool = False,
    ) -> Answer:
        """Send a request; one to a signed address needs no credentials and gets none."""
        host = addresses.shown(url)
        self._retries.wait_for(host, this.deadline)
        fields = CaseInsensitiveDict(
            {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        )
        if not is_signed and addresses.origin(url) == self._origin:
            if secret := self._authorization():
                fields["Authorization"] = secret
            fields.update(self._headers)
        proxy = addresses.proxy_for(url, self._environ)
        begun = self._clock()
        left = max(this.deadline - begun, 0.001)
        quick = self._retries.gates.quick(host) if this.is_quick else left
        read = this.read or min(self._limits.read, quick, left)
        with connections.converted(host):
            reply = self._pool.send(
                method,
                url,
                fields,
                body,
                timeout=(min(self._limits.connect, left), read),
                proxy=proxy,
                verify=self._authorities(),
            )
        answer = Answer(reply, url, host, self._clock)
        if reply.status_code not in (429, 503):
            # How long bytes take to be sent says nothing of how quick its answers are.
            self._retries.gates.answered(host, 0.0 if is_signed else self._clock() - begun)
        return answer

    def _authorities(self) -> bool | str:
        """The certificate authorities to trust: a file that the environment names, or the usual."""
        path = self._environ.get("REQUESTS_CA_BUNDLE") or self._environ.get("CURL_CA_BUNDLE")
        if path and not Path(path).exists():
            raise Usage(f"no such file of certificate authorities: {path}")
        return path or True

    def _raise_for(self, answer: Answer, deadline: float) -> None:
        """Raise what a status of 400 and more stands for."""
        if answer.status < 400:
            return
        document: object = None
        try:
            document = answer.document(self._limits.document, deadline)
        except (Corrupt, Unavailable):  # the status says enough
            pass
        self._note_refusal(answer)
        raise self._discreet(envelopes.failure(answer.status, document, answer.host))

    def _discreet(self, error: Error) -> Error:
        """`error` without our credentials: a registry may quote the request that it refuses."""
        text = str(error)
        for secret in envelopes.secrets_of(self._authorization()):
            text = text.replace(secret, "…")
        return error if text == str(error) else type(error)(text, hint=error.hint)

    def _note_refusal(self, answer: Answer) -> None:
        """Leave a host alone that asks for it."""
        if answer.status in (429, 503):
            now = time.time()
            asked = patience.retry_after(answer.headers.get("Retry-After"), now)
            if asked is None:
                asked = patience.reset_after(answer.headers.get("x-ratelimit-reset"), now)
            if answer.status == 429 or asked is not None:
                self._retries.gates.refused(answer.host, asked)


class _Storage:
    """One file's bytes, at an address that expires."""

    def __init__(self, client: Http, locate: Callable[[bool], str]) -> None:
        self._client = client
        self._locate = locate

    def get(self, headers: Mapping[str, str], is_fresh: bool, /) -> Answer:
        return self._client.get(self._locate(is_fresh), headers)
