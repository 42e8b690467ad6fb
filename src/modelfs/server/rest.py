"""The old protocol: kaggle before 1.8 and kagglehub before 0.4, and people with curl.

A map of paths onto the methods of rpc.py; no operation is implemented twice. Owns what old replies
have besides: `has…` booleans, and enum values in their short form.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from modelfs.registry import frameworks
from modelfs.server.operations import Redirect
from modelfs.server.replies import Reply
from modelfs.server.rpc import BLOBS, MODELS, Dispatcher, answer, hello

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_INSTANCE = "/models/{ownerSlug}/{modelSlug}/{framework}/{instanceSlug}"


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the old protocol. `is_wrapped`: the body is what RPC has under `body`."""

    verb: str
    path: str
    method: str
    is_wrapped: bool = False


ROUTES = (
    Route("GET", "/models/list", f"{MODELS}/ListModels"),
    Route("POST", "/models/create/new", f"{MODELS}/CreateModel"),
    Route("GET", "/models/{ownerSlug}/{modelSlug}/get", f"{MODELS}/GetModel"),
    Route("POST", "/models/{ownerSlug}/{modelSlug}/update", f"{MODELS}/UpdateModel"),
    Route("POST", "/models/{ownerSlug}/{modelSlug}/delete", f"{MODELS}/DeleteModel"),
    Route("GET", "/models/{ownerSlug}/{modelSlug}/list", f"{MODELS}/ListModelInstances"),
    Route(
        "POST",
        "/models/{ownerSlug}/{modelSlug}/create/instance",
        f"{MODELS}/CreateModelInstance",
        is_wrapped=True,
    ),
    Route("GET", f"{_INSTANCE}/get", f"{MODELS}/GetModelInstance"),
    Route("POST", f"{_INSTANCE}/update", f"{MODELS}/UpdateModelInstance"),
    Route("POST", f"{_INSTANCE}/delete", f"{MODELS}/DeleteModelInstance"),
    Route("GET", f"{_INSTANCE}/list", f"{MODELS}/ListModelInstanceVersions"),
    Route("GET", f"{_INSTANCE}/files", f"{MODELS}/ListModelInstanceVersionFiles"),
    Route("GET", _INSTANCE + "/{versionNumber}/files", f"{MODELS}/ListModelInstanceVersionFiles"),
    Route(
        "POST",
        f"{_INSTANCE}/create/version",
        f"{MODELS}/CreateModelInstanceVersion",
        is_wrapped=True,
    ),
    Route("POST", _INSTANCE + "/{versionNumber}/delete", f"{MODELS}/DeleteModelInstanceVersion"),
    Route("GET", _INSTANCE + "/{versionNumber}/download", f"{MODELS}/DownloadModelInstanceVersion"),
    Route(
        "GET",
        _INSTANCE + "/{versionNumber}/download/{path:.+}",
        f"{MODELS}/DownloadModelInstanceVersion",
    ),
    Route("POST", "/blobs/upload", f"{BLOBS}/StartBlobUpload"),
)

# The replies of create, update and delete: kaggle 1.6 asks for hasId before it looks at id.
_DONE = {"id": 0, "ref": "", "url": "", "error": "", "errorCode": 0}
_ENUMS = {
    "modelInstanceType": "MODEL_INSTANCE_TYPE_",
    "status": "",
    "databundleVersionType": "",
    "sigstoreState": "SIGSTORE_STATE_",
}


def add_routes(app: web.Application, prefix: str, dispatcher: Dispatcher) -> None:
    """Serve the old protocol below `prefix`."""
    for route in ROUTES:
        app.router.add_route(route.verb, prefix + route.path, _handler(route, dispatcher))

    async def who_am_i(request: web.Request) -> web.Response:
        return web.json_response(hello(dispatcher.caller(request)))

    app.router.add_get(f"{prefix}/hello", who_am_i)


def _handler(route: Route, dispatcher: Dispatcher) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        caller = dispatcher.caller(request)
        values = _values(route, request, await dispatcher.body(request))
        result = await dispatcher.run(request, caller, route.method, values)
        if isinstance(result, Redirect):
            return answer(result)
        name = route.method.rpartition("/")[2]
        is_done = name.startswith(("Create", "Update", "Delete"))
        return answer(_with_flags(result) if is_done else _short_enums(result))

    return handler


def _values(route: Route, request: web.Request, body: dict[str, object]) -> dict[str, object]:
    """One object from path, query and body; what the path says wins."""
    query: dict[str, object] = dict(request.query)
    named: dict[str, object] = dict(request.match_info)
    if route.is_wrapped:
        return {**query, "body": body, **named}
    taken = {name.lower() for name in named}
    rest = {key: value for key, value in body.items() if key.replace("_", "").lower() not in taken}
    return {**query, **rest, **named}


def _with_flags(reply: Reply) -> Reply:
    flagged: Reply = {}
    for name, default in _DONE.items():
        flagged[name] = reply.get(name, default)
        flagged[f"has{name[0].upper()}{name[1:]}"] = name in reply
    return flagged


def _short_enums(value: Reply) -> Reply:
    """A reply with its enum values in the short camel-case form: `pyTorch`, `baseModel`."""
    return {key: _short(key, item) for key, item in value.items()}


def _short(key: str, value: object) -> object:
    if isinstance(value, dict):
        return _short_enums(value)
    if isinstance(value, list):
        return [_short(key, item) for item in value]
    if key == "framework":
        return frameworks.camel(str(value))
    if key in _ENUMS:
        first, *others = str(value).removeprefix(_ENUMS[key]).split("_")
        return first.lower() + "".join(word.capitalize() for word in others)
    return value
