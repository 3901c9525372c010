"""A filing and its notice through a forwarder behind an exchange that loses the answer after it has passed the request on: what is
resent as unsent would stand twice. Judged by the books of a portal that takes a second creation as well."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from adapters.public_service.simulator import PASSWORD, USERNAME
from adapters.public_service.simulator import Simulator as Portal
from tests.scenario.dispatch.test_ways_in import Forwarder, standing

NUMBER = "000.00.12.H24-261122-0001"
SERVICES = b"DongBoHoSoMC", b"CapNhatTienDoHoSoMC"


class Losing(Forwarder):
    """Forwards all, and loses the first answer of each service."""

    def __init__(self, target: str, code: str) -> None:
        super().__init__(target)
        self.code = code
        self.to_lose = list(SERVICES)

    async def serve(self, request: web.Request) -> web.Response:
        answer = await super().serve(request)
        lost = [service for service in self.to_lose if service in await request.read()]
        if not lost:
            return answer
        self.to_lose.remove(lost[0])
        told = {"type": self.code, "message": "connection reset", "detail": ""}
        return web.json_response(told, status=500, headers={"X-Road-Error": self.code})


@pytest.mark.parametrize("code", ["Server.ClientProxy.IOError", "server.clientproxy.network_error"])
def test_what_the_exchange_passed_on_before_it_failed_stands_once(stage: Any, items: Any, code: str) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = Portal(takes_twice=True)
            url = await twin.start()
            s.twins["public_service"] = twin
            between = Losing(url, code)
            async with standing(between) as at:
                transport = {
                    "kind": "xrd_forward", "base_url": at, "dstcode": "VN:GOV:G22:portal", "provider_url": url,
                }  # fmt: skip
                auth = {"scheme": "portal_session", "login_url": f"{url}/mapi/login", "username": USERNAME}
                secrets, adapter = {"password": PASSWORD}, {"agency": "000.00.12.H24"}
                await s.connect("public_service", transport, auth, secrets, adapter, None)
                await s.work()
                await s.push("filing", items.filing(NUMBER))
                await s.push("filing_progress", items.progress(NUMBER))
                await s.settled(30, delivered=2)
                assert between.to_lose == [] and between.refused == []
                assert [(e.type, e.event) for e in twin.books.effects] == [("filing", "NEW"), ("progress", "NOTICE")]
                assert twin.summary()["doubles"] == []
                await s.rest()

    asyncio.run(work())
