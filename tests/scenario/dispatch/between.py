"""What may stand between the hub and a system: security servers, the deployed forwarder, an LGSP's gateway. Each is strict about what
its protocol asks and forwards the rest untouched."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from lxml import etree
from yarl import URL

from tests.contract.connectors import security_server

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
XRD = "http://x-road.eu/xsd/xroad.xsd"


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
    """`/XrdAdapter/RestService/forward/<path>?dstcode=…&providerurl=…`: method, path, further parameters, body and the caller's own
    access go on as they are. A provider that breaks off is a 504."""

    def __init__(self, target: str, dstcode: str = "VN:GOV:G22:portal") -> None:
        super().__init__(target)
        self.dstcode = dstcode

    async def serve(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        start, asked = "/XrdAdapter/RestService/forward", dict(request.query)
        if not request.path.startswith(start) or asked.pop("dstcode", "") != self.dstcode:
            self.refused.append(str(request.rel_url))
            return web.Response(status=404)
        path = request.rel_url.raw_path.removeprefix(start)
        at = URL(asked.pop("providerurl") + path, encoded=True).with_query(asked)
        own = {n: request.headers[n] for n in ("Content-Type", "Accept", "Authorization") if n in request.headers}
        body = await request.read() or None
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.request(request.method, at, data=body, headers=own) as reply,
            ):
                kind = {"Content-Type": reply.headers["Content-Type"]}
                return web.Response(status=reply.status, body=await reply.read(), headers=kind)
        except aiohttp.ClientError:
            return web.Response(status=504)


class Gateway(Between):
    """An LGSP of the WSO2 kind: `POST /token` with client credentials; everything else needs the token in a header of its own and
    the partner's code, and goes on without either, with what the gateway itself shows the provider."""

    def __init__(self, target: str, shows: dict[str, str]) -> None:
        super().__init__(target)
        self.shows = shows
        self.tokens: list[str] = []
        self.good = 0
        """Tokens before this one have ended."""

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == "/token":
            known = "Basic " + base64.b64encode(b"so-gddt:bi-mat-truc").decode()
            if request.headers.get("Authorization") != known or body != b"grant_type=client_credentials":
                self.refused.append(request.path)
                return web.json_response({"error": "invalid_client"}, status=401)
            self.tokens.append(f"tk{len(self.tokens)}")
            return web.json_response({"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": 3600})
        token = request.headers.get("X-LGSP-Token", "")
        if token not in self.tokens[self.good :] or request.headers.get("X-Partner-Code") != "000.00.00.H24":
            self.refused.append(request.path)
            return web.json_response({"fault": {"code": 900901, "message": "Invalid Credentials"}}, status=401)
        self.seen.append(request)
        own = {"Content-Type": request.content_type, **self.shows}
        url = URL(self.target + request.raw_path.removeprefix("/csdlnganh/1.0"), encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, data=body or None, headers=own) as reply,
        ):
            kind = {"Content-Type": reply.headers["Content-Type"]}
            return web.Response(status=reply.status, body=await reply.read(), headers=kind)


@asynccontextmanager
async def standing(between: Between | security_server.SecurityServer) -> AsyncIterator[str]:
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


class Road(security_server.SecurityServer):
    """A strict security server before a real twin; `seen` holds the path of what it passed on."""

    def __init__(self, target: str) -> None:
        super().__init__(lambda body: (500, b""))
        self.target = target
        self.seen: list[str] = []
        self.lose_answers = False
        """The provider's answers to filings are lost: it has done what was asked."""

    async def provided(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        self.seen.append(path)
        kept = {n: v for n, v in headers.items() if n in ("content-type", "authorization", "accept")}
        url = URL(self.target + path, encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=body or None, headers=kept) as reply,
        ):
            answer = reply.status, await reply.read()
        if self.lose_answers and b"DongBoHoSoMC" in body:
            return 502, b"<html>Bad Gateway</html>"
        return answer
