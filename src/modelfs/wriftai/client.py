"""The client: where the service is, who we are there, and its resources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType

from modelfs.registry import credentials
from modelfs.registry.http import Http
from modelfs.registry.retries import Limits
from modelfs.registry.wriftai import API, base_url
from modelfs.registry.wriftai_calls import Calls
from modelfs.wriftai.authenticated_user import AuthenticatedUser
from modelfs.wriftai.model_versions import ModelVersions
from modelfs.wriftai.models import ModelsResource
from modelfs.wriftai.service import AT_ONCE, Service
from modelfs.wriftai.users import UsersResource

# A registry that makes a version looks at a container image first, which takes its time.
_TIMEOUT = 120.0
# A hundred calls at once exceed what the service takes in a second; most are refused a few times.
_RETRIES = 9


class Client:
    """WriftAI, for a program. A context manager; `close` gives back connections and threads.

    Without `access_token` and `api_base_url` the environment's WRIFTAI_ACCESS_TOKEN and
    WRIFTAI_API_BASE_URL count. `headers` are sent with every request, instead of ours of those
    names. A call ends within `timeout` seconds, with all its retries, of which there are at most
    `max_retries`. Safe for many threads.
    """

    def __init__(
        self,
        access_token: str | None = None,
        api_base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = _TIMEOUT,
        max_retries: int = _RETRIES,
    ) -> None:
        environ = dict(os.environ)
        found = credentials.for_wriftai(environ)
        if access_token:
            found = credentials.bearer(access_token, "access_token")
        limits = Limits(
            connect=min(10.0, timeout),
            read=timeout,
            total=timeout,
            submit=timeout,
            attempts=max_retries + 1,
            quick_tries=0,
            connections=AT_ONCE,
        )
        http = Http(
            base_url(api_base_url or environ.get("WRIFTAI_API_BASE_URL") or API),
            authorization=lambda: found.header,
            headers=headers or {},
            environ=environ,
            limits=limits,
        )
        self._service = Service(Calls(http))
        self.authenticated_user = AuthenticatedUser(self._service)
        self.users = UsersResource(self._service)
        self.models = ModelsResource(self._service)
        self.model_versions = ModelVersions(self._service)

    def close(self) -> None:
        self._service.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
