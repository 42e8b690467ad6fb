"""The protocol of today's official clients: every call is a POST to /v1/<service>/<method>.

Owns the table of methods. What they do is in operations.py; reading requests, permissions and the
choice of thread are here, for the old protocol too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor

from aiohttp import web

from modelfs.errors import InvalidName, NotFound, TooLarge, Unsupported
from modelfs.server.auth import Caller, Gate, check_browser
from modelfs.server.limits import Limits
from modelfs.server.operations import Call, Operations, Redirect
from modelfs.server.replies import Reply
from modelfs.server.wire import Fields, parse_body

Operation = Callable[[Call], Reply | Redirect]

MODELS = "models.ModelApiService"
BLOBS = "blobs.BlobApiService"
_HELLO = "api.v1.DiagnosticsService/Hello"
_INTROSPECT = "security.OAuthService/IntrospectToken"
_GENERATE = "users.AccountService/GenerateAccessToken"

# Known to the protocol, and nothing that a directory of files has.
_ELSEWHERE = {
    f"{MODELS}/CreateModelSigningToken": "signatures",
    f"{MODELS}/ListModelGatingUserConsents": "gated models",
    f"{MODELS}/ReviewModelGatingUserConsent": "gated models",
    f"{MODELS}/WellKnowEndpoint": "signatures",
    f"{MODELS}/Keys": "signatures",
    "security.OAuthService/ExchangeOAuthToken": "browser logins: use the token file",
    "users.AccountService/ExpireApiToken": "expiring tokens: replace the token file and restart",
}

# A token never expires; clients want a number of seconds.
_TOKEN_LIFE = 12 * 3600
# One server, one account.
_USER_ID = 1


def method_table(operations: Operations) -> dict[str, Operation]:
    """`service/method` -> what it does."""
    models: dict[str, Operation] = {
        "ListModels": operations.list_models,
        "GetModel": operations.get_model,
        "CreateModel": operations.create_model,
        "UpdateModel": operations.update_model,
        "DeleteModel": operations.delete_model,
        "ListModelInstances": operations.list_model_instances,
        "GetModelInstance": operations.get_model_instance,
        "CreateModelInstance": operations.create_model_instance,
        "UpdateModelInstance": operations.update_model_instance,
        "DeleteModelInstance": operations.delete_model_instance,
        "ListModelInstanceVersions": operations.list_model_instance_versions,
        "ListModelInstanceVersionFiles": operations.list_model_instance_version_files,
        "CreateModelInstanceVersion": operations.create_model_instance_version,
        "DeleteModelInstanceVersion": operations.delete_model_instance_version,
        "DownloadModelInstanceVersion": operations.download_model_instance_version,
        "UploadModelFile": operations.upload_model_file,
    }
    table = {f"{MODELS}/{name}": operation for name, operation in models.items()}
    table[f"{BLOBS}/StartBlobUpload"] = operations.start_blob_upload
    return table


class Dispatcher:
    """Runs operations for requests: who asks, with what, in which thread."""

    def __init__(
        self, table: Mapping[str, Operation], gate: Gate, limits: Limits, host: str, slow: Executor
    ) -> None:
        self._table = table
        self._gate = gate
        self._limits = limits
        self._host = host
        # Packing and unpacking whole versions must not keep the quick calls waiting.
        self._slow = slow

    async def answer(self, request: web.Request) -> web.Response:
        """A call of the RPC protocol."""
        method = f"{request.match_info['service']}/{request.match_info['method']}"
        if method == _INTROSPECT:
            return web.json_response(await self._introspect(request))
        if method == _GENERATE:
            return web.json_response(await self._generate(request))
        caller = self.caller(request)
        if method == _HELLO:
            return web.json_response(hello(caller))
        if method in _ELSEWHERE:
            raise Unsupported(f"this registry has no {_ELSEWHERE[method]}")
        if method not in self._table:
            raise NotFound(f"no such method: {method}")
        return answer(await self.run(request, caller, method, await self.body(request)))

    def caller(self, request: web.Request) -> Caller:
        """Who asks; raises Unauthenticated, or Forbidden for a browser that was tricked."""
        if self._gate.is_open:
            self.check_browser(request)
        return self._gate.caller(request.headers.get("Authorization", ""))

    def check_browser(self, request: web.Request) -> None:
        """Raise Forbidden for what a web page made a browser of this machine send."""
        check_browser(
            request.headers.get("Host", ""),
            is_proxied(request),
            request.headers.get("Origin", ""),
            self._host,
        )

    async def body(self, request: web.Request, limit: int = 0) -> dict[str, object]:
        """The JSON object in the request's body."""
        limit = limit or self._limits.json_body
        if (request.content_length or 0) > limit:
            raise TooLarge(f"the request's body is larger than {limit} bytes")
        data = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_wait):
                while piece := await request.content.readany():
                    data += piece
                    if len(data) > limit:
                        raise TooLarge(f"the request's body is larger than {limit} bytes")
        except TimeoutError as exc:
            raise web.HTTPRequestTimeout() from exc
        if len(data) <= _SHORT:
            return parse_body(bytes(data))
        return await asyncio.to_thread(parse_body, bytes(data))

    async def run(
        self, request: web.Request, caller: Caller, method: str, values: Mapping[str, object]
    ) -> Reply | Redirect:
        """The result of `method` for `caller`, worked out in a thread."""
        fields = Fields(values)
        call = Call(caller, fields, origin(request))
        executor = self._slow if _is_slow(method, fields) else None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, self._table[method], call)

    async def _introspect(self, request: web.Request) -> Reply:
        """Whether a token is good; NotFound if not, which makes the clients try the next way."""
        body = Fields(await self.body(request, self._limits.anonymous_body))
        if not self._gate.is_token(body.text("token")):
            raise NotFound("no such token")
        return {
            "active": True,
            "clientId": "kagglesdk",
            "username": self._gate.user,
            "userId": _USER_ID,
            "scope": "resources.admin:*",
        }

    async def _generate(self, request: web.Request) -> Reply:
        """An access token for a refresh token: here, they are the same."""
        body = Fields(await self.body(request, self._limits.anonymous_body))
        token = body.text("refreshToken")
        if not self._gate.is_token(token):
            raise NotFound("no such token")
        return {
            "token": token,
            "expiresIn": _TOKEN_LIFE,
            "userName": self._gate.user,
            "userId": _USER_ID,
        }


