"""The hub as a provider on the exchange: its queries behind a security server, REST and SOAP (message protocol 4.0).

One concern: the protocol. The security server authenticates itself as a client of the hub with the right `xroad`; which
subsystem asks stands in the headers it vouches for, and each needs a grant of its own. It must never act on a DTD or an
entity, nor answer without the request's own headers repeated as they came.

Source: X-Road Message Protocol v4.0 and X-Road Message Protocol for REST (the provider's side: the request's hash and the
service's echo in REST are added by the security servers).
"""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
from fastapi import APIRouter, Request, Response

from hub.api.auth import Client, CurrentClient, require
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.api.query import Question, answered, checked
from hub.kernel.firewall_names import NO_PURPOSE, stated
from hub.kernel.ledger import queries
from hub.kernel.ports import Text

router = APIRouter(prefix="/xroad/v1", tags=["exchange"])

RIGHT = "xroad"
_XRD = "http://x-road.eu/xsd/xroad.xsd"
_ID = "http://x-road.eu/xsd/identifiers"
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_OURS = "urn:lien-thong:queries:1"
_MOST = 64 * 1024
_PART = re.compile(r"[^/\\\x00-\x1f]{1,100}")
_OFFICER = re.compile(r"[\w._/: -]{2,60}")
_DENIED = Text("Phân hệ này chưa được phép hỏi truy vấn này.", "This subsystem has not been granted this query.")
_HEADERS = Text(
    "Thiếu hoặc sai tiêu đề X-Road: cần client, id và userId.",
    "X-Road headers are missing or malformed: client, id and userId are needed.",
)


async def _asked(
    hub: Hub,
    client: Client,
    name: str,
    subsystem: str,
    officer: str,
    request_id: str,
    purpose: str,
    given: dict[str, str],
) -> queries.Asked:
    if not subsystem or not request_id or not _OFFICER.fullmatch(officer):
        raise Problem(400, "bad_headers", _HEADERS)
    said = stated(purpose)
    if said is None:
        raise Problem(422, "no_purpose", NO_PURPOSE)
    wanted = checked(name, given)
    scope = await queries.granted(hub.core, subsystem, name)
    if scope is None:
        raise Problem(403, "not_granted", _DENIED)
    return queries.Asked(
        name=name,
        client=client.id,
        asker=subsystem,
        officer=officer,
        purpose=said,
        request_id=request_id,
        scope=scope,
        input=wanted,
    )


@router.post("/rest/{name}")
async def rest(request: Request, name: str, client: CurrentClient, question: Question) -> Response:
    """A query as a REST service: `{purpose, input}` as `POST /v1/queries/{name}` takes it, who asks in `X-Road-Client` and
    `X-Road-UserId`. In the body alone: an address stands in the log of every server between."""
    require(client, RIGHT)
    parts = [unquote(p) for p in request.headers.get("x-road-client", "").split("/")]
    subsystem = "/".join(parts) if len(parts) in (3, 4) and all(_PART.fullmatch(p) for p in parts) else ""
    asked = await _asked(
        request.app.state.hub, client, name, subsystem, request.headers.get("x-road-userid", ""),
        request.headers.get("x-road-id", "")[:100], question.purpose, question.input,
    )  # fmt: skip
    found = await answered(request.app.state.hub, asked)
    return Response(
        msgspec.json.encode(found),
        headers={"Cache-Control": "no-store", "X-Road-Id": asked.request_id},
        media_type="application/json",
    )


@cache
def wsdl() -> bytes:
    """The service's description, as it is in the repository."""
    return (Path(__file__).parent / "queries.wsdl").read_bytes()


@router.get("/soap", include_in_schema=False)
async def describe(client: CurrentClient) -> Response:
    """The WSDL, for security servers that fetch it."""
    require(client, RIGHT)
    return Response(wsdl(), media_type="text/xml")


@router.post("/soap", include_in_schema=False)
async def soap(request: Request, client: CurrentClient) -> Response:
    """A query as a SOAP service: answers and faults are envelopes with the request's headers."""
    require(client, RIGHT)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST:
            return _fault(None, "Client", Text("Bản tin quá lớn.", "The message is too large."), 413)
    from lxml import etree  # for who asks by SOAP only

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        return _fault(None, "Client", Text(f"Không phải XML hợp lệ: {error}", f"Not well-formed XML: {error}"))
    info: Any = root.getroottree().docinfo
    if info.doctype or root.tag != f"{{{_SOAP}}}Envelope":
        return _fault(None, "Client", Text("Không phải phong bì SOAP 1.1.", "Not a SOAP 1.1 envelope."))
    header, content = root.find(f"{{{_SOAP}}}Header"), root.find(f"{{{_SOAP}}}Body")
    if header is None or content is None or len(content) != 1:
        return _fault(header, "Client", _HEADERS)
    try:
        asked = await _from_soap(request.app.state.hub, client, header, content[0])
        found = await answered(request.app.state.hub, asked)
    except Problem as problem:
        side = "Server" if problem.status >= 500 else "Client"
        return _fault(header, f"{side}.{problem.code}", problem.detail)
    space: Any = {None: _OURS}
    element = etree.Element(f"{{{_OURS}}}{asked.name}Response", nsmap=space)
    for member, value in found.items():
        if value is not None:
            told = etree.SubElement(element, f"{{{_OURS}}}{member}")
            told.text = str(value).lower() if isinstance(value, bool) else str(value)
    return _envelope(header, element)


async def _from_soap(hub: Hub, client: Client, header: Any, operation: Any) -> queries.Asked:
    def text(name: str) -> str:
        return (header.findtext(f"{{{_XRD}}}{name}") or "").strip()

    if text("protocolVersion") != "4.0":
        raise Problem(400, "bad_headers", Text("Chỉ nhận protocolVersion 4.0.", "Only protocolVersion 4.0 is taken."))
    who = header.find(f"{{{_XRD}}}client")
    parts = [
        (who.findtext(f"{{{_ID}}}{p}") or "").strip() if who is not None else ""
        for p in ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
    ]
    if not parts[3]:
        parts.pop()
    service = header.findtext(f"{{{_XRD}}}service/{{{_ID}}}serviceCode") or ""
    space, _, name = str(operation.tag).rpartition("}")
    if space != f"{{{_OURS}" or service.strip() != name:
        text_ = Text(
            "Phần tử trong Body không khớp serviceCode.", "The element in the body is not the one serviceCode names."
        )
        raise Problem(400, "bad_service", text_)
    given = {str(e.tag).rpartition("}")[2]: (e.text or "").strip() for e in operation}
    purpose = given.pop("purpose", "")
    subsystem = "/".join(parts) if all(_PART.fullmatch(p) for p in parts) else ""
    return await _asked(hub, client, name, subsystem, text("userId"), text("id")[:100], purpose, given)


def _envelope(header: Any, content: Any, status: int = 200) -> Response:
    from lxml import etree

    root = etree.Element(f"{{{_SOAP}}}Envelope", nsmap={"soap": _SOAP})
    if header is not None:
        root.append(deepcopy(header))
    etree.SubElement(root, f"{{{_SOAP}}}Body").append(content)
    data = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return Response(data, status, {"Cache-Control": "no-store"}, media_type="text/xml")


def _fault(header: Any, code: str, said: Text, status: int = 500) -> Response:
    from lxml import etree

    fault = etree.Element(f"{{{_SOAP}}}Fault")
    etree.SubElement(fault, "faultcode").text = f"soap:{code}"
    etree.SubElement(fault, "faultstring").text = f"{said.vi} / {said.en}"
    return _envelope(header, fault, status)
