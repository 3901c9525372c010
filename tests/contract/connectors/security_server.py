"""A strict X-Road security server for tests: both protocols, its own books, and faults to be switched on.

Written from the protocol documents, sharing no code with the transports: what they put on the wire is judged here.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from lxml import etree

XRD = "http://x-road.eu/xsd/xroad.xsd"
IDS = "http://x-road.eu/xsd/identifiers"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SKIPPED = {
    "transfer-encoding", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "upgrade",
    "connection", "pragma", "user-agent", "host", "content-length", "server", "expect",
}  # fmt: skip

ERRORS = {
    "client": (400, "Client.BadRequest", "Error parsing the request"),
    "client_proxy": (500, "Server.ClientProxy.OutdatedGlobalConf", "Global configuration is expired"),
    "client_proxy_connect": (
        500,
        "Server.ClientProxy.NetworkError",
        "Could not connect to any target host ([https://ss2:5500/])",
    ),
    "client_proxy_modern": (500, "server.clientproxy.unknown_member", "No such member"),
    "client_proxy_late": (500, "Server.ClientProxy.IOError", "Read timed out"),
    "client_proxy_reset": (500, "Server.ClientProxy.NetworkError", "Connection reset"),
    "server_proxy": (500, "Server.ServerProxy.ServiceFailed.HttpError", "Server responded with error 502"),
    "server_proxy_modern": (500, "server.serverproxy.service_failed.network_error", "timed out"),
    "denied": (500, "Server.ServerProxy.AccessDenied", "Request is not allowed: SERVICE:VN/GOV/…"),
    "unknown_service": (500, "Server.ServerProxy.UnknownService", "Unknown service"),
    "odd": (500, "Weather.Rain", "It rains"),
}

Provider = Callable[[bytes], tuple[int, bytes]]


class SecurityServer:
    """`fault` is one of `ERRORS`, or: `service`, `id`, `wrong_client`, `order` (the answer repeats wrongly), `hash`,
    `no_hash`, `no_headers`, `page` (HTML), `gateway` (a 503 of something in front), `provider` (its own error)."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.fault: str | None = None
        self.delivered: list[tuple[str, bytes]] = []
        """Id and body of every request the provider got: the truth about delivery."""
        self.refused: list[str] = []
        self.headers: list[dict[str, str]] = []

    async def serve(self, request: web.Request) -> web.Response:
        """Any request whatever."""
        body = await request.read()
        if self.fault == "page":
            return web.Response(text="<html>bảo trì</html>", content_type="text/html")
        if self.fault == "gateway":
            return web.Response(status=503, text="busy")
        if request.path.startswith("/r1/") or request.path == "/r1":
            return await self._rest(request, body)
        return self._soap(request, body)

    # ------------------------------------------------------------------------------------------------ REST

    async def provided(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        """What the provider answers to a REST call; `path` is what stands behind the service, with the query. A subclass may
        have a real one asked."""
        return self.provider(body)

    async def _rest(self, request: web.Request, body: bytes) -> web.Response:
        raw = [(n.decode(), v.decode()) for n, v in request.raw_headers]
        names = {n.lower(): v for n, v in raw}
        self.headers.append(names)
        parts = request.raw_path.partition("?")[0].split("/", 7)
        client = [unquote(p) for p in names.get("x-road-client", "").split("/")]
        if len(parts) < 7 or len(client) not in (3, 4) or not all(client) or "x-road-request-hash" in names:
            return self._rest_error("client")
        if client[0] != "VN" or unquote(parts[2]) != "VN":
            return self._rest_error("client_proxy_modern")
        if self.fault in ERRORS:
            if self.fault.endswith(("late", "reset")) or self.fault.startswith("server_proxy"):
                self.delivered.append((names.get("x-road-id", ""), body))
            return self._rest_error(self.fault)
        request_id = str(uuid.uuid4())
        self.delivered.append((names.get("x-road-id", ""), body))
        rest = "/" + (parts[7] if len(parts) > 7 else "")
        rest += request.raw_path[len(request.raw_path.partition("?")[0]) :]
        if self.fault == "provider":
            status, answer = 500, b'{"error":"own"}'
        else:
            status, answer = await self.provided(request.method, rest, body, names)
        head = f"{request.method}\r\n{request.raw_path}\r\n"
        head += "".join(f"{n}:{v}\r\n" for n, v in raw if n.lower() not in SKIPPED)
        head += f"x-road-request-id:{request_id}\r\n"
        digest = hashlib.sha512(head.encode()).digest()
        if body:
            digest = hashlib.sha512(digest + hashlib.sha512(body).digest()).digest()
        if self.fault == "hash":
            digest = hashlib.sha512(b"other").digest()
        service = "/".join(parts[2:7])
        headers = {
            "x-road-id": "another" if self.fault == "id" else names["x-road-id"],
            "x-road-client": "VN/GOV/1/ai-khac" if self.fault == "wrong_client" else names["x-road-client"],
            "x-road-service": service + "x" if self.fault == "service" else service,
            "x-road-request-id": request_id,
            "x-road-request-hash": base64.b64encode(digest).decode(),
        }
        if self.fault == "no_hash":
            del headers["x-road-request-hash"]
        if self.fault == "no_headers":
            headers = {}
        return web.Response(status=status, body=answer, headers=headers, content_type="application/json")

    def _rest_error(self, which: str) -> web.Response:
        status, code, message = ERRORS[which]
        self.refused.append(code)
        told = {"type": code, "message": message, "detail": str(uuid.uuid4())}
        return web.json_response(told, status=status, headers={"X-Road-Error": code})

    # ------------------------------------------------------------------------------------------------ SOAP

    def _soap(self, request: web.Request, body: bytes) -> web.Response:
        root_bytes = body
        if request.content_type.startswith("multipart/"):
            mark = b"--" + request.headers["Content-Type"].partition('boundary="')[2].partition('"')[0].encode()
            root_bytes = body.split(mark)[1].partition(b"\r\n\r\n")[2][:-2]
        problem = self._faulty(root_bytes)
        if problem:
            self.refused.append(problem)
            return self._soap_error("Client.BadRequest", problem)
        envelope = etree.fromstring(root_bytes)
        header = envelope.find(f"{{{SOAP}}}Header")
        blocks = [b for b in header if b.tag.startswith(f"{{{XRD}}}")]
        id_ = header.findtext(f"{{{XRD}}}id")
        if self.fault in ERRORS:
            if self.fault.endswith(("late", "reset")) or self.fault.startswith("server_proxy"):
                self.delivered.append((id_, body))
            return self._soap_error(*ERRORS[self.fault][1:])
        self.delivered.append((id_, body))
        if self.fault == "provider":
            text = "<faultcode>Client.Data</faultcode><faultstring>thiếu ngày sinh</faultstring>"
            return self._xml(
                f'<S:Envelope xmlns:S="{SOAP}"><S:Body><S:Fault>{text}</S:Fault></S:Body></S:Envelope>', 500
            )
        _, answer = self.provider(root_bytes)
        copies = [etree.fromstring(etree.tostring(b, with_tail=False)) for b in blocks]
        if self.fault == "order":
            copies.reverse()
        for copy in copies:
            if self.fault == "id" and copy.tag.endswith("}id"):
                copy.text = "another"
            if self.fault == "wrong_client" and copy.tag.endswith("}client"):
                copy[-1].text = "ai-khac"
            if self.fault == "service" and copy.tag.endswith("}service"):
                copy[-1].text = "DichVuKhac"
        if self.fault == "no_headers":
            copies = []
        digest = hashlib.sha512(b"other" if self.fault == "hash" else root_bytes).digest()
        hash_ = etree.Element(f"{{{XRD}}}requestHash", algorithmId="http://www.w3.org/2001/04/xmlenc#sha512")
        hash_.text = base64.b64encode(digest).decode()
        if self.fault != "no_hash":
            copies.append(hash_)
        inside = "".join(etree.tostring(c).decode() for c in copies)
        return self._xml(
            f'<S:Envelope xmlns:S="{SOAP}"><S:Header>{inside}</S:Header><S:Body>{answer.decode()}</S:Body></S:Envelope>'
        )

    def _faulty(self, data: bytes) -> str | None:
        """What the message protocol forbids in this request; None when it is right."""
        envelope = etree.fromstring(data)
        header = envelope.find(f"{{{SOAP}}}Header")
        if header is None:
            return "no header"
        blocks = [b for b in header if b.tag.startswith(f"{{{XRD}}}")]
        names = [b.tag.rpartition("}")[2] for b in blocks]
        if len(set(names)) < len(names) or not {"client", "service", "id", "protocolVersion"} <= set(names):
            return f"header fields: {names}"
        if "requestHash" in names or header.findtext(f"{{{XRD}}}protocolVersion") != "4.0":
            return "requestHash or protocol version"
        client, service = header.find(f"{{{XRD}}}client"), header.find(f"{{{XRD}}}service")
        if [c.tag.rpartition("}")[2] for c in client][:3] != ["xRoadInstance", "memberClass", "memberCode"]:
            return "client's parts"
        if client.get(f"{{{IDS}}}objectType") != ("SUBSYSTEM" if len(client) == 4 else "MEMBER"):
            return "client's type"
        if service.get(f"{{{IDS}}}objectType") != "SERVICE" or service.findtext(f"{{{IDS}}}serviceCode") is None:
            return "service"
        if client.findtext(f"{{{IDS}}}xRoadInstance") != "VN":
            return "unknown instance"
        wrapper = envelope.find(f"{{{SOAP}}}Body")[0].tag.rpartition("}")[2]
        if wrapper != service.findtext(f"{{{IDS}}}serviceCode"):
            return "the wrapper's name is not the service code"
        return None

    def _soap_error(self, code: str, text: str) -> web.Response:
        detail = f'<detail><x:faultDetail xmlns:x="{XRD}">{uuid.uuid4()}</x:faultDetail></detail>'
        fault = f"<faultcode>{code}</faultcode><faultstring>{text}</faultstring><faultactor/>{detail}"
        return self._xml(
            f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP}"><SOAP-ENV:Header/><SOAP-ENV:Body><SOAP-ENV:Fault>{fault}'
            "</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>",
            500,
        )

    def _xml(self, text: str, status: int = 200) -> web.Response:
        return web.Response(status=status, body=text.encode(), headers={"Content-Type": "text/xml; charset=utf-8"})


async def run(server: SecurityServer, use: Callable[[int], Awaitable[Any]]) -> Any:
    """Serve on a free port while `use(port)` runs."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{tail:.*}", server.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        return await use(runner.addresses[0][1])
    finally:
        await runner.cleanup()
