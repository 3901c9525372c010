"""A local server that answers calls and log-ins as a test tells it, and a connector to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from connectors.address import AddressPolicy
from connectors.connector import LiveConnector, build
from connectors.settings import secrets_of, validate
from hub.kernel.ports import Call

SECRET = "bi-mat-khong-duoc-lo"


class Clock:
    def __init__(self) -> None:
        self.now = 1_790_000_000.25

    def __call__(self) -> float:
        return self.now


class Server:
    """Answers `/call` and `/login` by functions a test replaces, and remembers everything asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []
        self.logins: list[tuple[dict[str, str], bytes]] = []
        self.on_call: Callable[[dict[str, str], bytes], web.Response] = lambda h, b: web.json_response({})
        self.on_login: Callable[[dict[str, str], bytes], web.Response] = lambda h, b: web.json_response({})
        self.login_takes_s = 0.0
        self.port = 0

    async def call(self, request: web.Request) -> web.Response:
        seen = ({k.lower(): v for k, v in request.headers.items()}, await request.read())
        self.calls.append(seen)
        return self.on_call(*seen)

    async def login(self, request: web.Request) -> web.Response:
        seen = ({k.lower(): v for k, v in request.headers.items()}, await request.read())
        self.logins.append(seen)
        await asyncio.sleep(self.login_takes_s)
        return self.on_login(*seen)


def run(use: Callable[[Server], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        server = Server()
        app = web.Application()
        app.router.add_post("/call", server.call)
        app.router.add_post("/login", server.login)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        try:
            return await use(server)
        finally:
            await runner.cleanup()

    return asyncio.run(go())


def made(server: Server, auth: dict[str, Any], clock: Clock | None = None, **secrets: str) -> LiveConnector:
    settings = validate(
        {
            "name": "thu",
            "system": "he_thong",
            "transport": {
                "kind": "webhook" if auth.get("scheme") == "standard_webhooks" else "rest",
                "base_url": f"http://127.0.0.1:{server.port}",
            },
            "auth": auth,
        }
    )
    wanted = {s.name: SECRET for s in secrets_of(settings)}
    return build(settings, {**wanted, **secrets}, AddressPolicy(["127.0.0.0/8"]), clock or Clock())


CALL = Call(
    operation="op",
    deliveries=(1,),
    body=b'{ "madonvi":"H24", "service":"TraCuuHoSo" }',
    content_type="application/json",
    idempotent=False,
    path="call",
)
