"""The hub's gateway as it is, with one answer more: an INSERT and a commit for each request, and nothing else.

One concern: a bare limit on the very same server, pool and loop, before the framework's routing as the pushes are. Only
measurements start it.
"""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from hub.app import create
from hub.settings import load


class Bare:
    """The application with `POST /bare` before it."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope.get("path") != "/bare":
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        await self._app.state.hub.core.pool.execute("INSERT INTO bare.one (body) VALUES ($1)", body)
        await Response(b"{}", 202, media_type="application/json")(scope, receive, send)


if __name__ == "__main__":
    settings = load()
    config = uvicorn.Config(
        Bare(create(settings)), host=settings.http.host, port=settings.http.port, loop="uvloop", http="httptools", access_log=False,
        log_level="warning", server_header=False,
    )  # fmt: skip
    uvicorn.Server(config).run()