# Parsed in the event loop's thread: 16 KiB of JSON take about as long as a hop to another.
_SHORT = 16 << 10


def hello(caller: Caller) -> Reply:
    """Who the caller is."""
    return {"userName": caller.user, "userId": _USER_ID}


def answer(result: Reply | Redirect) -> web.Response:
    """The HTTP response for what an operation gave."""
    if isinstance(result, Redirect):
        # 302, not 307: a POST must become a GET.
        return web.json_response({}, status=302, headers={"Location": result.address})
    return web.json_response(result)


def is_proxied(request: web.Request) -> bool:
    """Whether the request came to us as to a proxy, that is with an absolute target."""
    return request.raw_path.lower().startswith(("http://", "https://"))


def origin(request: web.Request) -> str:
    """`scheme://host:port` under which this client reaches us, for addresses in replies.

    A proxy that ends TLS says so; who says it himself is told addresses that he cannot use.
    """
    try:
        address = request.url.origin()
    except ValueError as exc:
        raise InvalidName("the Host header is malformed") from exc
    if request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https":
        address = address.with_scheme("https")
    return str(address)


def _is_slow(method: str, fields: Fields) -> bool:
    name = method.rpartition("/")[2]
    if name == "DownloadModelInstanceVersion":
        return not fields.text("path")
    return name in ("CreateModelInstance", "CreateModelInstanceVersion")
