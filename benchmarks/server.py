"""The hub's gateway as it is, with one route more: an INSERT and a commit for each request, and nothing else.

One concern: a bare limit on the very same server, pool and loop. Only measurements start it.
"""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from hub.app import create
from hub.settings import Settings, load


def with_bare(settings: Settings) -> FastAPI:
    """The gateway's application and `POST /bare`."""
    app = create(settings)

    @app.post("/bare")
    async def bare(request: Request) -> Response:
        body = await request.body()
        await request.app.state.hub.core.pool.execute("INSERT INTO bare.one (body) VALUES ($1)", body)
        return Response(b"{}", 202, media_type="application/json")

    return app


if __name__ == "__main__":
    settings = load()
    config = uvicorn.Config(
        with_bare(settings), host=settings.http.host, port=settings.http.port, loop="uvloop", http="httptools", access_log=False,
        log_level="warning", server_header=False,
    )  # fmt: skip
    uvicorn.Server(config).run()
