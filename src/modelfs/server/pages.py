"""For people and for tests: a page that says what this is, and the counters."""

from __future__ import annotations

import html

from aiohttp import web

from modelfs.server.auth import is_loopback
from modelfs.server.observing import Counters
from modelfs.server.rpc import Dispatcher, origin

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>modelfs</title>
<h1>A model registry</h1>
<p>Mount it as a directory:</p>
<pre>modelfs mount --registry kaggle+{address} ~/models</pre>
<p>Use it with kaggle and kagglehub:</p>
<pre>export KAGGLE_API_ENVIRONMENT=LOCALHOST HTTP_PROXY={address}
export KAGGLE_USERNAME=you KAGGLE_KEY=the-token</pre>
<p>Use it with wriftai:</p>
<pre>export WRIFTAI_API_BASE_URL={address}/v1 WRIFTAI_ACCESS_TOKEN=the-token</pre>
</html>
"""


def add_routes(app: web.Application, dispatcher: Dispatcher, counters: Counters) -> None:
    async def page(request: web.Request) -> web.Response:
        text = _PAGE.format(address=html.escape(origin(request)))
        return web.Response(text=text, content_type="text/html")

    async def stats(request: web.Request) -> web.Response:
        if is_loopback(request.remote or ""):
            dispatcher.check_browser(request)
        else:
            dispatcher.caller(request)
        return web.json_response(counters.report())

    app.router.add_get("/", page)
    # What the `url` of replies leads to.
    app.router.add_get("/models/{ref:.+}", page)
    app.router.add_get("/-/stats", stats)
