"""WriftAI's protocol: its paths, pages, errors and headers, over `WriftaiOperations`.

It shares /v1 with Kaggle's protocol. The two meet in one path only, `GET /v1/models/list`, which is
Kaggle's list; so no owner here is called `list`. Everything but the operations happens in the
event loop's thread.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from modelfs.errors import Error, InvalidName, TooManyRequests
from modelfs.registry.local.containers import Containers
from modelfs.registry.local.cursors import Window
from modelfs.server.limits import Allowance
from modelfs.server.observing import REQUEST_ID, error_headers
from modelfs.server.rpc import Dispatcher, origin
from modelfs.server.wriftai_bodies import Invalid
from modelfs.server.wriftai_operations import Ask, WriftaiOperations
from modelfs.server.wriftai_replies import Reply

Operation = Callable[[Ask], Reply | Window[Reply] | None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PREFIX = "/v1"
_MODEL = "/models/{owner}/{name}"
_VERSION = _MODEL + "/versions/{number}"

# Clients up to 0.30 want the addresses of the pages around a page, later ones fail on them.
_OLD_CLIENT = re.compile(r"wriftai-python/0\.([12]?[0-9]|30)(\.|$)")


@dataclass(frozen=True, slots=True)
class Route:
    """One path of the protocol and what is behind it."""

    verb: str
    path: str
    operation: Operation


def routes(containers: Containers) -> tuple[Route, ...]:
    """All paths below the prefix."""
    do = WriftaiOperations(containers)
    return (
        Route("GET", "/user", do.get_me),
        Route("PATCH", "/user", do.update_me),
        Route("GET", "/user/models", do.list_my_models),
        Route("GET", "/users", do.list_users),
        Route("GET", "/users/{owner}", do.get_user),
        Route("GET", "/search/users", do.search_users),
        Route("GET", "/models", do.list_models),
        Route("POST", "/models", do.create_model),
        Route("GET", "/models/{owner}", do.list_models),
        Route("GET", _MODEL, do.get_model),
        Route("PATCH", _MODEL, do.update_model),
        Route("DELETE", _MODEL, do.delete_model),
        Route("GET", "/search/models", do.search_models),
        Route("GET", f"{_MODEL}/versions", do.list_versions),
        Route("POST", f"{_MODEL}/versions", do.create_version),
        Route("GET", _VERSION, do.get_version),
        Route("DELETE", _VERSION, do.delete_version),
        Route("GET", f"{_VERSION}/configuration", do.get_configuration),
        Route("PATCH", f"{_VERSION}/configuration", do.update_configuration),
        Route("GET", "/hardware", do.list_hardware),
        Route("GET", "/model_categories", do.list_categories),
    )


def add_routes(
    app: web.Application, dispatcher: Dispatcher, containers: Containers, allowance: Allowance
) -> None:
    """Serve WriftAI's protocol below its prefix."""
    for route in routes(containers):
        handler = _handler(route, dispatcher, allowance)
        app.router.add_route(route.verb, PREFIX + route.path, handler)


def _handler(route: Route, dispatcher: Dispatcher, allowance: Allowance) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        headers = {REQUEST_ID: uuid.uuid4().hex}
        try:
            is_admitted = allowance.take()
            headers |= allowance.headers()
            if not is_admitted:
                raise TooManyRequests("too many requests in this second")
            ask = await _ask(route, request, dispatcher)
            reply = await asyncio.to_thread(route.operation, ask)
            value = _page(request, reply) if isinstance(reply, Window) else reply
        except Error as exc:
            return _refusal(request, exc, headers)
        # Also where there is nothing to say: clients parse every body.
        return web.json_response(
            value, status=201 if route.verb == "POST" else 200, headers=headers
        )

    return handler


async def _ask(route: Route, request: web.Request, dispatcher: Dispatcher) -> Ask:
    caller = dispatcher.caller(request)
    has_body = route.verb in ("POST", "PATCH")
    return Ask(
        caller=caller,
        names=dict(request.match_info),
        query=dict(request.query),
        category_slugs=tuple(request.query.getall("category_slugs", ())),
        body=await dispatcher.body(request) if has_body else {},
        key=request.headers.get("Idempotency-Key", ""),
    )


def _page(request: web.Request, window: Window[Reply]) -> Reply:
    cursors = {"next": window.next_cursor, "previous": window.previous_cursor}
    page: Reply = {"items": list(window.items)}
    page |= {f"{side}_cursor": cursor or None for side, cursor in cursors.items()}
    if _OLD_CLIENT.match(request.headers.get("User-Agent", "")):
        for side, cursor in cursors.items():
            address = f"{origin(request)}{request.rel_url.update_query(cursor=cursor)}"
            page[f"{side}_url"] = address if cursor else None
    return page


def _refusal(request: web.Request, error: Error, headers: Mapping[str, str]) -> web.Response:
    """The response to what was raised, as FastAPI writes it: a list of faults, or a sentence."""
    status, detail = error.status, _detail(request, error)
    if isinstance(error, InvalidName):
        status = Invalid.status
    response = web.json_response(
        {"detail": detail}, status=status, headers={**error_headers(error), **headers}
    )
    if not request.content.is_eof():
        response.force_close()
    return response


def _detail(request: web.Request, error: Error) -> Any:
    if isinstance(error, Invalid):
        return error.faults
    if isinstance(error, InvalidName):
        place = "query" if request.method == "GET" else "body"
        return [{"loc": [place], "msg": str(error), "type": "value_error"}]
    return str(error)
