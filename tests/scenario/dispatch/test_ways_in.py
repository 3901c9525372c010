"""The national systems by their other ways in: X-Road SOAP, the deployed forwarder, the LGSP's header. From the school's push to the
twin's books, through the dispatcher. What stands between (security server, forwarder) is a few lines here, strict about what
its protocol asks and forwarding the rest untouched."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from lxml import etree

from adapters.population import door
from adapters.population import simulator as population_twin
from adapters.population.people import Person
from adapters.public_service.simulator import PASSWORD, USERNAME
from adapters.public_service.simulator import Simulator as Portal

ADAPTER = {"MaDVC": "DVC1", "MaCanBo": "CB1"}
PERSON = Person(number="031214000001", name="Nguyễn Văn Mẫu", birth="20140305", sex="1")
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XRD = "http://x-road.eu/xsd/xroad.xsd"
CLIENT = {"member_class": "GOV", "member_code": "000.00.00.H24", "subsystem": "so-gddt"}
SERVICE = {
    "member_class": "GOV", "member_code": "000.00.00.G01", "subsystem": "dancu", "service": "TraCuuThongTinCongDan",
}  # fmt: skip


class Between:
    """Something that forwards every request to `target`, as a subclass says."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.seen: list[web.Request] = []
        self.refused: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        """Forward one request."""
        raise NotImplementedError

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as reply:
            return reply.status, await reply.read(), reply.headers["Content-Type"]


class SecurityServer(Between):
    """Message protocol 4.0: the request's header blocks are checked, taken out, and given back with the request's hash."""

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(request)
        envelope = etree.fromstring(body)
        header = envelope.find(f"{{{SOAP}}}Header")
        blocks = [] if header is None else [b for b in header if b.tag.startswith(f"{{{XRD}}}")]
        parts = {b.tag.rpartition("}")[2]: ["".join(c.itertext()) for c in b] or b.text for b in blocks}
        wanted = ["VN", "GOV", "000.00.00.H24", "so-gddt"]
        if parts.get("client") != wanted or parts.get("protocolVersion") != "4.0" or not parts.get("id"):
            self.refused.append(str(parts))
            return web.Response(status=500)
        envelope.remove(header)
        caller = {"X-Road-Client": "/".join(wanted), "Content-Type": "text/xml; charset=utf-8"}
        caller["SOAPAction"] = request.headers["SOAPAction"]
        status, answer, kind = await self.post(self.target, etree.tostring(envelope), caller)
        told = etree.fromstring(answer)
        own = etree.Element(f"{{{SOAP}}}Header")
        own.extend(blocks)
        proof = etree.SubElement(own, f"{{{XRD}}}requestHash", algorithmId="http://www.w3.org/2001/04/xmlenc#sha512")
        proof.text = base64.b64encode(hashlib.sha512(body).digest()).decode()
        if (old := told.find(f"{{{SOAP}}}Header")) is not None:
            told.remove(old)
        told.insert(0, own)
        return web.Response(status=status, body=etree.tostring(told), headers={"Content-Type": kind})


class Forwarder(Between):
    """`/XrdAdapter/RestService/forward/<path>?dstcode=…&providerurl=…`."""

    async def serve(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        start = "/XrdAdapter/RestService/forward"
        if not request.path.startswith(start) or request.query.get("dstcode") != "VN:GOV:G22:portal":
            self.refused.append(str(request.rel_url))
            return web.Response(status=404)
        at = request.query["providerurl"] + request.path.removeprefix(start)
        status, answer, kind = await self.post(at, await request.read(), {"Content-Type": request.content_type})
        return web.Response(status=status, body=answer, headers={"Content-Type": kind})


@asynccontextmanager
async def standing(between: Between) -> AsyncIterator[str]:
    """Its base address, while it stands."""
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", between.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _population(s: Any, **options: Any) -> tuple[Any, str]:
    twin = population_twin.Simulator(people=[PERSON], **options)
    s.twins["population"] = twin
    return twin, await twin.start()


async def _verified(s: Any, items: Any, twin: Any) -> None:
    await s.work()
    await s.push("learner", items.learner(full_name=PERSON.name, personal_number=PERSON.number))
    await s.settled(delivered=1)
    told = twin.summary()
    assert (told["effects"], told["numbers"], told["refusals"]) == (1, 1, {}), told
    async with s.core.pool.acquire() as connection:
        check = await connection.fetchval("SELECT body FROM records WHERE type = 'population_check'")
    assert check["verdict"] == "match"


def test_a_look_up_through_x_road(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _population(s, way_in="xroad")
            server = SecurityServer(url)
            async with standing(server) as at:
                transport = {"kind": "xroad_soap", "base_url": at, "client": CLIENT, "service": SERVICE}
                await s.connect("population", transport, {"scheme": "none"}, {}, ADAPTER, None)
                await _verified(s, items, twin)
                assert server.refused == [] and len(server.seen) == 1
                await s.rest()

    asyncio.run(work())


def test_a_look_up_with_the_lgsps_header(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _population(s, way_in="lgsp")
            auth = {
                "scheme": "lgsp_header", "access_key": door.LGSP["AccessKey"], "app_name": door.LGSP["AppName"],
                "partner_code": door.LGSP["PartnerCode"], "partner_code_cus": door.LGSP["PartnerCodeCus"],
            }  # fmt: skip
            transport = {"kind": "soap", "base_url": url}
            secrets = {"secret_key": door.LGSP["SecretKey"]}
            await s.connect("population", transport, auth, secrets, ADAPTER, None)
            await _verified(s, items, twin)

    asyncio.run(work())


def test_a_wrong_lgsp_key_pauses_the_connector_and_asks_nothing(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin, url = await _population(s, way_in="lgsp")
            auth = {
                "scheme": "lgsp_header", "access_key": "sim", "app_name": "lien-thong", "partner_code": "H24",
            }  # fmt: skip
            await s.connect("population", {"kind": "soap", "base_url": url}, auth, {"secret_key": "x"}, ADAPTER, None)
            await s.work()
            await s.push("learner", items.learner(full_name=PERSON.name, personal_number=PERSON.number))

            async def paused() -> bool:
                async with s.core.pool.acquire() as connection:
                    return bool(
                        await connection.fetchval("SELECT state = 'paused' FROM connectors WHERE name = 'population'")
                    )

            await s.until(paused)
            assert twin.summary()["effects"] == 0

    asyncio.run(work())


def test_a_filing_through_the_forwarder(stage: Any, items: Any) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = Portal()
            url = await twin.start()
            s.twins["public_service"] = twin
            forwarder = Forwarder(url)
            async with standing(forwarder) as at:
                transport = {
                    "kind": "xrd_forward", "base_url": at, "dstcode": "VN:GOV:G22:portal", "provider_url": url,
                }  # fmt: skip
                auth = {"scheme": "portal_session", "login_url": f"{url}/mapi/login", "username": USERNAME}
                await s.connect(
                    "public_service", transport, auth, {"password": PASSWORD}, {"agency": "000.00.12.H24"}, None
                )
                await s.work()
                await s.push("filing", items.filing())
                await s.settled(delivered=1)
                told = twin.summary()
                assert told["effects"] == 1 and told["doubles"] == [], told
                assert forwarder.refused == [] and len(forwarder.seen) == 1
                await s.rest()

    asyncio.run(work())
